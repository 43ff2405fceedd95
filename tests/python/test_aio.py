# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The asyncio client against a real local cluster."""

import asyncio
import itertools
import os
import pickle
import socket
import sys
from functools import partial

import pytest

import flamepy
import flamepy.aio
from flamepy.aio._delivery import Delivery

from conftest import PATIENCE, SERVICES, TASKS, register


def numbers(count):
    return [b"%d" % i for i in range(count)]


@pytest.fixture
def endpoint(shared):
    register(shared, "echo")
    return shared.addr


def run_with(endpoint, main, **attributes):
    """main(session) in an event loop of its own."""

    async def whole():
        connection = await flamepy.aio.connect(endpoint)
        async with connection, connection.create_session("echo", **attributes) as session:
            return await asyncio.wait_for(main(session), 4 * PATIENCE)

    return asyncio.run(whole())


async def until(condition):
    """As wait_until, and the loop goes on."""

    async def look():
        while not await condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), PATIENCE)


# ---- submit --------------------------------------------------------------------------------------


def test_one_task_and_the_session_counts_it(endpoint):
    async def main(session):
        assert await session.run(b"hello") == b"hello"
        assert await session.invoke(b"again", PATIENCE) == b"again"
        future = session.run(b"third")
        assert isinstance(future, asyncio.Future) and not future.done()
        assert (await future, future.task_id) == (b"third", 3)
        waited = await session.wait(PATIENCE)
        assert (waited.succeed, waited.state) == (3, flamepy.SessionState.OPEN)
        return session

    session = run_with(endpoint, main)
    assert session.state is flamepy.SessionState.CLOSED
    assert repr(session).startswith(f"<flamepy.aio.Session {session.id} of echo, closed: 0 pending")


