# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Calls a service's function for the tasks of a frame. A no-op task costs less than a step of a
Python loop, so some tasks at a time go through an iterator that runs in C; how many follows from
how long they take. A failed one ends such a chunk, and the next begins behind it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator
from typing import Any, Callable, NamedTuple, Union

from flamepy._cancellations import Cancellations, TaskCancelled
from flamepy._proto import limits


class TaskFailure(NamedTuple):
    """In place of an output: the task ends as failed with this reason, and is not tried again."""

    reason: str


Output = Union[bytes, None, TaskFailure]

# Nobody reads it: the task is recorded as cancelled already.
CANCELLED = TaskFailure("the task was cancelled")

_CHUNK_TASKS_MAX = 64
_CHUNK_SECONDS = 0.0005
"""A longer chunk is followed by a shorter one: what is done should not wait for what is not."""

Results = Callable[[list[Any], Iterator[Any]], Iterator[Any]]


class Calls:
    def __init__(self, cancellations: Cancellations) -> None:
        self._cancellations = cancellations

    def chunks(
        self,
        first: int,
        items: list[Any],
        results: Results,
        finish: Callable[[list[Any]], list[Output]] | None = None,
        caught: type[BaseException] = Exception,
        failure: Callable[[BaseException], str] | None = None,
    ) -> Iterator[list[Output]]:
        """Outputs for the items, which belong to the task `first` and those behind it.

        `results(chunk, taken)` gives the results of a chunk one by one, each when it has taken the
        item from `taken`; `finish` makes outputs of them. What is `caught` fails its task with what
        `failure` says of it. TaskCancelled is raised in a call whose task is cancelled."""
        at, size, count = 0, 1, len(items)
        while at < count:
            if self._cancellations.contains(first + at):
                at += 1
                yield [CANCELLED]
                continue
            began = time.monotonic()
            chunk = items[at : at + self._tasks_before_a_cancelled_one(first + at, size)]
            values, last = self._call(first + at, chunk, results, caught, failure or reason_of)
            outputs = values if finish is None else finish(values)
            if last is not None:
                outputs.append(last)
            at += len(outputs)
            quick = time.monotonic() - began < _CHUNK_SECONDS
            size = min(2 * size, _CHUNK_TASKS_MAX) if quick else max(size // 2, 1)
            yield outputs

    def _tasks_before_a_cancelled_one(self, first: int, size: int) -> int:
        for begin, _ in self._cancellations.runs:
            if first < begin < first + size:
                size = begin - first
        return size

    def _call(
        self,
        first: int,
        chunk: list[Any],
        results: Results,
        caught: type[BaseException],
        failure: Callable[[BaseException], str],
    ) -> tuple[list[Any], TaskFailure | None]:
        """Results, and what the task behind them failed with, if one did."""
        values: list[Any] = []
        last: TaskFailure | None = None
        taken: Any = iter(chunk)
        try:
            self._cancellations.enter(first, chunk, taken)
            try:
                values.extend(results(chunk, taken))
                if len(values) < len(chunk):  # for C it was the end; its traceback is gone
                    last = TaskFailure(failure(RuntimeError("the call raised StopIteration")))
            except TaskCancelled:
                raise
            except caught as error:
                last = TaskFailure(failure(error))
            self._cancellations.leave()
        except TaskCancelled:  # anywhere in between: it is raised once
            if len(values) < len(chunk) - taken.__length_hint__():
                last = CANCELLED
        return values, last


def exactly(source: Iterable[Output], count: int) -> Iterator[list[Output]]:
    """The outputs one by one. What an iterator of on_batch's does not yield fails, with what it
    raised instead."""
    failure = TaskFailure(f"on_batch yielded fewer outputs than its {count} tasks")
    given, outputs = 0, iter(source)
    try:
        while given < count:
            try:
                output = next(outputs)
            except StopIteration:
                break
            given += 1
            yield [output]
    except Exception as error:
        failure = TaskFailure(reason_of(error))
    yield [failure] * (count - given)


def reason_of(error: BaseException, reserve: int = 0) -> str:
    """The exception in a line, then its traceback; of a long one the end, where it happened.
    `reserve` bytes are left free."""
    first = "".join(traceback.format_exception_only(type(error), error)).strip()[:1024]
    # Without the frame of this package that called.
    inner = error.__traceback__.tb_next if error.__traceback__ is not None else None
    rest = "".join(traceback.format_exception(type(error), error, inner)) if inner else ""
    room = limits.REASON_BYTES_MAX - reserve - len(first.encode("utf-8", "replace")) - 16
    rest = rest.rstrip()
    tail = rest.encode("utf-8", "replace")[-room:].decode("utf-8", "ignore") if room > 0 else ""
    return f"{first}\n\n{tail}" if tail else first
