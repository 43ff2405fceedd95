# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a session shows of itself, whichever way it is used."""

from __future__ import annotations

from typing import Any

from flamepy._html import html_of
from flamepy._proto import messages as m
from flamepy._stays_here import StaysHere
from flamepy._types import SessionState, time_of


class SessionView(StaysHere):
    """`state` and the counters are those of the moment when the object was made; `refresh` asks
    again."""

    def __init__(self, info: m.SessionInfo) -> None:
        self._take(info)

    def _take(self, info: m.SessionInfo) -> None:
        counters, spec = info.counters, info.spec
        self.id = info.session
        self.application = spec.application
        self.min_instances = spec.min_instances
        self.max_instances = spec.max_instances or None
        self.batch_size = spec.batch_size
        self.resreq = spec.resources or None
        self.priority = spec.priority
        self.durability = spec.durability
        self.retention = spec.retention
        self.results_ttl = spec.results_ttl_ms / 1000 or None
        self.state = SessionState[info.state.name]
        self.creation_time = time_of(info.created_ms)
        self.completion_time = time_of(info.closed_ms) if info.closed_ms else None
        self.tasks = counters.tasks
        self.pending = counters.pending
        self.running = counters.running
        self.succeed = counters.succeed
        self.failed = counters.failed
        self.cancelled = counters.cancelled

    @property
    def done(self) -> int:
        """Tasks that are over, however they ended."""
        return self.succeed + self.failed + self.cancelled

    def __repr__(self) -> str:
        kind = type(self)
        return (
            f"<{kind.__module__.partition('._')[0]}.{kind.__name__} {self.id} of "
            f"{self.application}, {self.state.name.lower()}: {self.pending} pending, "
            f"{self.running} running, {self.succeed} succeed, {self.failed} failed>"
        )

    def columns(self) -> dict[str, Any]:
        """What a table shows of it."""
        names = "id application state priority batch_size"
        names += " tasks pending running succeed failed cancelled"
        shown = {name: getattr(self, name) for name in names.split()}
        return {**shown, "created": self.creation_time, "closed": self.completion_time}

    def _repr_html_(self) -> str:
        return html_of(self.columns())
