# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What notebooks show: one thing as a table of two columns, many as one line each. Everything is
escaped: names, reasons and outputs are other people's."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")

_TEXT_MAX = 200
_ROWS_MAX = 100
_LEFT = ' style="text-align:left"'


class Rows(list[T]):
    """A list that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        shown = [_columns_of(item) for item in self[:_ROWS_MAX]]
        names = list(dict.fromkeys(name for row in shown for name in row))
        lines = [_line("th", names)]
        lines += [_line("td", [row.get(name) for name in names]) for row in shown]
        more = len(self) - len(shown)
        note = f"<p>and {more} more</p>" if more else ""
        return _table(lines) + note if self else "<p>none</p>"


def html_of(columns: Mapping[str, Any]) -> str:
    """One thing, with the names beside its values."""
    return _table(
        f"<tr><th{_LEFT}>{_escaped(name)}</th><td{_LEFT}>{_escaped(value)}</td></tr>"
        for name, value in columns.items()
    )


def _columns_of(item: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = item.columns()
    return found


def _table(lines: Iterable[str]) -> str:
    return f"<table>{''.join(lines)}</table>"


def _line(cell: str, values: Iterable[Any]) -> str:
    cells = "".join(f"<{cell}{_LEFT}>{_escaped(value)}</{cell}>" for value in values)
    return f"<tr>{cells}</tr>"


def _escaped(value: Any) -> str:
    return html.escape(_text_of(value))


def _text_of(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, (bytes, bytearray)):
        size = f" ({len(value)} bytes)" if len(value) > _TEXT_MAX else ""
        return repr(bytes(value[:_TEXT_MAX])) + size
    text = str(value)
    return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + " ..."
