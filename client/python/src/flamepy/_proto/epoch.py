# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Whose turn it is to be the broker: every broker raises the number before it serves."""

from __future__ import annotations

import re

_EPOCH = re.compile(r"([0-9]+)-([0-9a-f]{1,16})\Z")


def epoch_number(text: str) -> int | None:
    """Of `number-random`; nothing where the text is no epoch."""
    found = _EPOCH.match(text)
    return int(found[1]) if found else None


class NewestEpoch:
    """What a client remembers of the brokers that welcomed it. Within a lineage a smaller number
    belongs to a broker that was replaced and does not know it yet: what it says is old, and must
    not be taken for a loss."""

    def __init__(self) -> None:
        self._lineage = ""
        self._number = 0

    def accept(self, lineage: str, epoch: str) -> bool:
        """False: a replaced broker's; turn away. One that does not parse is taken."""
        number = epoch_number(epoch)
        if number is None:
            return True
        if lineage == self._lineage and number < self._number:
            return False
        self._lineage, self._number = lineage, number
        return True
