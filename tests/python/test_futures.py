# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Futures as views of runs: what the standard library asks of them, and what a million costs."""

import asyncio
import concurrent.futures as standard
import subprocess
import sys
import threading

import pytest

import flamepy
from flamepy._future_table import FutureTable
from flamepy._proto.elements import pack_elements
from flamepy._proto.errors import Code, Error
from flamepy._proto.messages import Results, Run, TaskException
from flamepy._run_state import RunState


def make(count, decode=None):
    run = RunState(None, decode)
    run.count = count
    run.seal()
    run.acknowledge(1)
    return run, [flamepy.Future(run, index) for index in range(count)]


def entry(first, *outputs, failures=()):
    exceptions = [TaskException(id, Code.TASK_FAILED, reason) for id, reason in failures]
    payload = pack_elements(list(outputs))
    return Results(7, 0, Run(first, len(outputs)), exceptions=exceptions, payload=payload)


# ---- one future ----------------------------------------------------------------------------------


def test_is_a_standard_future_that_is_done_when_its_slice_arrives():
    run, (one, two) = make(2)
    assert isinstance(one, standard.Future)
    assert not one.done() and not one.running() and not one.cancelled() and not one.cancel()
    run.take(1, [b"a"])
    assert one.done() and not two.done()
    assert (one.result(), one.exception(), one.task_id) == (b"a", None, 1)


def test_a_wait_that_is_over_raises_the_standard_exception():
    _, (future,) = make(1)
    for call in (future.result, future.exception):
        with pytest.raises(standard.TimeoutError):
            call(timeout=0)


def test_a_failure_is_raised_with_its_task_and_is_one_object():
    run, (_, failed) = make(2)
    run.take(1, [b"", Error(Code.TASK_FAILED, "no luck\n\nTraceback ...")])
    with pytest.raises(flamepy.TaskError, match="no luck") as raised:
        failed.result()
    assert (raised.value.task_id, raised.value.kind) == (2, flamepy.Code.TASK_FAILED)
    assert failed.exception() is raised.value


def test_decodes_once():
    run, (future,) = make(1, decode=lambda output: [output])
    run.take(1, [b"a"])
    assert future.result() == [b"a"]
    assert future.result() is future.result()


def test_what_does_not_decode_is_the_futures_exception():
    run, (future,) = make(1, decode=int)
    run.take(1, [b"no number"])
    assert isinstance(future.exception(), ValueError)


def test_callbacks_come_once_before_and_after():
    run, (future,) = make(1)
    calls = []
    future.add_done_callback(calls.append)
    assert calls == []
    run.take(1, [b"a"])
    future.add_done_callback(calls.append)
    assert calls == [future, future]


def test_a_callback_that_raises_is_logged_and_the_next_is_called(caplog):
    run, (future,) = make(1)
    calls = []
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(calls.append)
    run.take(1, [b"a"])
    assert calls == [future]
    assert "ZeroDivisionError" in caplog.text


def test_who_waits_in_another_thread_is_woken():
    run, futures = make(1000)
    with standard.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(future.result, 30) for future in (futures[0], futures[999])]
        run.take(1, [b"%d" % i for i in range(500)])
        assert waiting[0].result(30) == b"0"
        assert not waiting[1].done()
        run.take(501, [b"%d" % i for i in range(500, 1000)])
        assert waiting[1].result(30) == b"999"


def test_asyncio_can_wait_for_it():
    run, (future,) = make(1)

    async def main():
        wrapped = asyncio.wrap_future(future)
        threading.Thread(target=run.take, args=(1, [b"a"])).start()
        return await wrapped

    assert asyncio.run(main()) == b"a"


def test_asyncio_of_python_3_14_reads_result_and_exception_at_once():
    run, (good, bad) = make(2, decode=int)
    run.take(1, [b"7", Error(Code.TASK_FAILED, "no luck")])
    assert (good._result, good._exception) == (7, None)
    assert bad._result is None and bad._exception is bad.exception()


# ---- the standard functions ----------------------------------------------------------------------


def test_as_completed_gives_each_once_also_those_done_before():
    run, futures = make(1000)
    run.take(1, [b"a"] * 300)
    done = []
    waiting = standard.as_completed(futures, timeout=30)
    done.extend(next(waiting) for _ in range(300))
    assert {future.task_id for future in done} == set(range(1, 301))
    thread = threading.Thread(target=run.take, args=(301, [b"b"] * 700))
    thread.start()
    done.extend(waiting)
    thread.join()
    assert len(done) == len(set(done)) == 1000


@pytest.mark.parametrize("when", [standard.FIRST_COMPLETED, standard.FIRST_EXCEPTION])
def test_wait_for_the_first(when):
    run, futures = make(3)
    threading.Thread(target=run.take, args=(2, [Error(Code.TASK_FAILED, "no luck")])).start()
    done, rest = standard.wait(futures, 30, when)
    assert (done, rest) == ({futures[1]}, {futures[0], futures[2]})


