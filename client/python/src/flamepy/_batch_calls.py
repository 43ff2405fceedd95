# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Calls on_batch for the tasks of a frame: once, and again for those that are left where one was
cancelled under it. So nobody's task dies with the process because of its neighbour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Callable, Optional  # an alias is evaluated, and 3.9 has no `X | None`

from flamepy._calls import CANCELLED, Output, TaskFailure, reason_of
from flamepy._cancellations import Cancellations, TaskCancelled

Batch = Callable[[int, int], Optional[Iterable[Output]]]
"""Of tasks first and how many; nothing where the service wants them one by one."""


class BatchCalls:
    def __init__(self, cancellations: Cancellations) -> None:
        self._cancellations = cancellations

    def outputs(
        self,
        first: int,
        count: int,
        batch: Batch,
        each: Callable[[int, int], Iterator[list[Output]]],
    ) -> Iterator[list[Output]]:
        """Outputs of `count` tasks from `first` on, some at a time. `each` makes them where
        `batch` does not."""
        end = first + count
        while first < end:
            if self._cancellations.contains(first):
                first += 1
                yield [CANCELLED]
                continue
            self._cancellations.begin()
            until = self._cancellations.next_one(first, end)
            for outputs in self._of_one_call(first, until, batch, each):
                first += len(outputs)
                yield outputs

    def _of_one_call(
        self,
        first: int,
        end: int,
        batch: Batch,
        each: Callable[[int, int], Iterator[list[Output]]],
    ) -> Iterator[list[Output]]:
        """Fewer than there are tasks where a cancel interrupted the call."""
        count, ended = end - first, TaskFailure("")
        found, failure, interrupted = self._guarded(first, end, lambda: batch(first, count))
        if found is None and not failure and not interrupted:
            yield from each(first, count)
            return
        if isinstance(found, (list, tuple)):
            given = len(found)
            if given == count:
                yield list(found)
                return
            failure = reason_of(ValueError(f"on_batch returned {given} outputs for {count} tasks"))
        elif found is not None:
            outputs = iter(found)
            while first < end and not failure and not interrupted:
                one, failure, interrupted = self._guarded(
                    first, end, lambda: [next(outputs, ended)]
                )
                if one == [ended]:
                    failure = f"on_batch yielded fewer outputs than its {count} tasks"
                elif one is not None:
                    first += 1
                    yield one  # type: ignore[misc]
        if first < end and failure:
            yield [TaskFailure(failure)] * (end - first)

    def _guarded(
        self, first: int, end: int, call: Callable[[], Iterable[Output] | None]
    ) -> tuple[Iterable[Output] | None, str, bool]:
        """What it returned, else what it failed with, or that it let TaskCancelled pass. That is
        raised in it when one of the tasks is cancelled meanwhile."""
        found: Iterable[Output] | None = None
        failure, told = "", False
        try:
            self._cancellations.enter_batch(first, end)
            try:
                found = call()
            except TaskCancelled as error:
                told = self._cancellations.told(first, end)
                failure = "" if told else reason_of(error)
            except Exception as error:
                failure = reason_of(error)
            self._cancellations.leave()
        except TaskCancelled:  # behind the call, or before it
            told = found is None and not failure
        return found, failure, told
