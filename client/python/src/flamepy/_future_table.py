# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Which runs a result belongs to. Results come in runs that need not be cut as the submits were,
and on a new link they may overtake the repeated acknowledgement that tells our ids. Of the I/O
thread.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from typing import Any, NamedTuple

from flamepy._proto.elements import BadElements, unpack_elements
from flamepy._proto.errors import Code, Error
from flamepy._proto.messages import Results, Run
from flamepy._run_state import RunState

_COMPACT_FROM = 64


class _Early(NamedTuple):
    below: int
    """It may belong to a run with a ticket below this."""
    results: Results


def is_cancelled_run(results: Results) -> bool:
    """One exception stands for all of it, and there are no elements (a task that only failed has an
    empty one)."""
    return (
        not results.payload
        and len(results.exceptions) == 1
        and results.exceptions[0].code is Code.TASK_CANCELLED
    )


def outputs_of(results: Results) -> list[Any]:
    """One for each task of the entry: bytes, or an Error."""
    count = results.run.count
    if not results.payload and is_cancelled_run(results):
        failure = results.exceptions[0]
        return [Error(failure.code, failure.reason)] * count
    try:
        outputs: list[Any] = unpack_elements(results.payload, count)
    except BadElements as error:
        return [
            Error(Code.BAD_FRAME, f"the broker sent results that do not decode: {error}")
        ] * count
    for failure in results.exceptions:
        if 0 <= failure.id - results.run.first < count:
            outputs[failure.id - results.run.first] = Error(failure.code, failure.reason)
    return outputs


class FutureTable:
    def __init__(self) -> None:
        self._next_ticket = 1
        self._unacknowledged: dict[int, RunState] = {}
        self._waiting: dict[int, RunState] = {}  # by first id
        # Sorted; may hold firsts that wait no more, and then is made anew now and again.
        self._firsts: list[int] = []
        self._early: deque[_Early] = deque()

    def __bool__(self) -> bool:
        return bool(self._unacknowledged or self._waiting)

    @property
    def unacknowledged(self) -> int:
        return len(self._unacknowledged)

    def sent(self, ticket: int, state: RunState) -> None:
        """A run goes out; `ticket` rises."""
        self._next_ticket = ticket + 1
        self._unacknowledged[ticket] = state

    def acknowledged(self, ticket: int, run: Run) -> None:
        state = self._unacknowledged.pop(ticket, None)
        if state is None:
            return
        state.acknowledge(run.first)
        self._waiting[run.first] = state
        insort(self._firsts, run.first)
        self._settle_early()

    def refused(self, ticket: int, error: Error) -> None:
        state = self._unacknowledged.pop(ticket, None)
        if state is not None:
            state.fail(error, refused=True)
            self._settle_early()

    def take(self, results: Results) -> None:
        first, count = results.run
        state = self._waiting.get(first)
        if state is not None and state.count == count:  # cut as it was submitted: most are
            state.put(0, outputs_of(results))
            self._waiting.pop(first, None)
            self._compact()
            return
        all_known = self._settle(results) == count
        # Perhaps of a task whose submit is not acknowledged yet: kept until all sent so far are.
        if not all_known and self._unacknowledged:
            self._early.append(_Early(self._next_ticket, results))

    def _settle_early(self) -> None:
        if not self._early:
            return
        for early in self._early:
            self._settle(early.results)
        oldest = min(self._unacknowledged, default=self._next_ticket)
        while self._early and self._early[0].below <= oldest:
            self._early.popleft()

    def _settle(self, results: Results) -> int:
        """How many of its tasks have futures here."""
        first, end = results.run.first, results.run.end
        at = max(0, bisect_right(self._firsts, first) - 1)
        outputs: list[Any] = []
        known = 0
        while at < len(self._firsts) and self._firsts[at] < end:
            state = self._waiting.get(self._firsts[at])
            at += 1
            if state is None or state.first + state.count <= first:
                continue
            outputs = outputs or outputs_of(results)
            known += min(end, state.first + state.count) - max(first, state.first)
            state.take(first, outputs)
            if state.left == 0:
                self._waiting.pop(state.first, None)
        self._compact()
        return known

    def _compact(self) -> None:
        if len(self._firsts) > 2 * len(self._waiting) + _COMPACT_FROM:
            self._firsts = sorted(self._waiting)

    def lose(self, run: Run) -> None:
        for first, state in list(self._waiting.items()):
            if first < run.end and run.first < first + state.count:
                state.lose(run)
                # Its ids may be given out again: what is left of it is lost as a whole.
                if run.first <= first and first + state.count <= run.end:
                    del self._waiting[first]
        self._compact()

    def fail_all(self, error: Error) -> None:
        unacknowledged, waiting = self._unacknowledged, self._waiting
        self._unacknowledged, self._waiting, self._firsts = {}, {}, []
        self._early.clear()
        for state in unacknowledged.values():
            state.fail(error, refused=True)
        for state in waiting.values():
            state.fail(error)
