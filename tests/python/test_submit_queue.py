# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Which tasks travel together, and when whoever sends them is woken."""

import itertools
import select

import pytest

import flamepy
from flamepy._connection import Connection
from flamepy._inputs import submit_runs
from flamepy._proto.elements import unpack_elements
from flamepy._proto.errors import Code, Error
from flamepy._proto.limits import MIB, RUN_TASKS_MAX
from flamepy._run_state import RunState
from flamepy._submit_queue import SubmitQueue


class Story:
    def __init__(self):
        self.wakes = 0
        self.queue = SubmitQueue(self.wake, lambda: True)

    def wake(self):
        self.wakes += 1

    def add(self, *inputs, **how):
        return [self.queue.add(data, RunState, **how) for data in inputs]

    def taken(self):
        found = []
        while (run := self.queue.take()) is not None:
            state, payload = run
            found.append(unpack_elements(payload, state.count))
        return found


def test_single_tasks_travel_together_and_one_wakes():
    story = Story()
    places = story.add(b"a", b"b", b"c")
    assert [index for _, index in places] == [0, 1, 2] and story.wakes == 1
    assert story.taken() == [[b"a", b"b", b"c"]]
    story.add(b"d")
    assert story.wakes == 2 and story.taken() == [[b"d"]]


def test_lazy_tasks_wait_for_the_push():
    story = Story()
    story.add(b"a", b"b", lazy=True)
    assert story.wakes == 0
    story.queue.push()
    story.queue.push()
    assert story.wakes == 1
    story.add(b"c", lazy=True)
    assert story.taken() == [[b"a", b"b", b"c"]]
    story.queue.push()
    assert story.wakes == 1  # there is nothing


def test_a_run_that_is_full_does_not_wait_for_the_push():
    story = Story()
    story.add(*[b"x"] * RUN_TASKS_MAX, lazy=True)
    assert story.wakes == 0
    story.add(b"y", lazy=True)
    assert story.wakes == 1
    assert [len(run) for run in story.taken()] == [RUN_TASKS_MAX, 1]


def test_tasks_whose_results_are_read_in_another_way_travel_apart():
    story = Story()
    story.add(b"a", kind="text")
    story.add(b"b", kind="number")
    story.add(b"c", kind="number")
    assert story.taken() == [[b"a"], [b"b", b"c"]]


def test_a_closed_queue_fails_what_waits_and_refuses_more():
    story = Story()
    ((run, _),) = story.add(b"a")
    story.queue.close(Error(Code.GONE, "the session is gone"))
    assert run.is_done(0) and story.taken() == []
    for lazy in (True, False):
        with pytest.raises(flamepy.SessionClosedError, match="the session is gone"):
            story.add(b"b", lazy=lazy)


class ByHand(Connection):
    """Its I/O thread is the test."""

    def _run(self):
        self.rung = []
        self._poller = self

    def poll(self, _):
        """Where it would sleep somebody wakes it."""
        self.wake(7)
        self.rung = select.select([self._wake_in], [], [], 0)[0]
        return [(self._wake_in.fileno(), select.POLLIN)]


def test_a_wake_in_the_midst_of_work_does_not_swallow_the_next_one():
    connection = ByHand("tcp://127.0.0.1:1")
    connection._turn()
    connection._take_commands()
    connection.wake(7)  # behind what was taken, and served with it
    connection._perform_all()
    connection.rung = []
    connection._turn()
    connection.close(0)
    assert connection.rung


@pytest.mark.parametrize(
    ("sizes", "read", "first_run"),
    [
        (itertools.repeat(4 * MIB), 1, 1),
        (itertools.repeat(100_000), 2, 2),
        (itertools.repeat(1), RUN_TASKS_MAX, RUN_TASKS_MAX),
        # Large ones behind small ones: a step too much is read, and kept for the next runs.
        (itertools.chain([1] * 63, itertools.repeat(4 * MIB)), 127, 63),
    ],
)
def test_inputs_are_read_as_far_as_a_run_has_bytes_for(sizes, read, first_run):
    counted = CountedReads(map(bytes, sizes))
    runs = submit_runs(counted, RUN_TASKS_MAX, Story().queue, RunState)
    assert (next(runs).count, counted.reads) == (first_run, read)


class CountedReads:
    def __init__(self, inputs):
        self.inputs, self.reads = inputs, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.reads += 1
        return next(self.inputs)
