# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""cloudpickle, of which functions keep the name of their file: else a traceback has no lines."""

from __future__ import annotations

import io
import types
from collections import ChainMap
from typing import Any

import cloudpickle

from flamepy._function_table import PROTOCOL

_reduce_code = cloudpickle.CloudPickler.dispatch_table[types.CodeType]


def _code_with_its_file(code: types.CodeType) -> tuple[Any, ...]:
    """Newer ones write "<dynamic-code>" in its place."""
    make, fields = _reduce_code(code)
    return make, tuple(code.co_filename if field == "<dynamic-code>" else field for field in fields)


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    dispatch_table = ChainMap(
        {types.CodeType: _code_with_its_file}, cloudpickle.CloudPickler.dispatch_table
    )


def by_value(what: Any) -> bytes:
    with io.BytesIO() as file:
        _Pickler(file, PROTOCOL).dump(what)
        return file.getvalue()
