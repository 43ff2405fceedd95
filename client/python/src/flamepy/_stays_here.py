# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What belongs to the process that made it: pickled, it would be of no use elsewhere."""

from __future__ import annotations

from typing import NoReturn


class StaysHere:
    def __reduce__(self) -> NoReturn:
        kind = type(self)
        raise TypeError(
            f"cannot pickle a {kind.__module__.partition('._')[0]}.{kind.__name__}: it belongs to "
            "this process. Pass ids and results, and let the other process connect and "
            "open_session(id)"
        )