def test_gather_over_many(endpoint):
    async def main(session):
        inputs = numbers(TASKS // 4)
        assert await asyncio.gather(*map(session.run, inputs)) == inputs

    run_with(endpoint, main)


def test_the_loop_is_woken_by_batches_and_not_by_tasks(endpoint, monkeypatch):
    wakes = []
    run = Delivery._run
    monkeypatch.setattr(Delivery, "_run", lambda self: (wakes.append(1), run(self)))

    async def main(session):
        await asyncio.gather(*map(session.run, numbers(10_000)))

    run_with(endpoint, main)
    assert 0 < len(wakes) < 1000


def test_failures_are_raised_where_they_are_awaited(endpoint):
    async def main(session):
        good, bad = session.run(b"a"), session.run(b"fail:no luck")
        found = await asyncio.gather(good, bad, return_exceptions=True)
        assert found[0] == b"a"
        assert isinstance(found[1], flamepy.TaskError) and "ValueError: no luck" in str(found[1])
        assert found[1].task_id == bad.task_id == 2
        with pytest.raises(flamepy.FlameError, match="input is bytes, not str"):
            session.run("text")

    run_with(endpoint, main)


def test_a_closed_session_cancels_what_is_pending_and_says_so(shared, endpoint):
    # An application of its own: an instance of long standing has everything in hand at once.
    program = str(SERVICES / "echo.py")
    shared.register_application("slow", {"command": sys.executable, "arguments": [program]})

    async def main(other):
        session = await other.connection.create_session("slow")
        futures = [session.run(b"sleep:0.02") for _ in range(200)]
        await session.close()
        found = await asyncio.gather(*futures, return_exceptions=True)
        cancelled = [one for one in found if isinstance(one, flamepy.TaskCancelledError)]
        assert len(cancelled) == (await session.refresh()).cancelled > 0
        with pytest.raises(flamepy.SessionClosedError):
            await session.run(b"too late")

    run_with(endpoint, main)


# ---- cancel, time-outs ---------------------------------------------------------------------------


def test_a_cancelled_asyncio_task_cancels_its_flame_task(endpoint, tmp_path):
    """Pending or running; the service process of the running one serves on."""
    began = tmp_path / "began"

    async def main(session):
        async def work(data):
            return await session.run(data)

        running = asyncio.create_task(work(b"hold:%s" % bytes(began)))
        pending = [asyncio.create_task(work(b"%d" % i)) for i in range(300)]
        await until(lambda: asyncio.to_thread(began.exists))
        for task in (running, *pending):
            task.cancel()
        found = await asyncio.gather(running, *pending, return_exceptions=True)
        assert {type(one) for one in found} == {asyncio.CancelledError}
        await session.wait(PATIENCE)
        assert (session.cancelled, session.succeed) == (301, 0)
        assert await session.run(b"cancelled:") == b"1"

    run_with(endpoint, main, max_instances=1)


def test_cancelled_before_the_broker_has_it(endpoint, tmp_path):
    began = tmp_path / "began"

    async def main(session):
        holding = session.run(b"hold:%s" % bytes(began))
        await until(lambda: asyncio.to_thread(began.exists))
        futures = [session.run(b"%d" % i) for i in range(10)]
        assert futures[0].task_id is None
        for future in futures[::2]:
            assert future.cancel() and not future.cancel()
        await until(lambda: cancelled(session, 5))
        assert not holding.done() and holding.cancel()
        assert await asyncio.gather(*futures[1::2]) == [b"1", b"3", b"5", b"7", b"9"]
        await session.wait(PATIENCE)
        assert (session.cancelled, session.succeed) == (6, 5)

    run_with(endpoint, main, max_instances=1)


async def cancelled(session, count):
    return (await session.refresh()).cancelled == count


def test_a_time_out_says_why_the_service_does_not_start(shared, endpoint):
    shared.register_application("broken", {"command": "/nonexistent"})

    async def main(other):
        async with other.connection.create_session("broken") as session:
            pending = session.run(b"a")
            await until(lambda: failed_to_start(shared, session))
            why = f"session '{session.id}': no executable /nonexistent"
            with pytest.raises(asyncio.TimeoutError, match=why):
                await session.invoke(b"b", 0.1)
            with pytest.raises(asyncio.TimeoutError, match=why):
                await anext_of(session.map([b"c"], timeout=0.1))
            with pytest.raises(flamepy.FlameTimeoutError, match=why):
                await session.wait(0.1)
            await until(lambda: cancelled(session, 2))
            assert not pending.done()

    run_with(endpoint, main)


async def failed_to_start(connection, session):
    return "bind_failed" in connection.get_session(session.id).events[-1].message


def test_a_time_out_cancels_the_task_and_shield_keeps_it(endpoint):
    async def main(session):
        kept = session.run(b"sleep:0.2")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(kept), 0.01)
        assert await kept == b"sleep:0.2"
        with pytest.raises(asyncio.TimeoutError):
            await session.invoke(b"sleep:600", 0.2)
        await session.wait(PATIENCE)
        assert (session.succeed, session.cancelled) == (1, 1)
        futures = [session.run(b"sleep:600") for _ in range(4)]
        with pytest.raises(flamepy.FlameTimeoutError):
            await session.wait(0.05)
        assert sum(await session.cancel(range(3, 5), running=True)) == 2
        assert sum(await session.cancel(running=True)) == 2
        assert await session.cancel([]) == (0, 0)
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert {type(one) for one in found} == {flamepy.TaskCancelledError}

    run_with(endpoint, main)


def test_a_wait_that_is_given_up_leaves_nothing_in_the_client(endpoint):
    async def main(session):
        io, future = session.connection._io, session.run(b"sleep:60")
        for call in (session.wait, session.drain, partial(session.wait, progress="bar")) * 10:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(call(), 0.002)

        async def nothing_is_left():
            return not (io._replies or io._core._requests or session._attached._calls)

        await until(nothing_is_left)
        assert not future.done()
        await session.cancel(running=True)

    run_with(endpoint, main)


# ---- map, as_completed, results ------------------------------------------------------------------


