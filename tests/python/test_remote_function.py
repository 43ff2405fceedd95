# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""@flamepy.task: plain functions that the cluster can run."""

import math
import os
import pickle
import subprocess
import sys

import pytest

import flamepy

from conftest import PATIENCE


@pytest.fixture
def executor(shared):
    with flamepy.Executor(connection=shared) as made:
        yield made


def test_it_stays_a_function(executor):
    @flamepy.task
    def square(x: int, *, by: int = 1) -> int:
        """Of x."""
        return by * x * x

    assert (square(3), square(3, by=2)) == (9, 18)
    assert (square.__name__, square.__doc__) == ("square", "Of x.")
    assert "square" in repr(square) and isinstance(square, flamepy.RemoteFunction)
    with pytest.raises(TypeError, match="is for functions, not for int"):
        flamepy.task(3)


def test_it_runs_on_the_cluster_through_the_executor_it_was_given(executor):
    @flamepy.task(executor=executor)
    def where(x, *, by=1):
        return os.getpid(), by * x

    pid, product = where.submit(3, by=2).result(PATIENCE)
    assert pid != os.getpid() and product == 6
    found = list(where.map(range(500), timeout=PATIENCE))
    assert [product for _, product in found] == list(range(500))
    assert os.getpid() not in {pid for pid, _ in found}
    assert where(1) == (os.getpid(), 1)


def test_what_it_raises_comes_back_as_itself(executor):
    @flamepy.task(executor=executor)
    def root(x):
        return math.sqrt(x)

    with pytest.raises(ValueError, match="math domain"):
        root.submit(-1).result(PATIENCE)


def test_one_that_calls_itself_and_others_does_so_where_it_runs(executor):
    @flamepy.task(executor=executor)
    def here():
        return os.getpid()

    @flamepy.task(executor=executor)
    def factorial(n):
        return (here(), 1) if n == 0 else (here(), n * factorial(n - 1)[1])

    pid, product = factorial.submit(5).result(PATIENCE)
    assert product == 120 and pid != os.getpid()
    # As an argument, or run by an executor, it is a function like any other.
    assert executor.submit(factorial, 4).result(PATIENCE)[1] == 24
    assert executor.submit(map_with, here, 2).result(PATIENCE)[0] != os.getpid()


def map_with(function, times):
    return [function() for _ in range(times)]


@flamepy.task
def of_a_module(x):
    return x + 1


def test_one_of_a_module_is_pickled_as_functions_are(executor):
    assert executor.submit(of_a_module, 1).result(PATIENCE) == 2
    assert pickle.loads(pickle.dumps(of_a_module)) is of_a_module


PROGRAM = """
import flamepy

@flamepy.task
def square(x):
    return x * x

@flamepy.task
def add(x, y):
    return x + y

print(square.executor is add.executor)
print(add.submit(square.submit(3).result(), 1).result(), list(square.map(range(4))))
square.executor.shutdown()
print(square.submit(5).result())
left = square.submit(6)
left.add_done_callback(lambda future: print("done", future.result(), flush=True))
"""


def test_without_an_executor_all_share_one_that_ends_with_the_program(running_once, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program],
        env=os.environ | {"FLAME_ENDPOINT": running_once.env["FLAME_ENDPOINT"]},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.splitlines() == ["True", "10 [0, 1, 4, 9]", "25", "done 36"]
    sessions = [s for s in running_once.sessions() if s["application"].startswith("flamepy-")]
    assert {session["state"] for session in sessions} == {"Closed"}, "they end with the program"


def test_without_a_broker_the_first_use_says_so(tmp_path):
    text = (
        "import flamepy\nsquare = flamepy.task(lambda x: x * x)\nprint(square(2))\nsquare.submit(2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=os.environ | {"FLAME_ENDPOINT": "tcp://127.0.0.1:1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == "4\n"
    assert "NoBrokerError" in done.stderr
