# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The joblib backend with the real joblib, where it can be fetched."""

import sys

import pytest

from conftest import PATIENCE

PROGRAM = """
import multiprocessing
import time

import joblib
from joblib import Parallel, delayed

import flamepy
import flamepy.joblib

flamepy.joblib.register()


def square(x):
    return x * x


def where():
    import os

    return os.getpid()


def fail(x):
    if x == 3:
        raise ValueError(f"{x} has no luck")
    return x


def nested(x):
    return sum(Parallel(n_jobs=2)(delayed(square)(i) for i in range(x)))


with joblib.parallel_config("flame"):
    assert joblib.effective_n_jobs() == 2
    assert Parallel()(delayed(square)(i) for i in range(500)) == [i * i for i in range(500)]
    with Parallel(n_jobs=1) as parallel:
        assert parallel(delayed(square)(i) for i in range(3)) == [0, 1, 4]
        assert parallel(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
    stream = Parallel(n_jobs=2, return_as="generator")(delayed(square)(i) for i in range(50))
    assert list(stream) == [i * i for i in range(50)]
    assert where() not in Parallel(n_jobs=2)(delayed(where)() for _ in range(4))
    assert Parallel(n_jobs=2)(delayed(nested)(i) for i in (2, 3)) == [1, 5]
    try:
        Parallel(n_jobs=2)(delayed(fail)(i) for i in range(10))
    except ValueError as error:
        assert "3 has no luck" in str(error) and "in fail" in str(error.__cause__)
    else:
        raise AssertionError("it did not fail")
    try:
        Parallel(n_jobs=2, timeout=0.2)(delayed(time.sleep)(s) for s in (0, 0, 0, 0.8))
    except multiprocessing.TimeoutError:
        pass
    else:
        raise AssertionError("it did not time out")
    try:
        Parallel(n_jobs=0)(delayed(square)(i) for i in range(2))
    except ValueError as error:
        assert "no meaning" in str(error)
open_sessions = [s for s in flamepy.list_sessions() if s.state is flamepy.SessionState.OPEN]
print(len(open_sessions), "sessions left open")
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_joblib(running_once, extras, program):
    done = running_once.run(sys.executable, program, PYTHONPATH=str(extras), timeout=4 * PATIENCE)
    assert (done.code, done.out) == (0, "0 sessions left open\n"), done


def test_without_joblib_its_name_is_said_and_the_rest_works(running_once):
    hidden = "import sys; sys.modules['joblib'] = None; "
    done = running_once.run(sys.executable, "-c", hidden + "import flamepy.joblib")
    assert done.code != 0 and "ModuleNotFoundError" in done.err and "joblib" in done.err
    work = "from flamepy import *; import flamepy; flamepy.aio; flamepy.service; flamepy.nothing"
    done = running_once.run(sys.executable, "-c", hidden + work)
    assert done.err.endswith("AttributeError: module 'flamepy' has no attribute 'nothing'\n")


def test_a_service_does_not_import_what_it_does_not_use(running_once):
    heavy = "asyncio", "joblib", "flamepy.aio"
    code = f"import flamepy.worker, sys; print([m for m in {heavy} if m in sys.modules])"
    done = running_once.run(sys.executable, "-c", code)
    assert (done.code, done.out) == (0, "[]\n"), done
