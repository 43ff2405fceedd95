# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Both ends of a link number what they send and check what they receive: a successful send means
nothing."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    ACCEPT = 0
    DUPLICATE = 1  # seen before: drop it
    GAP = 2  # something before it was lost


class Link:
    def __init__(self, link: int = 0) -> None:
        self.id = link
        self._sent = 0
        self._received = 0

    @property
    def received(self) -> int:
        """The number of the last accepted message."""
        return self._received

    def next(self) -> int:
        """The number of the next message to send."""
        self._sent += 1
        return self._sent

    def receive(self, sequence: int) -> Verdict:
        """Judges a message received over this link; only ACCEPT moves the counter."""
        if sequence == self._received + 1:
            self._received = sequence
            return Verdict.ACCEPT
        return Verdict.DUPLICATE if sequence <= self._received else Verdict.GAP