def test_wait_for_all_beside_standard_futures_in_many_threads():
    run, futures = make(200)
    with standard.ThreadPoolExecutor(8) as pool:
        strangers = [pool.submit(int, 1) for _ in range(20)]
        mixed = [strangers[i // 10] if i % 10 == 0 else futures[i] for i in range(200)]
        waits = [pool.submit(standard.wait, mixed[i::3] + mixed[::-1], 30) for i in range(4)]
        for first in range(1, 201, 7):
            run.take(first, [b"a"] * min(7, 201 - first))
        assert all(not wait.result(30).not_done for wait in waits)


# ---- which future a result belongs to ------------------------------------------------------------


def table_with(*counts):
    table, runs, first = FutureTable(), [], 1
    for ticket, count in enumerate(counts, 1):
        run = RunState()
        run.count = count
        run.seal()
        table.sent(ticket, run)
        runs.append(run)
    for ticket, run in enumerate(runs, 1):
        table.acknowledged(ticket, Run(first, run.count))
        first += run.count
    return table, runs


def test_entries_are_cut_otherwise_than_the_submits():
    table, (one, two, three) = table_with(3, 2, 4)
    table.take(entry(2, b"2", b"3", b"4"))
    assert (one.outputs, two.outputs) == ([None, b"2", b"3"], [b"4", None])
    table.take(entry(5, b"5", b"6", b"7", b"8", b"9", failures=[(6, "no")]))
    assert two.outputs == [b"4", b"5"]
    assert three.outputs == [Error(Code.TASK_FAILED, "no"), b"7", b"8", b"9"]
    assert table
    table.take(entry(1, b"1"))
    assert one.outputs == [b"1", b"2", b"3"]
    assert not table


def test_the_first_result_wins():
    table, (run,) = table_with(3)
    table.take(entry(1, b"a"))
    table.take(entry(1, b"x", b"b"))
    assert run.outputs == [b"a", b"b", None]
    assert run.left == 1


def test_results_that_overtake_the_acknowledgement_are_kept():
    table, run = FutureTable(), RunState()
    run.count = 2
    run.seal()
    table.sent(1, run)
    table.take(entry(1, b"a", b"b"))
    assert run.outputs == [None, None]
    table.acknowledged(1, Run(1, 2))
    assert run.outputs == [b"a", b"b"]
    assert not table


def test_one_exception_stands_for_a_cancelled_run():
    table, (run,) = table_with(3)
    cancelled = TaskException(1, Code.TASK_CANCELLED, "closed")
    table.take(Results(7, 0, Run(1, 3), exceptions=[cancelled]))
    assert run.outputs == [Error(Code.TASK_CANCELLED, "closed")] * 3
    with pytest.raises(flamepy.TaskCancelledError):
        flamepy.Future(run, 2).result()


def test_lost_tasks_fail_and_their_ids_may_come_again():
    table, (one, two) = table_with(2, 2)
    table.take(entry(3, b"3"))
    table.lose(Run(3, 2))
    assert two.outputs == [b"3", Error(Code.LOST_BY_STORE, two.outputs[1].message)]
    again = RunState()
    again.count = 2
    again.seal()
    table.sent(3, again)
    table.acknowledged(3, Run(3, 2))
    table.take(entry(1, b"1", b"2", b"3", b"4"))
    assert (one.outputs, again.outputs) == ([b"1", b"2"], [b"3", b"4"])


def test_what_does_not_decode_fails_its_tasks():
    table, (run,) = table_with(2)
    table.take(Results(7, 0, Run(1, 2), payload=b"\x01"))
    assert [output.code for output in run.outputs] == [Code.BAD_FRAME] * 2


# ---- a million -----------------------------------------------------------------------------------

MILLION = """
import concurrent.futures, resource, sys
import flamepy
from flamepy._run_state import RunState

def rss_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, futures, runs = rss_mb(), [], []
for _ in range(1000):
    run = RunState()
    run.count = 1000
    run.seal()
    runs.append(run)
    futures += [flamepy.Future(run, index) for index in range(1000)]
plain = rss_mb() - before
waiting = concurrent.futures.as_completed(futures)
for first, run in enumerate(runs):
    run.acknowledge(1 + 1000 * first)
    run.take(run.first, [b"x"] * 1000)
assert sum(1 for _ in waiting) == 1_000_000
print(plain, rss_mb() - before)
"""


def test_a_million_futures_fit_in_memory():
    out = subprocess.run(
        [sys.executable, "-c", MILLION], text=True, capture_output=True, check=True, timeout=300
    ).stdout
    plain, watched = map(float, out.split())
    assert plain < 200, "MB before anybody waits"
    assert watched < 1000, "MB with as_completed over all of them"
