# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flamepy.Executor as a concurrent.futures.Executor."""

import concurrent.futures as standard
import itertools
import math
import subprocess
import sys
import threading

import pytest

import flamepy
from flamepy import worker

from conftest import PATIENCE, TASKS

# This module is not importable where the workers run, unless through the client's sys.path.


class Point:
    def __init__(self, x):
        self.x = x

    def moved(self, by=1):
        return Point(self.x + by)


class OddError(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


def fail(kind, *arguments):
    raise kind(*arguments)


def unpicklable():
    return threading.Lock()


@pytest.fixture
def executor(shared):
    with flamepy.Executor(connection=shared) as made:
        yield made


def test_functions_of_every_kind(executor):
    factor = 3
    calls = [
        (executor.submit(math.sqrt, 16), 4.0),
        (executor.submit(pow, 2, exp=5), 32),
        (executor.submit(lambda x: factor * x, 5), 15),
        (executor.submit(dict, a=1), {"a": 1}),
        (executor.submit(Point(1).moved), 2),
        (executor.submit(Point(1).moved, by=9), 10),
    ]
    results = [future.result(PATIENCE) for future, _ in calls]
    shown = [result.x if isinstance(result, Point) else result for result in results]
    assert shown == [expected for _, expected in calls]
    assert isinstance(results[4], Point)


def test_map_in_order_and_of_several_iterables(executor):
    assert list(executor.map(abs, range(-TASKS // 4, 0), timeout=10 * PATIENCE)) == list(
        range(TASKS // 4, 0, -1)
    )
    assert list(executor.map(pow, [2, 3, 4], [5, 2], chunksize=7)) == [32, 9]
    assert list(itertools.islice(executor.map(abs, itertools.count(), buffersize=50), 500)) == list(
        range(500)
    )
    with pytest.raises(standard.TimeoutError):
        list(executor.map(lambda x: __import__("time").sleep(x), [0.5], timeout=0.01))


def test_exceptions_are_those_of_the_function_with_the_remote_traceback(executor):
    for kind, arguments in ((ValueError, ("no luck",)), (KeyError, (5,)), (OddError, (1, 2))):
        error = executor.submit(fail, kind, *arguments).exception(PATIENCE)
        assert (type(error), error.args) == (kind, arguments)
        assert "in fail" in str(error.__cause__)
    with pytest.raises(ZeroDivisionError):
        list(executor.map(lambda x: 1 // x, [1, 0]))
    assert isinstance(executor.submit(fail, SystemExit, 3).exception(PATIENCE), SystemExit)
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_what_cannot_be_pickled_says_so(executor):
    with pytest.raises(TypeError, match="pickle"):
        executor.submit(abs, threading.Lock())
    with pytest.raises(TypeError, match="pickle"):
        executor.map(abs, [1, threading.Lock()])
    lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        executor.submit(lambda: lock)
    assert "pickle" in str(executor.submit(unpicklable).exception(PATIENCE))
    large = executor.submit(fail, ValueError, "x" * 10_000).exception(PATIENCE)
    assert isinstance(large, flamepy.TaskError) and "ValueError: xxx" in str(large)


def test_the_standard_functions_accept_its_futures(executor):
    futures = [executor.submit(abs, -i) for i in range(200)]
    found = {future.result() for future in standard.as_completed(futures, PATIENCE)}
    assert found == set(range(200))
    assert standard.wait(futures).not_done == set()


def test_initializer_runs_before_the_first_task(shared):
    def prepare(value):
        import os

        os.environ["FLAME_TEST_PREPARED"] = value

    def look():
        import os

        return os.environ["FLAME_TEST_PREPARED"]

    with flamepy.Executor(2, connection=shared, initializer=prepare, initargs=("yes",)) as executor:
        assert executor.submit(look).result(PATIENCE) == "yes"


def test_a_failed_initializer_breaks_the_executor(shared):
    with flamepy.Executor(
        connection=shared, initializer=fail, initargs=(OSError, "no disk")
    ) as executor:
        error = executor.submit(abs, 1).exception(PATIENCE)
    assert isinstance(error, flamepy.BrokenWorkerError)
    assert isinstance(error, standard.BrokenExecutor)
    assert "OSError: no disk" in str(error)


def test_another_version_is_refused_with_both_named(monkeypatch, shared):
    monkeypatch.setattr("flamepy._executor.python_version", lambda: "2.7")
    with flamepy.Executor(connection=shared) as executor:
        error = executor.submit(abs, 1).exception(PATIENCE)
    assert isinstance(error, flamepy.BrokenWorkerError)
    assert "Python 2.7" in str(error) and f"Python {worker.python_version()}" in str(error)


def test_shutdown_waits_and_then_refuses(shared):
    executor = flamepy.Executor(connection=shared)
    futures = [executor.submit(lambda: __import__("time").sleep(0.05)) for _ in range(8)]
    executor.shutdown()
    executor.shutdown()
    assert all(future.done() and future.exception() is None for future in futures)
    for call in (lambda: executor.submit(abs, 1), lambda: executor.map(abs, [1])):
        with pytest.raises(RuntimeError, match="after shutdown"):
            call()


def test_shutdown_that_cancels(client):
    # A cluster of its own: what an instance of long standing has in hand finishes.
    executor = flamepy.Executor(1, connection=client)

    def work():
        __import__("time").sleep(0.02)

    futures = [executor.submit(work) for _ in range(200)]
    futures[0].result(PATIENCE)
    executor.shutdown(cancel_futures=True)
    cancelled = [future for future in futures if future.cancelled()]
    assert cancelled and not futures[0].cancelled()
    assert len(standard.wait(futures, PATIENCE).done) == 200
    with pytest.raises(standard.CancelledError):
        cancelled[0].result()


def test_cancel_leaves_an_executor_that_takes_more(executor):
    def work():
        __import__("time").sleep(0.02)

    futures = [executor.submit(work) for _ in range(50)]
    executor.cancel(running=True)
    assert len(standard.wait(futures, PATIENCE).done) == 50
    assert any(future.cancelled() for future in futures)
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_shutdown_without_waiting_lets_the_rest_finish(running_once):
    executor = flamepy.Executor(address=running_once.env["FLAME_ENDPOINT"])
    futures = [executor.submit(lambda: __import__("time").sleep(0.01)) for _ in range(20)]
    executor.shutdown(wait=False)
    assert len(standard.wait(futures, PATIENCE).done) == 20
    assert all(future.exception() is None for future in futures)


def test_bad_arguments_are_refused_at_once():
    with pytest.raises(ValueError, match="max_workers"):
        flamepy.Executor(0)
    with pytest.raises(TypeError, match="initializer"):
        flamepy.Executor(initializer=1)


MAIN = """
import sys, flamepy
print("imported")

class Cell:
    def __init__(self, value):
        self.value = value

def double(cell):
    return Cell(2 * cell.value)

with flamepy.Executor(address=sys.argv[1]) as executor:
    cells = list(executor.map(double, [Cell(1), Cell(2)]))
    assert all(type(cell) is Cell for cell in cells)
    print([cell.value for cell in cells])
"""


def test_the_main_module_is_never_imported_again(tmp_path, running_once):
    program = tmp_path / "program.py"
    program.write_text(MAIN)
    done = subprocess.run(
        [sys.executable, program, running_once.env["FLAME_ENDPOINT"]],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("imported\n[2, 4]\n", "")
