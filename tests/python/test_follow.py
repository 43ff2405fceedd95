# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a running session can be asked and told: progress, logs, one task's way, other common data,
another application."""

import asyncio
import concurrent.futures
import sys
import threading

import pytest

import flamepy
import flamepy.aio

from conftest import PATIENCE, SERVICES, register, wait_until

SUCCEED = flamepy.TaskState.SUCCEED


@pytest.fixture
def session(shared):
    with shared.create_session(register(shared, "talker")) as made:
        yield made


def steps(tmp_path, name="steps"):
    folder = tmp_path / name
    folder.mkdir()
    return folder, f"steps:{folder}".encode()


# ---- one task ------------------------------------------------------------------------------------


def test_a_task_is_followed_to_its_end(session, tmp_path):
    folder, data = steps(tmp_path)
    future = session.run(data)
    seen = []
    for task in session.watch_task(future.task_id, PATIENCE):
        seen.append((task.state.name, task.percent, task.progress))
        if task.percent:
            (folder / str(task.percent)).touch()
    assert ("RUNNING", 10, "step 10") in seen and ("RUNNING", 60, "step 60") in seen
    assert seen[-1][0] == "SUCCEED" and task.output == data and task.input in (data, None)
    assert len(seen) == len(set(seen)), "a step is told once"


def test_a_finished_task_is_told_once_and_an_unknown_one_is_refused(session):
    session.run(b"x").result(PATIENCE)
    (task,) = session.watch_task(1)
    assert (task.state, task.output) == (SUCCEED, b"x")
    with pytest.raises(flamepy.FlameError, match="has no task 2") as raised:
        next(session.watch_task(2))
    assert raised.value.kind is flamepy.Code.NOT_FOUND


def test_a_watch_that_sees_nothing_new_times_out(session, tmp_path):
    folder, data = steps(tmp_path)
    future = session.run(data)
    watch = session.watch_task(future.task_id, 0.2)
    with pytest.raises(flamepy.FlameTimeoutError):
        for _ in watch:
            pass
    for percent in (10, 60):
        (folder / str(percent)).touch()
    assert future.result(PATIENCE) == data


def test_the_end_is_told_to_who_waits_for_it_across_a_broker_restart(running, tmp_path):
    folder, data = steps(tmp_path)
    with flamepy.connect(running.env["FLAME_ENDPOINT"]) as connection:
        session = connection.create_session(register(connection, "talker"))
        future = session.run(data)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            last = pool.submit(lambda: list(session.watch_task(future.task_id))[-1])
            wait_until(lambda: session.get_task(future.task_id).percent == 10, "step 10 is shown")
            running.kill("broker")
            for percent in (10, 60):
                (folder / str(percent)).touch()
            assert last.result(PATIENCE).state is SUCCEED
        assert future.result(PATIENCE) == data


def test_a_deleted_session_ends_its_watches(shared, tmp_path):
    folder, data = steps(tmp_path)
    session = shared.create_session(register(shared, "talker"))
    future = session.run(data)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        watch = pool.submit(lambda: list(session.watch_task(future.task_id)))
        wait_until(lambda: session.get_task(future.task_id).percent == 10, "it runs")
        shared.delete_session(session.id, force=True)
        with pytest.raises(flamepy.FlameError) as raised:
            watch.result(PATIENCE)
    assert raised.value.kind in (flamepy.Code.GONE, flamepy.Code.NOT_FOUND)


# ---- progress ------------------------------------------------------------------------------------


def test_progress_comes_to_who_watches_the_session(session, tmp_path):
    folder, data = steps(tmp_path)
    told, some = [], threading.Event()

    def on_progress(progress):
        told.append(progress)
        (folder / str(progress.percent)).touch()
        some.set()

    session.on_progress(on_progress)
    future = session.run(data)
    assert future.result(PATIENCE) == data and some.wait(PATIENCE)
    wait_until(lambda: any(each.percent == 10 for each in told), "step 10 was told")
    assert {each.task for each in told} == {future.task_id}
    assert all(each.text == f"step {each.percent}" for each in told)


def test_a_flood_of_progress_harms_nobody(session):
    futures = [session.run(b"many:20000"), session.run(b"x")]
    assert [future.result(PATIENCE) for future in futures] == [b"many:20000", b"x"]


# ---- logs ----------------------------------------------------------------------------------------


def test_what_services_write_can_be_read(session):
    for word in (b"print:first", b"print:second"):
        assert session.run(word).result(PATIENCE) == word
    text = "".join(log.text for log in session.logs())
    for line in ("out first\n", "err first\n", "out second\n", "err second\n"):
        assert line in text
    of_second = "".join(log.text for log in session.logs(2))
    assert "out second\n" in of_second and "first" not in of_second
    assert session.logs(3) == []


def test_an_instance_keeps_its_last_64_kib_and_its_last_words(session):
    assert session.run(b"flood").result(PATIENCE) == b"flood"
    (log,) = [log for log in session.logs() if log.text]
    assert len(log.text) <= 65_536 and log.text.endswith("x\nthe end\n") and log.running
    with pytest.raises(flamepy.TaskError, match="last words"):
        session.run(b"die").result(PATIENCE)
    ended = [log for log in session.logs() if not log.running]
    assert any(log.text.endswith("last words\n") for log in ended)


def test_a_session_does_not_see_what_another_wrote(shared, session):
    assert session.run(b"print:secret").result(PATIENCE)
    with shared.create_session("talker") as other:
        assert other.run(b"print:mine").result(PATIENCE)
        assert "secret" not in "".join(log.text for log in other.logs())


# ---- common data and applications ----------------------------------------------------------------


def test_common_data_is_read_and_replaced(shared):
    with shared.create_session(register(shared, "talker"), b"one") as session:
        assert session.common_data() == b"one"
        assert session.run(b"common").result(PATIENCE) == b"one"
        assert session.update_common_data(b"two") == 2
        # Whichever instance gets it: tasks submitted after the answer.
        tasks = [session.run(b"common") for _ in range(100)]
        assert {task.result(PATIENCE) for task in tasks} == {b"two"}
        assert shared.open_session(session.id).common_data() == b"two"
        session.update_common_data(lambda data: data + b" and three")
        assert session.run(b"common").result(PATIENCE) == b"two and three"
        session.update_common_data(None)
        assert session.common_data() is None and session.run(b"common").result(PATIENCE) == b""
    with pytest.raises(flamepy.SessionClosedError, match="its common data stays as it is"):
        session.update_common_data(b"too late")


def test_two_who_update_at_once_lose_nothing(shared):
    with shared.create_session(register(shared, "talker"), b"") as session:

        def add(letter):
            for _ in range(10):
                session.update_common_data(lambda data: (data or b"") + letter)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(add, [b"a", b"b", b"c", b"d"]))
        assert sorted(session.common_data()) == sorted(b"abcd" * 10)


def test_new_common_data_outlives_broker_and_executor(running):
    with flamepy.connect(running.env["FLAME_ENDPOINT"]) as connection:
        session = connection.create_session(register(connection, "talker"), b"one")
        assert session.run(b"common").result(PATIENCE) == b"one"
        session.update_common_data(b"two")
        for name in ("broker", "executor-1", "broker"):
            running.kill(name)
            assert session.run(b"common").result(PATIENCE) == b"two"
        assert session.common_data() == b"two"
        running.kill("broker")
        assert session.update_common_data(b"three") == 3
        assert session.run(b"common").result(PATIENCE) == b"three"


def test_an_application_is_changed_under_an_open_session(shared):
    program = str(SERVICES / "talker.py")
    command = {"command": sys.executable, "arguments": [program], "environments": {"WHO": "one"}}
    shared.register_application("changing", command)
    with shared.create_session("changing") as session:
        assert session.run(b"variable:WHO").result(PATIENCE) == b"one"
        shared.update_application("changing", environments={"WHO": "two"}, max_attempts=2)
        tasks = [session.run(b"variable:WHO") for _ in range(50)]
        assert {task.result(PATIENCE) for task in tasks} == {b"two"}
        changed = shared.get_application("changing")
        assert (changed.max_attempts, changed.arguments) == (2, [program])
        # A service that does not start, and then does.
        shared.update_application("changing", arguments=[program + ".missing"])
        future = session.run(b"variable:WHO")
        wait_until(
            lambda: "does not" in why(shared, session) or "ended" in why(shared, session),
            "the broker says why",
        )
        shared.update_application("changing", arguments=[program])
        assert future.result(PATIENCE) == b"two"
    with pytest.raises(flamepy.FlameError, match="unknown field|max_attempts"):
        shared.update_application("changing", max_attempts=0)
    with pytest.raises(TypeError, match="an application has no colour"):
        shared.update_application("changing", colour="red")
    with pytest.raises(flamepy.FlameError, match="no application 'missing'"):
        shared.update_application("missing", max_attempts=2)
    shared.update_application("changing", max_attempts=None)
    assert shared.get_application("changing").max_attempts == 4


def why(connection, session):
    from flamepy import _verbs
    from flamepy._proto import messages as m
    from flamepy._proto.rows import decode_rows

    ask = _verbs.Ask(m.View(0, "session", session.id), lambda found: decode_rows(found.payload))
    return connection._ask(ask)[0]["why"]


# ---- and the rest --------------------------------------------------------------------------------


def test_a_service_finds_its_cluster(session):
    assert session.id in session.run(b"endpoint").result(PATIENCE).decode().split(",")


def test_nodes(shared):
    (node,) = shared.list_nodes()
    executors = shared.list_executors()
    assert node.executors == len(executors) and node.state == "Ready"
    assert node.slots == sum(executor.slots for executor in executors)


def test_an_executor_is_cordoned_and_freed(shared, session):
    ids = [executor.id for executor in shared.list_executors()]
    try:
        for executor in ids:
            shared.cordon_executor(executor)
        assert {executor.hold for executor in shared.list_executors()} == {"cordoned"}
        assert all(e.provider.startswith("process ") for e in shared.list_executors())
        future = session.run(b"x")
        wait_until(lambda: "is cordoned" in why(shared, session), "it says why it waits")
        assert not future.done()
    finally:
        for executor in ids:
            shared.uncordon_executor(executor)
    assert future.result(PATIENCE) == b"x"
    with pytest.raises(flamepy.FlameError, match="no executor 'nobody'"):
        shared.drain_executor("nobody")


def test_the_same_with_asyncio(shared, tmp_path):
    register(shared, "talker")
    folder, data = steps(tmp_path)

    async def main():
        connection = await flamepy.aio.connect(shared.addr)
        async with connection, connection.create_session("talker", b"one") as session:
            told = []
            session.on_progress(told.append)
            future = session.run(data)
            await session.flush()
            async for task in session.watch_task(1):
                if task.percent:
                    (folder / str(task.percent)).touch()
            assert task.state is SUCCEED and await future == data
            while not told:
                await asyncio.sleep(0.01)
            assert await session.common_data() == b"one"
            assert await session.update_common_data(lambda old: old + b"!") == 2
            assert await session.run(b"common") == b"one!"
            await session.run(b"print:hello")
            assert "out hello" in "".join(log.text for log in await session.logs())
            assert len(await connection.list_nodes()) == 1
            await connection.update_application("talker", description="changed")
            assert (await connection.get_application("talker")).description == "changed"

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_callback_may_wait_for_a_thread_that_waits_for_a_result(session, tmp_path):
    folder, data = steps(tmp_path)
    future, woken, heard = session.run(data), threading.Event(), []
    waits = threading.Thread(target=lambda: (future.result(PATIENCE), woken.set()))
    waits.start()
    wait_until(lambda: future._run._waiting, "the thread waits")
    future.add_done_callback(lambda _: heard.append(woken.wait(PATIENCE)))
    for step in "10", "60":
        (folder / step).touch()
    waits.join()
    wait_until(lambda: heard, "the callback ran")
    assert heard == [True]
