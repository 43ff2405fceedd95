# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Client and service against a real local cluster, and what is killed under them."""

import asyncio
import concurrent.futures as standard
import itertools
import os
import re
import signal
import threading
import time

import pytest

import flamepy
import flamepy.aio

from conftest import PATIENCE, ROOT, TASKS, register, wait_until


@pytest.fixture
def session(shared):
    with shared.create_session(register(shared, "echo")) as made:
        yield made


def numbers(count):
    return [b"%d" % i for i in range(count)]


# ---- submit and map ------------------------------------------------------------------------------


def test_one_task_and_the_session_counts_it(session):
    assert session.run(b"hello").result(PATIENCE) == b"hello"
    assert session.invoke(b"again") == b"again"
    task = session.create_task(b"third")
    assert (task.id, task.session_id, task.state) == ("3", session.id, flamepy.TaskState.PENDING)
    assert session.wait(PATIENCE).succeed == 3


def test_map_gives_outputs_in_order(session):
    inputs = numbers(TASKS)
    assert list(session.map(inputs, timeout=10 * PATIENCE)) == inputs
    assert session.refresh().succeed == TASKS


def test_many_single_submits_and_each_future_has_its_own_output(session):
    inputs = numbers(TASKS // 10)
    futures = [session.submit(data) for data in inputs]
    assert len(standard.wait(futures, 10 * PATIENCE).done) == len(inputs)
    assert [future.result() for future in futures] == inputs
    assert [future.task_id for future in futures] == list(range(1, len(inputs) + 1))


def test_map_with_a_buffer_takes_inputs_without_end(session):
    outputs = session.map((b"%d" % i for i in itertools.count()), buffersize=100)
    assert list(itertools.islice(outputs, 5000)) == numbers(5000)
    outputs.close()
    # What was taken, and a buffer ahead of it in whole batches.
    assert session.wait(PATIENCE).tasks <= 5000 + 300


def test_map_of_nothing_and_of_odd_things(session):
    assert list(session.map([])) == []
    assert list(session.map([b"", bytearray(b"a"), memoryview(b"b")])) == [b"", b"a", b"b"]
    for wrong in ("text", 7, None):
        with pytest.raises(flamepy.FlameError, match="input is bytes, not"):
            session.run(wrong)
        with pytest.raises(flamepy.FlameError, match="input is bytes, not"):
            session.map([b"a", wrong])
    with pytest.raises(ValueError, match="chunksize"):
        session.map([b"a"], chunksize=0)


def test_map_cuts_large_inputs_into_runs(session):
    inputs = [bytes([i % 256]) * (10_000 * (i % 40)) for i in range(200)]
    assert list(session.map(inputs)) == inputs


def test_a_map_gives_what_is_there_while_other_tasks_run(session, tmp_path):
    release = tmp_path / "release"
    wait = b"until:%s" % bytes(release)
    # A service gives what it has once it is at a frame for 5 ms.
    first = b"sleep:0.02"
    inputs = [first, *[wait] * 20, b"last"]
    outputs = session.map(inputs, timeout=PATIENCE)
    assert next(outputs) == first
    release.touch()
    assert list(outputs) == inputs[1:]


def test_a_buffer_of_large_inputs_is_as_many_tasks(session, running_once):
    async def main():
        async with flamepy.aio.connect(running_once.env["FLAME_ENDPOINT"]) as connection:
            other = await connection.create_session("echo")
            async for output in other.map(inputs, buffersize=8):
                assert output == inputs[0]
                break
            return (await other.close()).tasks

    inputs = [bytes(300_000)] * 20
    outputs = session.map(inputs, buffersize=8)
    session.flush()
    assert session.refresh().tasks == 8
    assert list(outputs) == inputs
    assert asyncio.run(main()) == 8


def test_the_first_failed_task_of_a_map_raises(session):
    outputs = session.map([b"a", b"fail:no luck", b"b"])
    assert next(outputs) == b"a"
    with pytest.raises(flamepy.TaskError, match="ValueError: no luck") as raised:
        next(outputs)
    assert raised.value.task_id == 2


def test_a_map_that_takes_too_long_times_out(session):
    with pytest.raises(standard.TimeoutError):
        list(session.map([b"sleep:0.3"], timeout=0.01))


def test_a_time_out_says_why_the_service_does_not_start(shared):
    shared.register_application("broken", {"command": "/nonexistent"})
    with shared.create_session("broken") as session:
        future = session.run(b"a")
        wait_until(lambda: "bind_failed" in session.events[-1].message, "it did not start")
        why = f"session '{session.id}': no executable /nonexistent"
        for late, kind in (
            (lambda: future.result(0.1), standard.TimeoutError),
            (lambda: session.invoke(b"b", 0.1), standard.TimeoutError),
            (lambda: list(session.map([b"c"], timeout=0.1)), standard.TimeoutError),
            (lambda: session.drain(0.1), standard.TimeoutError),
            (lambda: session.wait(0.1), flamepy.FlameTimeoutError),
            (lambda: session.wait(0.1, progress=True), flamepy.FlameTimeoutError),
        ):
            with pytest.raises(kind, match=why):
                late()

        async def in_a_loop():  # which the question would hold up
            with pytest.raises(standard.TimeoutError, match="^no result in time$"):
                future.result(0.1)

        asyncio.run(in_a_loop())


@pytest.fixture
def interrupts():
    """Whoever runs the tests may ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_a_wait_that_is_over_or_interrupted_leaves_nothing_in_the_client(session):
    io, future = session.connection._io, session.run(b"sleep:60")

    def interrupt():
        wait_until(lambda: io._core._requests, "it waits")
        os.kill(os.getpid(), signal.SIGINT)

    for progress in (False, "bar"):
        with pytest.raises(flamepy.FlameTimeoutError):
            session.wait(0.01, progress=progress)
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            session.wait(progress=progress)
        thread.join()
        wait_until(lambda: not (io._replies or io._core._requests), "nothing is left")
    assert not future.done()
    session.cancel(running=True)


def test_common_data_reaches_the_service(shared):
    register(shared, "echo")
    with shared.create_session("echo", common_data=b"for all") as session:
        assert session.invoke(b"common") == b"for all"
        assert session.common_data() == b"for all"


def test_a_batch_service(shared):
    with shared.create_session(register(shared, "batch")) as session:
        assert list(session.map(numbers(3000))) == [b"%d" % i**2 for i in range(3000)]
        with pytest.raises(flamepy.TaskError, match="^-5 is negative"):
            session.invoke(b"-5")


def test_callbacks_submit_more_and_do_not_wait(session):
    """A tree of tasks, grown by callbacks alone: they run on the connection's own thread."""
    finished, errors = [], []

    def grow(future):
        finished.append(future.result())
        if len(finished) < 500:
            for _ in range(3):
                session.run(b"%d" % len(finished)).add_done_callback(grow)
        elif len(finished) == 500:
            try:
                session.run(b"last").result()
            except flamepy.FlameError as error:
                errors.append(error)

    session.run(b"0").add_done_callback(grow)
    wait_until(lambda: len(finished) >= 500, "the tree has grown")
    session.wait(PATIENCE)
    assert len(errors) == 1 and "a callback must not wait" in str(errors[0])


# ---- results -------------------------------------------------------------------------------------


def test_results_go_on_from_a_cursor_also_in_another_client(session, running_once):
    list(session.map(numbers(5000)))
    stream = session.results()
    first = list(itertools.islice(stream, 2000))
    cursor = str(stream.cursor)
    with flamepy.connect(running_once.env["FLAME_ENDPOINT"]) as other:
        rest = list(other.open_session(session.id).results(after=cursor))
    ids = {result.task_id for result in first} | {result.task_id for result in rest}
    assert ids == set(range(1, 5001))
    # By whole entries: what is read twice was in the entry where the first one stopped.
    assert len(first) + len(rest) - 5000 < 1024
    assert all(result.ok and result.output == b"%d" % (result.task_id - 1) for result in rest)


def test_a_cursor_of_another_session_is_refused(session, shared):
    session.invoke(b"a")
    stream = session.results()
    assert len(list(stream)) == 1
    cursor = flamepy.Cursor.parse(str(stream.cursor))
    assert cursor == stream.cursor and cursor.session.startswith(session.id + "#")
    with shared.create_session(session.application) as other:
        other.invoke(b"b")
        with pytest.raises(flamepy.FlameError, match=f"{cursor.session}.*{other.id}#") as raised:
            other.results(after=cursor)
        assert raised.value.kind is flamepy.Code.BAD_REQUEST
        old_form = f"{cursor.lineage}:0"
        assert [result.output for result in other.results(after=old_form)] == [b"b"]


def test_followed_results_end_with_the_session(session):
    futures = [session.run(b"a"), session.run(b"fail:no")]
    standard.wait(futures, PATIENCE)
    session.close()
    results = sorted(session.results(follow=True, timeout=PATIENCE))
    assert [(result.task_id, result.ok) for result in results] == [(1, True), (2, False)]
    assert isinstance(results[1].error, flamepy.TaskError)


def test_a_stream_that_is_dropped_does_not_hold_up_futures(session):
    large = b"large:%d" % (1 << 20)
    stream = session.results(follow=True)
    futures = [session.run(large) for _ in range(20)]
    next(stream)
    del stream
    more = [session.run(large) for _ in range(40)]
    assert all(len(future.result(PATIENCE)) == 1 << 20 for future in futures + more)


def test_a_broker_of_another_cluster_is_refused(running_once, monkeypatch):
    endpoint = running_once.env["FLAME_ENDPOINT"]
    with flamepy.connect(endpoint, cluster="local") as connection:
        assert connection.list_executors()
    monkeypatch.setenv("FLAME_CLUSTER", "green")
    with pytest.raises(flamepy.FlameError, match="cluster 'local', not 'green'") as raised:
        flamepy.connect(endpoint)
    assert raised.value.kind is flamepy.Code.CLUSTER


def test_a_cursor_of_nowhere_is_refused(session):
    session.invoke(b"something to read")
    with pytest.raises(flamepy.FlameError, match="no cursor"):
        session.results(after="nonsense")
    with pytest.raises(flamepy.FlameError) as raised:
        next(session.results(after="0123456789abcdef:0", timeout=PATIENCE))
    assert raised.value.kind is flamepy.Code.LOST_LINEAGE
    assert session.invoke(b"still here") == b"still here"


# ---- sessions and applications -------------------------------------------------------------------


def test_attributes_that_do_not_act_yet_are_stored_and_shown(running, client):
    name = register(client, "echo")
    asked = {"batch_size": 4, "priority": 7, "resreq": "cpu=2"}
    made = client.create_session(name, session_id="made", min_instances=1, max_instances=3, **asked)
    client.create_session(name, session_id="plain", batch_size=0)
    done = running.flmctl("create", "-a", name, "--name", "tool", "--batch-size", 2)
    assert done.code == 0, done
    before = running.process("broker")["restarts"]
    running.kill("broker")
    wait_until(lambda: running.process("broker")["restarts"] > before, "it was restarted")
    wanted = {**asked, "min_instances": 1, "max_instances": 3}
    listed = client.list_sessions()
    for found in (made, client.get_session("made"), listed[0]):
        assert {field: getattr(found, field) for field in wanted} == wanted
    plain, tool = listed[1:]
    assert (plain.batch_size, plain.priority, plain.resreq, tool.batch_size) == (1, 0, None, 2)
    row = running.flmctl("view", "session", "made", "-o", "json").json
    assert (row["batch_size"], row["priority"], row["resources"]) == (4, 7, "cpu=2")
    assert running.redis("HGET", "flame:{made}:session", "batch_size") == "4"
    other = flamepy.SessionAttributes(name, min_instances=1, max_instances=3, **asked)
    other.batch_size = 1
    with pytest.raises(flamepy.FlameError, match="exists with batch_size 4"):
        client.open_session("made", other)


def test_what_a_session_was_created_with_is_shown_everywhere(shared, running_once):
    name = register(shared, "echo")
    asked = {"priority": 7, "batch_size": 4, "retention": "read", "results_ttl": 90.0}
    asked |= {"min_instances": 1, "max_instances": 3, "durability": flamepy.Durability.MEMORY}
    with shared.create_session(name, session_id="shown", **asked) as made:
        listed = next(one for one in shared.list_sessions() if one.id == "shown")
        for found in (made, listed, shared.get_session("shown")):
            assert {field: getattr(found, field) for field in asked} == asked
        view = running_once.flmctl("view", "shown").out
        for line in ("Instances: 1 to 3", "Priority: 7", "Batch Size: 4", "Retention: read"):
            assert re.search(line.replace(": ", ": +"), view), view
    with shared.create_session(name, session_id="shown-too"):
        assert "as many as there are" in running_once.flmctl("view", "shown-too").out


def test_sessions_are_opened_listed_closed_and_deleted(shared):
    name = register(shared, "echo")
    made = shared.create_session(name, session_id="named")
    assert (made.id, made.application, made.state) == ("named", name, flamepy.SessionState.OPEN)
    with pytest.raises(flamepy.FlameError) as raised:
        shared.create_session(name, session_id="named")
    assert raised.value.code is flamepy.FlameErrorCode.ALREADY_EXISTS
    again = shared.open_session("named", flamepy.SessionAttributes(name))
    assert again.invoke(b"x") == b"x"
    assert shared.get_session("named").succeed == 1
    assert [found.id for found in shared.list_sessions()].count("named") == 1
    closed = shared.close_session("named")
    assert (closed.state, closed.completion_time is not None) == (flamepy.SessionState.CLOSED, True)
    with pytest.raises(flamepy.SessionClosedError):
        again.invoke(b"too late")
    shared.delete_session("named")
    with pytest.raises(flamepy.FlameError) as raised:
        shared.get_session("named")
    assert raised.value.code is flamepy.FlameErrorCode.NOT_FOUND


def test_cancel_by_ranges_and_of_one_future(client, tmp_path):
    session = client.create_session(register(client, "echo"), max_instances=1)
    began = tmp_path / "began"
    holding = session.run(b"hold:%s" % bytes(began))
    wait_until(began.exists, "a task to run")
    futures = [session.run(b"%d" % i) for i in range(100)]  # tasks 2 to 101
    assert session.cancel([range(2, 12), 5, 50]) == (11, 0)
    assert [future.task_id for future in futures if future.cancelled()] == [*range(2, 12), 50]
    assert futures[99].cancel() and futures[99].cancelled() and futures[99].cancel()
    assert not holding.cancel() and not holding.done()  # it runs
    with pytest.raises(flamepy.FlameError) as raised:
        session.cancel([102])
    assert raised.value.code is flamepy.FlameErrorCode.NOT_FOUND
    assert session.cancel([]) == (0, 0)
    assert session.cancel(running=True) == (88, 1)
    with pytest.raises(flamepy.TaskCancelledError):
        holding.result(PATIENCE)
    # The task ended by the exception, and its process serves on.
    assert session.run(b"cancelled:").result(PATIENCE) == b"1"
    assert session.wait(PATIENCE).cancelled == 101 and session.succeed == 1


def test_all_that_is_pending_is_cancelled_as_ranges(client, tmp_path):
    session = client.create_session(register(client, "echo"), max_instances=1)
    began = tmp_path / "began"
    session.run(b"hold:%s" % bytes(began))
    wait_until(began.exists, "a task to run")
    futures = [session.run(b"x") for _ in range(TASKS)]
    session.flush(PATIENCE)
    since = time.monotonic()
    assert session.cancel() == (TASKS, 0)
    assert time.monotonic() - since < 1
    assert standard.wait(futures[-1:], PATIENCE).done and futures[TASKS // 2].cancelled()
    session.cancel(running=True)


def test_a_task_that_nobody_runs_yet_can_be_cancelled_and_a_done_one_not(session):
    future = session.run(b"a")
    assert future.result(PATIENCE) == b"a"
    assert not future.cancel() and not future.cancelled()


def test_closing_cancels_what_is_pending(client):
    session = client.create_session(register(client, "echo"))
    futures = [session.run(b"sleep:0.02") for _ in range(200)]
    session.close()
    done = standard.wait(futures, PATIENCE).done
    cancelled = [future for future in done if future.cancelled()]
    assert len(done) == 200 and cancelled
    assert session.refresh().cancelled == len(cancelled)
    with pytest.raises(flamepy.TaskCancelledError) as raised:
        cancelled[0].result()
    assert isinstance(raised.value, standard.CancelledError)


def test_a_session_deleted_under_the_client_fails_its_futures(shared):
    session = shared.create_session(register(shared, "echo"))
    future = session.run(b"sleep:2")
    wait_until(lambda: session.refresh().running == 1, "the task runs")
    shared.delete_session(session.id, force=True)
    with pytest.raises(flamepy.SessionClosedError):
        future.result(PATIENCE)


def test_applications_are_shown_and_unregistered(shared):
    shared.register_application("shown", {"command": "cat", "shim": "shell", "max_instances": 3})
    shown = shared.get_application("shown")
    assert (shown.name, shown.shim, shown.command, shown.max_instances) == (
        "shown",
        flamepy.Shim.SHELL,
        "cat",
        3,
    )
    assert "shown" in [application.name for application in shared.list_applications()]
    shared.unregister_application("shown")
    assert shared.get_application("shown") is None
    host = flamepy.ApplicationAttributes(shim=flamepy.Shim.HOST, command="service")
    shared.register_application("hosted", host)
    assert shared.get_application("hosted").shim is flamepy.Shim.HOST
    with pytest.raises(flamepy.FlameError, match="(?i)wasm"):
        shared.register_application("bad", flamepy.ApplicationAttributes(shim=flamepy.Shim.WASM))
    with pytest.raises(flamepy.FlameError, match="no application"):
        shared.create_session("there-is-none")
    assert [executor.slots for executor in shared.list_executors()] == [2]


def test_every_field_of_the_page_can_be_said_and_is_shown(shared):
    page = (ROOT / "docs/applications.md").read_text()
    table = page.split("| field | default | what it does |")[1].split("\n\n")[0]
    fields = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    assert fields - {"name"} == set(flamepy.ApplicationAttributes.__dataclass_fields__)
    assert fields <= set(flamepy.Application.__dataclass_fields__)
    about = {
        "shim": "rest",
        "rest": {"url": "http://127.0.0.1:9/sums", "content_type": "application/json"},
        "reuse": "never",
        "concurrency": 4,
        "results_ttl_ms": 5_000,
        "summary_ttl_ms": 6_000,
        "delay_release_ms": 1_500,
        "resources": "cpu=2",
        "kubernetes": {"node_selector": {"disk": "ssd"}},
    }
    shared.register_application("full", about)
    found = vars(shared.get_application("full"))
    assert found["shim"] is flamepy.Shim.REST and found["delay_release"] == 1
    assert about["rest"].items() <= found["rest"].items()
    assert {name: found[name] for name in about if name not in ("shim", "rest")} == {
        name: value for name, value in about.items() if name not in ("shim", "rest")
    }
    shared.unregister_application("full")
    shared.register_application("plain", {"command": "cat"})
    plain = shared.get_application("plain")
    assert (plain.reuse, plain.concurrency, plain.rest) == ("always", 1, None)
    assert (plain.results_ttl_ms, plain.delay_release_ms) == (3_600_000, 60_000)
    shared.unregister_application("plain")


def test_the_tools_and_python_see_the_same(running_once, session):
    session.invoke(b"x")
    row = next(row for row in running_once.sessions() if row["id"] == session.id)
    assert (row["state"], row["succeed"]) == ("Open", 1)


def test_a_batch_of_one_hears_that_its_task_is_cancelled(client, tmp_path):
    session = client.create_session(register(client, "batch"), max_instances=1)
    assert session.invoke(b"3", PATIENCE) == b"9"
    began = tmp_path / "began"
    future = session.run(b"hold:%s" % bytes(began))
    wait_until(began.exists, "it runs")
    assert session.cancel(running=True).running == 1
    with pytest.raises(flamepy.TaskCancelledError):
        future.result(PATIENCE)
    assert session.invoke(b"cancelled", PATIENCE) == b"yes"


# ---- what dies -----------------------------------------------------------------------------------


def test_a_service_that_dies_is_started_again_and_its_task_fails_in_the_end(shared):
    session = shared.create_session(register(shared, "echo"))
    future = session.run(b"die")
    with pytest.raises(flamepy.TaskError, match="7") as raised:
        future.result(2 * PATIENCE)
    assert raised.value.kind is flamepy.Code.TASK_CRASHED
    assert session.invoke(b"alive", 2 * PATIENCE) == b"alive"
    session.close()


def some_results(running, session_id):
    row = next(row for row in running.sessions() if row["id"] == session_id)
    return row["succeed"] > 0 and row["pending"] + row["running"] > 0


@pytest.mark.parametrize("part", ["broker", "executor-1", "redis"])
def test_a_kill_in_the_middle_of_a_map_loses_nothing(running, client, part):
    session = client.create_session(register(client, "echo"))
    inputs = [b"sleep:0.001" if i % 8 == 0 else b"%d" % i for i in range(20_000)]
    outputs = session.map(inputs, timeout=10 * PATIENCE)
    wait_until(lambda: some_results(running, session.id), "it is in the middle")
    before = running.process(part)["restarts"]
    running.kill(part)
    wait_until(lambda: running.process(part)["restarts"] > before, f"{part} was restarted")
    assert list(outputs) == inputs
    session.refresh()
    assert (session.tasks, session.succeed, session.failed) == (20_000, 20_000, 0)


def test_submits_and_requests_wait_while_the_broker_is_away(running, client):
    session = client.create_session(register(client, "echo"))
    for _ in range(3):
        running.kill("broker")
        futures = [session.run(b"%d" % i) for i in range(500)]
        assert session.refresh().id == session.id
        assert [future.result(2 * PATIENCE) for future in futures] == numbers(500)
    assert session.refresh().succeed == 1500


def test_a_broker_that_stays_away_is_told_once_and_that_it_is_back(
    running, client, caplog, monkeypatch
):
    caplog.set_level("INFO", "flamepy")
    monkeypatch.setattr("flamepy._connection._AWAY_US", 200_000)
    session = client.create_session(register(client, "echo"))
    assert session.invoke(b"x") == b"x" and not caplog.records
    running.down()
    future, hellos = session.run(b"a"), client._io._core._next_link
    wait_until(lambda: caplog.records, "the loss is told")
    wait_until(lambda: client._io._core._next_link > hellos + 10, "some more tries")
    running.up("--slots", 2, port=int(client.addr.rpartition(":")[2]))
    assert future.result(PATIENCE) == b"a"
    lost, back = caplog.records
    assert (lost.name, lost.levelname, back.levelname) == ("flamepy", "WARNING", "INFO")
    assert re.search("is lost.* No broker at tcp.*flmctl up", lost.getMessage())
    assert client.addr in back.getMessage()


def test_what_rests_on_submits_says_that_they_are_not_acknowledged(running, client):
    register(client, "echo")
    session = client.create_session("echo")

    async def wait_in_a_loop():
        async with flamepy.aio.connect(running.file["endpoint"]) as connection:
            ours = await connection.open_session(session.id)
            running.kill("broker", signal.SIGSTOP)
            future = ours.run(b"b")
            with pytest.raises(flamepy.FlameTimeoutError, match="not everything is acknowledged"):
                await ours.wait(0.2)
            running.kill("broker", signal.SIGCONT)
            await future

    running.kill("broker", signal.SIGSTOP)
    try:
        future = session.run(b"a")
        with pytest.raises(flamepy.FlameTimeoutError, match="not everything is acknowledged"):
            session.wait(0.2)
        running.kill("broker", signal.SIGCONT)
        assert future.result(PATIENCE) == b"a"
        asyncio.run(wait_in_a_loop())
    finally:
        running.kill("broker", signal.SIGCONT)


def test_a_killed_broker_leaves_no_future_of_a_memory_session_waiting(running, client):
    """What it delivered may never have reached Redis: those places in `done` go to nobody else."""
    register(client, "echo")
    session = client.create_session("echo", durability=flamepy.Durability.MEMORY)
    assert list(session.map(numbers(4))) == numbers(4)
    lost = [session.run(b"sleep:1"), session.run(b"sleep:1")]
    wait_until(lambda: session.refresh().running == 2, "both are dispatched")
    running.kill("redis", signal.SIGSTOP)
    try:
        assert [future.result(PATIENCE) for future in lost] == [b"sleep:1"] * 2
        running.kill("broker")
    finally:
        running.kill("redis", signal.SIGCONT)
    # More than were delivered and lost: their results would take those places.
    after = [session.run(b"after%d" % i) for i in range(20)]
    assert [future.result(PATIENCE) for future in after] == [b"after%d" % i for i in range(20)]
    found = [result for result in client.open_session(session.id).results() if result.ok]
    ids = [result.task_id for result in found]
    assert len(ids) == len(set(ids)) and {future.task_id for future in after} <= set(ids)
