# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The calls of a frame: each task once, in order, whatever fails or is cancelled in between."""

import itertools

import pytest

from flamepy._calls import CANCELLED, Calls, TaskFailure, exactly
from flamepy._cancellations import Cancellations

FIRST = 1000
COUNTS = [1, 2, 63, 64, 65, 300]


class Frame:
    """`act` is called with the index of each task that runs."""

    def __init__(self, count, act=lambda index: None):
        self.cancellations = Cancellations()
        self.ran = []
        self.act = act
        self.count = count

    def run(self, **options):
        calls = Calls(self.cancellations)
        items = list(range(self.count))
        chunks = calls.chunks(FIRST, items, lambda _, taken: map(self.task, taken), **options)
        return list(itertools.chain.from_iterable(chunks))

    def task(self, index):
        self.ran.append(index)
        self.act(index)
        return index

    def cancel(self, *indices):
        """As the signal does it."""
        self.cancellations.runs.extend((FIRST + index, 1) for index in indices)
        self.cancellations._on_signal()


@pytest.mark.parametrize("count", COUNTS)
def test_all_succeed(count):
    frame = Frame(count)
    assert frame.run() == frame.ran == list(range(count))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("every", [1, 2, 7])
def test_those_that_fail_fail_alone(count, every):
    def act(index):
        if index % every == 0:
            raise ValueError(f"task {index}")

    frame = Frame(count, act)
    outputs = frame.run(finish=lambda values: [b"%d" % value for value in values])
    assert frame.ran == list(range(count))
    for index, output in enumerate(outputs):
        if index % every == 0:
            assert type(output) is TaskFailure and f"ValueError: task {index}\n" in output.reason
            assert "in act" in output.reason and "flamepy/_calls.py" not in output.reason
        else:
            assert output == b"%d" % index
    assert len(outputs) == count


@pytest.mark.parametrize("count", COUNTS)
def test_a_call_that_raises_stop_iteration_fails_alone(count):
    """What runs in C takes it for the end of its input."""

    def act(index):
        if index % 7 == 0:
            next(iter(()))

    frame = Frame(count, act)
    outputs = frame.run()
    assert frame.ran == list(range(count)) and len(outputs) == count
    for index, output in enumerate(outputs):
        if index % 7 == 0:
            assert output == TaskFailure("RuntimeError: the call raised StopIteration")
        else:
            assert output == index


@pytest.mark.parametrize("cancelled", [0, 1, 30, 99])
def test_one_that_is_cancelled_while_it_runs(cancelled):
    def act(index):
        if index == cancelled:
            frame.cancel(index)
            raise AssertionError("it is interrupted")

    frame = Frame(100, act)
    assert frame.run() == [CANCELLED if i == cancelled else i for i in range(100)]
    assert frame.ran == list(range(100))


def test_those_that_are_cancelled_before_they_run_do_not_run():
    later = {5, 6, 40, 41, 99}

    def act(index):
        if index == 4:
            frame.cancel(*later)  # itself is not among them

    frame = Frame(100, act)
    assert frame.run() == [CANCELLED if i in later else i for i in range(100)]
    assert frame.ran == [i for i in range(100) if i not in later]


def test_one_and_all_behind_it_are_cancelled():
    frame = Frame(100, lambda index: frame.cancel(*range(20, 100)) if index == 20 else None)
    assert frame.run() == [i if i < 20 else CANCELLED for i in range(100)]
    assert frame.ran == list(range(21))


def test_a_cancel_that_comes_between_two_chunks_or_after_the_end_interrupts_nothing():
    frame = Frame(3)
    frame.cancel(1)
    assert frame.run() == [0, CANCELLED, 2] and frame.ran == [0, 2]
    frame.cancel(0, 2)


def test_a_cancel_that_is_heard_when_the_last_has_ended_changes_nothing():
    frame = Frame(8)
    leave = frame.cancellations.leave

    def late():
        frame.cancel(*range(8))
        leave()

    frame.cancellations.leave = late
    outputs = frame.run()
    # The first is a chunk of its own; what ran keeps its output.
    assert outputs == [0] + [CANCELLED] * 7 and frame.ran == [0]


@pytest.mark.parametrize("given", [0, 2, 5])
def test_outputs_of_an_iterator_are_as_many_as_tasks(given):
    outputs = list(itertools.chain.from_iterable(exactly(iter([b"x"] * given), 3)))
    assert outputs[:given] == [b"x"] * min(given, 3) and len(outputs) == 3
    assert all("fewer outputs than its 3" in failure.reason for failure in outputs[given:])
