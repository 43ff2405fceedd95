# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""CPython's own tests of executors, with flamepy.Executor in the place of its pools. They come with
the interpreters that are built from source (tools/python_test --python), not with Debian's."""

import importlib
import unittest

import pytest

import flamepy

pytest.importorskip("test.test_concurrent_futures")


def mixin(module, name):
    """Since Python 3.12 each has a file of its own."""
    try:
        found = importlib.import_module(f"test.test_concurrent_futures.{module}")
    except ModuleNotFoundError:
        found = importlib.import_module("test.test_concurrent_futures")
    return getattr(found, name)


class OnFlame(unittest.TestCase):
    worker_count = 5

    def executor_type(self, max_workers=None):
        return flamepy.Executor(max_workers, address=self.address)

    @pytest.fixture(autouse=True)
    def with_an_executor(self, running_once):
        self.address = running_once.env["FLAME_ENDPOINT"]
        self.executor = self.executor_type(self.worker_count)
        yield
        self.executor.shutdown()


class TestExecutor(mixin("executor", "ExecutorTest"), OnFlame):
    # A function is kept as long as its executor, so that its number means the same.
    test_no_stale_references = None
    # The result of a short task may wait for a long one behind it in the same frame.
    test_map_timeout = None


class TestWait(mixin("test_wait", "WaitTests"), OnFlame):
    pass


class TestAsCompleted(mixin("test_as_completed", "AsCompletedTests"), OnFlame):
    pass


class TestShutdown(mixin("test_shutdown", "ExecutorShutdownTest"), OnFlame):
    # They start programs that know the standard pools by name; test_errors.py has our own.
    test_interpreter_shutdown = test_submit_after_interpreter_shutdown = None
    test_hang_gh83386 = None
