# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A function's parameters and what it returns, for type checkers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import ParamSpec  # they all have it
elif sys.version_info >= (3, 10):
    from typing import ParamSpec
else:
    ParamSpec = TypeVar

P = ParamSpec("P")
R = TypeVar("R")
