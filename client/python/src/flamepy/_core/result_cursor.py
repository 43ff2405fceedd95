# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Where a watcher stands in a session's list of done runs: which entry comes next, what has been
used, and when to tell the broker, which keeps at most a window of unacknowledged bytes on its way.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from flamepy._core.events import NEVER, WatchFrom
from flamepy._proto.limits import DELIVER_BYTES_MAX, MIB
from flamepy._proto.messages import Results

# An acknowledgement at the latest after this much ...
ACK_BYTES = MIB
# ... or this long after the first unacknowledged entry was used.
ACK_DELAY_US = 20_000
assert ACK_BYTES <= DELIVER_BYTES_MAX // 4
# What an entry weighs beside its outputs, so that empty ones are acknowledged too.
_ENTRY_BYTES = 128


class Order(Enum):
    ACCEPT = 0
    DUPLICATE = 1
    GAP = 2


class ResultCursor:
    def __init__(self) -> None:
        self.watching = False
        self.next = 0
        self.reader = ""
        self.lineage = ""
        self._consumed = 0
        self._acknowledged = 0
        self._unacknowledged_bytes = 0
        self.ack_at_us = NEVER
        """When take_ack() is due."""
        self._sizes: deque[int] = deque()  # of the entries [consumed, next)

    def start(self, watch: WatchFrom, lineage_now: str) -> None:
        self.watching = True
        self.reader = watch.reader
        self.lineage = watch.lineage or lineage_now
        self.move(watch.index)

    def stop(self) -> None:
        self.watching = False
        self.ack_at_us = NEVER

    def rebase(self, lineage: str, done_end: int) -> None:
        """The store lost entries: what is at or above `done_end` is counted anew."""
        self.lineage = lineage
        if self.next > done_end:
            self.move(done_end)

    def move(self, index: int) -> None:
        self.next = self._acknowledged = self._consumed = index
        self._sizes.clear()
        self._unacknowledged_bytes = 0
        self.ack_at_us = NEVER

    def receive(self, results: Results) -> Order:
        if not self.watching or results.index < self.next:
            return Order.DUPLICATE
        if results.index > self.next:
            return Order.GAP
        self.next += 1
        self._sizes.append(len(results.payload) + _ENTRY_BYTES)
        return Order.ACCEPT

    def consume(self, index: int, now_us: int) -> None:
        if not self.watching:
            return
        end = min(index, self.next)
        while self._consumed < end:
            self._unacknowledged_bytes += self._sizes.popleft()
            self._consumed += 1
        if self._unacknowledged_bytes >= ACK_BYTES:
            self.ack_at_us = now_us
        elif self.ack_at_us == NEVER and self._consumed > self._acknowledged:
            self.ack_at_us = now_us + ACK_DELAY_US

    def anything_to_ack(self) -> bool:
        return self.watching and self._consumed > self._acknowledged

    def take_ack(self) -> int:
        """The index to acknowledge; it counts as sent."""
        self._acknowledged = self._consumed
        self._unacknowledged_bytes = 0
        self.ack_at_us = NEVER
        return self._acknowledged
