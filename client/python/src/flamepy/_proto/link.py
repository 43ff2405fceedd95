# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Both ends of a link number what they send and check what they receive: a successful send means
nothing."""

from __future__ import annotations

from enum import Enum

from flamepy._proto.messages import Envelope


class Verdict(Enum):
    ACCEPT = 0
    DUPLICATE = 1  # seen before: drop it
    GAP = 2  # something before it was lost
    FOREIGN = 3  # another link, or none yet


class Link:
    def __init__(self, link: int = 0) -> None:
        self.id = link
        self._sent = 0
        self._received = 0

    @property
    def received(self) -> int:
        """The number of the last accepted message."""
        return self._received

    def next(self) -> Envelope:
        """The envelope of the next message to send."""
        self._sent += 1
        return Envelope(self.id, self._sent)

    def receive(self, envelope: Envelope) -> Verdict:
        """Judges a received envelope; only ACCEPT moves the counter."""
        if self.id == 0 or envelope.link != self.id:
            return Verdict.FOREIGN
        if envelope.sequence <= self._received:
            return Verdict.DUPLICATE
        if envelope.sequence != self._received + 1:
            return Verdict.GAP
        self._received += 1
        return Verdict.ACCEPT