def test_map_gives_outputs_in_order_also_of_inputs_without_end(endpoint):
    async def main(session):
        inputs = numbers(TASKS // 2)
        assert [output async for output in session.map(inputs, timeout=10 * PATIENCE)] == inputs
        assert [output async for output in session.map([])] == []
        with pytest.raises(ValueError, match="buffersize"):
            await anext_of(session.map([b"a"], buffersize=0))
        before = (await session.wait(PATIENCE)).tasks
        endless = session.map((b"%d" % i for i in itertools.count()), buffersize=100)
        async for output in endless:
            if output == b"999":
                break
        await endless.aclose()
        await session.wait(PATIENCE)
        assert 1000 <= session.tasks - before <= 1300

    run_with(endpoint, main)


def test_a_map_gives_what_is_there_while_other_tasks_run(endpoint, tmp_path):
    release = tmp_path / "release"
    wait = b"until:%s" % bytes(release)
    # A service gives what it has once it is at a frame for 5 ms.
    first = b"sleep:0.02"
    inputs = [first, *[wait] * 20, b"last"]

    async def main(session):
        outputs = session.map(inputs, timeout=PATIENCE)
        assert await anext_of(outputs) == first
        release.touch()
        assert [output async for output in outputs] == inputs[1:]

    run_with(endpoint, main)


async def anext_of(generator):
    return await generator.__anext__()


def test_what_is_left_of_a_map_is_cancelled(endpoint):
    async def main(session):
        outputs = session.map([b"sleep:0.05"] * 10, timeout=0.001)
        with pytest.raises(asyncio.TimeoutError):
            await anext_of(outputs)
        outputs = session.map([b"a", b"fail:no luck"] + [b"sleep:600"] * 10, buffersize=2)
        assert await anext_of(outputs) == b"a"
        with pytest.raises(flamepy.TaskError, match="no luck"):
            await anext_of(outputs)
        await session.wait(PATIENCE)
        assert session.failed == 1 and session.cancelled >= 1
        assert session.tasks == session.succeed + session.failed + session.cancelled

    run_with(endpoint, main)


def test_as_completed_gives_the_futures_that_are_done(endpoint, tmp_path):
    began = tmp_path / "began"

    async def main(session):
        async with session.connection.create_session("echo") as other:
            slow = other.run(b"hold:%s" % bytes(began))
            quick = [session.run(b"%d" % i) for i in range(500)]
            seen = []
            with pytest.raises(asyncio.TimeoutError):
                async for future in flamepy.aio.as_completed([slow, *quick], timeout=PATIENCE):
                    seen.append(future)
                    if len(seen) == 500:
                        break
                async for _ in flamepy.aio.as_completed([slow], timeout=0.01):
                    raise AssertionError("it holds")
            assert set(seen) == set(quick) and all(future.done() for future in seen)
            assert not slow.done() and slow.cancel()
        assert [future async for future in flamepy.aio.as_completed([])] == []

    run_with(endpoint, main)


def test_results_go_on_from_a_cursor(endpoint):
    async def main(session):
        async for _ in session.map(numbers(5000)):
            pass
        stream = session.results(timeout=PATIENCE)
        first = []
        async for result in stream:
            first.append(result)
            if len(first) == 2000:
                break
        rest = [result async for result in session.results(after=str(stream.cursor))]
        ids = {result.task_id for result in first} | {result.task_id for result in rest}
        assert ids == set(range(1, 5001))
        assert len(first) + len(rest) - 5000 < 1024
        assert all(result.output == b"%d" % (result.task_id - 1) for result in rest)
        async with session.connection.create_session("echo") as other:
            with pytest.raises(flamepy.FlameError, match=f"{session.id}#.*{other.id}#"):
                await other.results(after=stream.cursor).__anext__()
        with pytest.raises(flamepy.FlameError, match="no cursor"):
            session.results(after="nonsense")
        with pytest.raises(flamepy.FlameError) as raised:
            await session.results(after="0123456789abcdef:0", timeout=PATIENCE).__anext__()
        assert raised.value.kind is flamepy.Code.LOST_LINEAGE

    run_with(endpoint, main)


def test_followed_results_end_with_the_session_and_are_waited_for(endpoint):
    async def main(session):
        stream = session.results(follow=True, timeout=PATIENCE)
        waiting = asyncio.create_task(stream.__anext__())
        await session.run(b"a")
        assert (await waiting).output == b"a"
        short = session.results(follow=True, timeout=0.01)
        with pytest.raises(flamepy.FlameTimeoutError):
            async for result in short:
                assert result.task_id == 1
        failed = session.run(b"fail:no")
        with pytest.raises(flamepy.TaskError):
            await failed
        await session.close()
        rest = [result async for result in session.results(follow=True)]
        assert [(result.task_id, result.ok) for result in rest] == [(1, True), (2, False)]

    run_with(endpoint, main)


# ---- the connection ------------------------------------------------------------------------------


def test_every_other_verb(endpoint):
    async def main():
        connection = await flamepy.aio.connect(endpoint)
        async with connection:
            await connection.register_application("shown", {"command": "cat", "shim": "shell"})
            assert (await connection.get_application("shown")).command == "cat"
            names = [application.name for application in await connection.list_applications()]
            assert {"shown", "echo"} <= set(names)
            await connection.unregister_application("shown")
            assert [executor.slots for executor in await connection.list_executors()] == [2]
            spec = flamepy.SessionAttributes("echo", common_data=b"for all")
            made = await connection.open_session("aio-named", spec)
            assert (await made.run(b"common"), await made.common_data()) == (b"for all", b"for all")
            await made.drain()
            again = await connection.get_session("aio-named")
            assert again.succeed == 1 and await again.run(b"x") == b"x"
            listed = [one for one in await connection.list_sessions() if one.id == "aio-named"]
            assert len(listed) == 1
            with pytest.raises(flamepy.FlameError, match="open_session"):
                listed[0].run(b"x")
            closed = await connection.close_session("aio-named")
            assert closed.state is flamepy.SessionState.CLOSED
            await connection.delete_session("aio-named")
            with pytest.raises(flamepy.FlameError, match="no session"):
                await connection.get_session("aio-named")
            assert "closed" not in repr(connection)
        assert "closed" in repr(connection)
        with pytest.raises(flamepy.FlameError, match="was closed"):
            await connection.list_sessions()

    asyncio.run(main())


def test_nobody_answers_or_the_wait_is_cancelled():
    async def main(address):
        with pytest.raises(flamepy.NoBrokerError, match="flmctl up"):
            await flamepy.aio.connect(address, timeout=0.2)
        opening = asyncio.ensure_future(
            as_coroutine(flamepy.aio.connect(address, timeout=PATIENCE))
        )
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        asyncio.run(main(f"tcp://127.0.0.1:{nobody.getsockname()[1]}"))


async def as_coroutine(awaitable):
    return await awaitable


@pytest.mark.filterwarnings("error")  # of the connection's thread, too
def test_another_loop_is_told_and_results_for_a_closed_one_are_dropped(shared, endpoint):
    async def begin():
        connection = await flamepy.aio.connect(endpoint)
        session = await connection.create_session("echo")
        for _ in range(3):
            session.run(b"sleep:0.05")
        await session.flush()
        return connection, session

    async def use(connection, session):
        for call in (connection.list_sessions, session.refresh, session.close):
            with pytest.raises(flamepy.FlameError, match="another event loop"):
                await call()
        with pytest.raises(flamepy.FlameError, match="another event loop"):
            session.run(b"a")

    connection, session = asyncio.run(begin())
    asyncio.run(use(connection, session))
    assert shared.open_session(session.id).wait(PATIENCE).succeed == 3
    connection._io.close(PATIENCE)
    shared.close_session(session.id)


def test_a_fork_in_the_loop_is_told_and_may_connect_anew(endpoint):
    async def anew():
        async with flamepy.aio.connect(endpoint) as connection:
            return (await connection.list_executors())[0].slots

    async def main(session):
        future = session.run(b"a")  # on its way, and the run is still open
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            texts = []
            try:
                for call in (lambda: session.run(b"x"), lambda: asyncio.run(session.refresh())):
                    try:
                        call()
                    except flamepy.FlameError as error:
                        texts.append(str(error))
                texts.append(asyncio.run(anew()))
            finally:
                os.write(writer, pickle.dumps(texts))
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            *texts, slots = pickle.loads(answer.read())
        os.waitpid(child, 0)
        assert len(texts) == 2 and slots == 2
        assert all("forked after the client had connected" in text for text in texts)
        assert await future == b"a"

    run_with(endpoint, main)


def test_a_connection_that_closes_fails_its_futures(endpoint):
    async def main():
        connection = await flamepy.aio.connect(endpoint)
        session = await connection.create_session("echo")
        future = session.run(b"sleep:600")
        waiting = asyncio.ensure_future(session.wait())
        await session.flush()
        await connection.close()
        for one in (future, waiting):
            with pytest.raises(flamepy.FlameError, match="the client was closed"):
                await one
        return session.id

    session_id = asyncio.run(main())
    with flamepy.connect(endpoint) as sync:
        assert sync.open_session(session_id).cancel(running=True).running == 1


def test_a_broker_that_restarts_costs_time_and_no_tasks(running, client):
    register(client, "echo")

    async def main(session):
        for _ in range(2):
            running.kill("broker")
            inputs = numbers(500)
            assert await asyncio.gather(*map(session.run, inputs)) == inputs
        assert (await session.refresh()).succeed == 1000

    run_with(client.addr, main)


def test_the_executor_works_with_run_in_executor(shared):
    async def main():
        with flamepy.Executor(connection=shared) as executor:
            loop = asyncio.get_running_loop()
            calls = [loop.run_in_executor(executor, pow, 2, i) for i in range(50)]
            assert await asyncio.gather(*calls) == [2**i for i in range(50)]

    asyncio.run(main())
