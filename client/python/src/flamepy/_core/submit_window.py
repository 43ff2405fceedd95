# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The submits of one session that are not answered yet: numbered 1, 2, 3 ... and kept until the
answer, so that a broken link, a busy broker or a lost store costs a resend and never a task.

    add -> [waits] -> due -> [in flight] -> acknowledge | refuse for good -> gone
                       ^          | busy: hold, then again from the first
                       +----------+ gap: the one before it was refused; again with it
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from flamepy._core.events import NEVER, SubmitRun
from flamepy._proto.errors import Code
from flamepy._proto.limits import SUBMITS_UNACKED_MAX
from flamepy._proto.messages import ErrorReply, Run, Submit, SubmitAckItem

_HISTORY_MAX = 16_384
_RETRY_MS_DEFAULT = 50
# Refusals behind a refused one come in a burst: resend once behind them.
_GAP_WAIT_MS = 1


class Refusal(Enum):
    IGNORED = 0  # an answer to an older sending; a newer one is on its way
    RETRY = 1  # kept; due() returns it later
    FINAL = 2  # not kept: the ticket failed
    UNKNOWN = 3  # the broker misses something before the first one we hold: ask what it has


class Refused(NamedTuple):
    kind: Refusal
    ticket: int = 0


class _Entry:
    __slots__ = ("in_flight", "number", "run")

    def __init__(self, number: int, run: SubmitRun) -> None:
        self.number = number
        self.run = run
        self.in_flight = 0  # sendings without an answer on this link


class SubmitWindow:
    def __init__(self, last_number: int = 0) -> None:
        self._entries: dict[int, _Entry] = {}  # by number, rising
        # Numbers as they were sent on this link, without those answered. The broker answers
        # refusals in this order, and a gap names the number it expected, not the one it refused:
        # this tells which that was.
        self._sendings: deque[int] = deque()
        self._last_number = last_number
        self._acknowledged = last_number  # the highest number answered for good
        self.due_at_us = NEVER
        """When due() has something again."""
        # The last acknowledged ones, to name what a store lost. Bounded: older ones are on disk.
        self._history: deque[SubmitAckItem] = deque(maxlen=_HISTORY_MAX)

    def __len__(self) -> int:
        return len(self._entries)

    def room(self) -> int:
        """For so many more."""
        return SUBMITS_UNACKED_MAX - len(self._entries)

    def add(self, run: SubmitRun) -> None:
        self._last_number += 1
        self._entries[self._last_number] = _Entry(self._last_number, run)
        if self.due_at_us == NEVER:
            self.due_at_us = 0

    def due(self, now_us: int) -> list[Submit]:
        """What is to be sent now, in order; it counts as in flight then."""
        if now_us < self.due_at_us:
            return []
        self.due_at_us = NEVER
        submits = []
        for entry in self._entries.values():
            if entry.in_flight > 0:
                continue
            entry.in_flight = 1
            self._sendings.append(entry.number)
            run = entry.run
            submits.append(Submit(run.uid, entry.number, run.count, 0, run.payload))
        return submits

    def _answered(self, number: int) -> _Entry | None:
        """An answer to the earliest unanswered sending of this number came. What is held of it."""
        if self._sendings and self._sendings[0] == number:
            self._sendings.popleft()
        elif number in self._sendings:
            self._sendings.remove(number)
        entry = self._entries.get(number)
        if entry is not None and entry.in_flight > 0:
            entry.in_flight -= 1
        return entry

    def acknowledge(self, item: SubmitAckItem) -> int | None:
        """The ticket of the answered submit; nothing if it is not waited for (answered twice)."""
        entry = self._answered(item.number)
        if entry is None:
            return None
        self._forget(entry)
        self._history.append(item)
        return entry.run.ticket

    def _forget(self, entry: _Entry) -> None:
        """Answered for good."""
        del self._entries[entry.number]
        self._acknowledged = max(self._acknowledged, entry.number)

    def refuse(self, reply: ErrorReply, now_us: int) -> Refused:
        """Of a gap, `reply.submit` is the number the broker expected; of all else, the refused
        one."""
        if reply.code is Code.GAP:
            return self._refuse_gap(reply.submit, now_us)
        entry = self._answered(reply.submit)
        if entry is None:
            return Refused(Refusal.IGNORED)
        if reply.code.retry == "no":
            self._forget(entry)
            return Refused(Refusal.FINAL, entry.run.ticket)
        if entry.in_flight > 0:
            return Refused(Refusal.IGNORED)
        self._hold(now_us, reply.retry_after_ms or _RETRY_MS_DEFAULT)
        return Refused(Refusal.RETRY)

    def _refuse_gap(self, expected: int, now_us: int) -> Refused:
        """One of ours above `expected` was refused because `expected` was missing."""
        refused = next((number for number in self._sendings if number > expected), None)
        if refused is None:
            return Refused(Refusal.IGNORED)
        self._answered(refused)
        if not self._entries:
            return Refused(Refusal.IGNORED)
        # Usually the missing one was refused before and is sent again with this one. Below the
        # first held one it is something that we no longer have.
        if expected < next(iter(self._entries)):
            return Refused(Refusal.UNKNOWN)
        self._hold(now_us, _GAP_WAIT_MS)
        return Refused(Refusal.RETRY)

    def _hold(self, now_us: int, wait_ms: int) -> None:
        held_us = 0 if self.due_at_us == NEVER else self.due_at_us
        self.due_at_us = max(held_us, now_us + wait_ms * 1000)

    def link_lost(self) -> None:
        """Nothing is in flight any more: the link broke."""
        for entry in self._entries.values():
            entry.in_flight = 0
        self._sendings.clear()
        self.due_at_us = 0 if self._entries else NEVER

    def resume(self, last_submit: int) -> list[Run]:
        """The broker says it has accepted `last_submit`. Acknowledged runs above it are lost
        (returned), and what is held is numbered anew behind it."""
        if last_submit >= self._acknowledged:
            return []
        lost = [item.run for item in self._history if item.number > last_submit]
        kept = [item for item in self._history if item.number <= last_submit]
        self._history = deque(kept, maxlen=_HISTORY_MAX)
        self._acknowledged = self._last_number = last_submit
        for entry in self._entries.values():
            if entry.number > last_submit:
                self._last_number += 1
                entry.number = self._last_number
        self._entries = {entry.number: entry for entry in self._entries.values()}
        return lost

    def take_all(self) -> list[int]:
        """Empties the window: the session is gone. The tickets."""
        tickets = [entry.run.ticket for entry in self._entries.values()]
        self._entries.clear()
        self._sendings.clear()
        self.due_at_us = NEVER
        return tickets
