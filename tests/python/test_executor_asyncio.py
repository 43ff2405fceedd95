# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flamepy.Executor in an event loop, as asyncio uses executors; and who must not wait."""

import asyncio
import concurrent.futures as standard
import functools
import math
import signal
import time

import pytest

import flamepy
import flamepy.aio
from flamepy import _verbs

from conftest import PATIENCE, wait_until


def hold(began, release):
    began.touch()
    while not release.exists():
        time.sleep(0.01)
    return "held"


@pytest.fixture
def held(client, tmp_path):
    """An executor with one worker, a future that it is at, and what lets that go on."""
    began, release = tmp_path / "began", tmp_path / "release"
    with flamepy.Executor(1, connection=client) as executor:
        future = executor.submit(hold, began, release)
        wait_until(began.exists, "it runs")
        yield executor, future, release.touch
        release.touch()


def counts(connection):
    """Of the only session."""
    (session,) = connection.list_sessions()
    return session


def run(main):
    return asyncio.run(asyncio.wait_for(main, 4 * PATIENCE))


def test_what_asyncio_does_with_executors(shared):
    async def main():
        loop = asyncio.get_running_loop()
        async with flamepy.Executor(connection=shared) as executor:
            assert await loop.run_in_executor(executor, math.sqrt, 16) == 4
            assert await asyncio.wrap_future(executor.submit(pow, 2, exp=5)) == 32
            hexadecimal = functools.partial(int, "ff", base=16)
            assert await loop.run_in_executor(executor, hexadecimal) == 255
            calls = [loop.run_in_executor(executor, abs, -i) for i in range(5000)]
            assert await asyncio.gather(*calls) == list(range(5000))
            calls = [loop.run_in_executor(executor, abs, -i) for i in range(100)]
            assert {await call for call in asyncio.as_completed(calls)} == set(range(100))
            with pytest.raises(ZeroDivisionError) as raised:
                await loop.run_in_executor(executor, divmod, 1, 0)
            assert "Traceback" in str(raised.value.__cause__)
            calls = [loop.run_in_executor(executor, divmod, 1, i) for i in (1, 0)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert found[0] == (1, 0) and isinstance(found[1], ZeroDivisionError)
        with pytest.raises(RuntimeError, match="after shutdown"):
            loop.run_in_executor(executor, abs, 1)

    run(main())


def test_async_with_ends_without_holding_up_the_loop(client, tmp_path):
    began, release = tmp_path / "began", tmp_path / "release"

    async def main():
        async with flamepy.Executor(1, connection=client) as executor:
            future = executor.submit(hold, began, release)
            # Only a loop that goes on ever does that.
            asyncio.get_running_loop().call_later(0.05, release.touch)
        assert future.done() and future.result() == "held"

    run(main())


def test_what_asyncio_cancels_is_cancelled_and_nobody_waits_for_it(held, client, monkeypatch):
    executor, running, release = held
    requests = []
    together = _verbs.cancel_together

    def counted(*arguments, **keywords):
        found = list(together(*arguments, **keywords))
        requests.extend(found)
        return found

    monkeypatch.setattr("flamepy._verbs.cancel_together", counted)

    async def main():
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, abs, -i) for i in range(3000)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(asyncio.wrap_future(running), *calls), 0.05)
        assert all(call.cancelled() for call in calls)

    run(main())
    wait_until(lambda: counts(client).cancelled == 3000, "what was pending is cancelled")
    assert 0 < len(requests) < 300
    assert not running.done()  # one that runs goes on, as with other executors
    release()
    assert running.result(PATIENCE) == "held"
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_a_cancel_in_the_loop_does_not_wait_for_a_broker_that_stands_still(held, running):
    executor, _, release = held
    futures = [executor.submit(abs, -i) for i in range(10)]
    assert futures[9].task_id == 11

    async def main():
        running.kill("broker", signal.SIGSTOP)
        try:
            late = executor.submit(abs, -10)
            began = time.monotonic()
            for future in (*futures, late):
                assert not future.cancel()
            assert time.monotonic() - began < PATIENCE / 3
        finally:
            running.kill("broker", signal.SIGCONT)
        return late

    late = run(main())
    wait_until(lambda: all(future.cancelled() for future in (*futures, late)), "they are cancelled")
    release()


def test_a_callback_may_cancel_others_and_does_not_wait(held):
    """Those that are pending behind the one that fails."""
    executor, future, release = held
    others = [executor.submit(time.sleep, 0.01) for _ in range(100)]
    asked = []
    future.add_done_callback(lambda _: asked.extend(other.cancel() for other in others[50:]))
    release()
    assert len(standard.wait(others, PATIENCE).done) == 100
    assert asked == [False] * 50 and not any(other.cancelled() for other in others[:50])
    assert any(other.cancelled() for other in others[50:])
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_who_cancels_all_hears_it_as_asyncios_exception(held):
    executor, running, _ = held

    async def main():
        calls = [asyncio.wrap_future(executor.submit(abs, -i)) for i in range(10)]
        await asyncio.to_thread(executor.cancel, running=True)
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in found} == {asyncio.CancelledError}

    run(main())
    with pytest.raises(standard.CancelledError):
        running.result(PATIENCE)


def test_a_map_that_is_left_cancels_what_is_pending(held, client):
    executor, _, release = held
    left = executor.map(abs, range(500), timeout=0.05)
    with pytest.raises(standard.TimeoutError):
        next(left)
    wait_until(lambda: counts(client).cancelled == 500, "the time was over")
    release()
    with pytest.raises(ZeroDivisionError):
        list(executor.map(lambda x: (time.sleep(0.01), 1 // x), [0] + [1] * 5000))
    closed = executor.map(time.sleep, [0] + [0.01] * 5000)
    assert next(closed) is None
    closed.close()
    assert counts(client).wait(PATIENCE).cancelled > 5000
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_a_call_of_a_map_that_raises_is_heard_while_others_run(client, tmp_path):
    release, end = tmp_path / "release", time.monotonic() + PATIENCE

    def call(i):
        time.sleep(0.02)  # a service gives what it has once it is at a frame for 5 ms
        while i > 1 and not release.exists() and time.monotonic() < end:
            time.sleep(0.01)
        return 1 // i

    with flamepy.Executor(2, connection=client) as executor:
        outputs = executor.map(call, [1, 0, *[2] * 100])
        assert next(outputs) == 1
        with pytest.raises(ZeroDivisionError):
            next(outputs)
        wait_until(lambda: counts(client).cancelled > 50, "what was pending is cancelled")
        release.touch()


def test_the_connection_of_an_executor_is_a_synchronous_one(shared):
    async def main():
        async with flamepy.aio.connect(shared.addr) as connection:
            with pytest.raises(TypeError, match="of flamepy.connect, not a flamepy.aio"):
                flamepy.Executor(connection=connection)

    run(main())
