# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Runs on their way from the threads that submit to the I/O thread. The last one stays open while
it waits: single submits join it, so that tasks submitted in quick succession travel together
without any timer.

Whoever submits may be interrupted (Ctrl-C, an alarm) between any two lines: each step here leaves
a queue that the next add, or the next flush, goes on with."""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable

from flamepy._proto.elements import pack_elements
from flamepy._proto.errors import Error
from flamepy._proto.limits import MIB, RUN_BYTES_MAX, RUN_TASKS_MAX
from flamepy._run_state import RunState
from flamepy.errors import exception_of

_RUNS_MAX = 64
_BYTES_MAX = 64 * MIB
_ELEMENT_HEAD_BYTES = 5


class SubmitQueue:
    def __init__(self, wake: Callable[[], None], may_block: Callable[[], bool]) -> None:
        self._wake = wake
        self._may_block = may_block
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._runs: deque[RunState] = deque()
        self._open: RunState | None = None
        self._taker_sleeps = True
        self._waits_for_room = 0  # threads
        self._closed: Error | None = None

    def add(
        self,
        data: bytes,
        make: Callable[[], RunState],
        kind: object = None,
        lazy: bool = False,
        may_block: bool = True,
    ) -> tuple[RunState, int]:
        """Adds one task to the open run, if that is of the same `kind` (what reads its results), or
        to a new one; blocks while the queue is full. `lazy` leaves a run that may grow until
        push()."""
        size = len(data) + _ELEMENT_HEAD_BYTES
        with self._lock:
            run = self._open
            if (
                run is None
                or len(run.inputs) >= RUN_TASKS_MAX
                or run.bytes + size > RUN_BYTES_MAX
                or run.kind is not kind
            ):
                if (self._runs and self._full) or self._closed is not None:
                    self._wait_for_room(may_block)
                run = make()
                run.kind = kind
                self._runs.append(run)
                self._open = run  # not before it is in the queue
            run.bytes += size
            index = len(run.inputs)
            run.inputs.append(data)
            wake = self._taker_sleeps and not (lazy and len(self._runs) == 1)
            if wake:
                self._taker_sleeps = False
        if wake:
            self._wake()
        return run, index

    def push(self) -> None:
        """What was added lazily goes out."""
        with self._lock:
            wake = self._taker_sleeps and bool(self._runs)
            if wake:
                self._taker_sleeps = False
        if wake:
            self._wake()

    def add_run(self, state: RunState, payload: bytes, may_block: bool = True) -> None:
        """Adds a whole run; blocks while full."""
        with self._lock:
            if self._full or self._closed is not None:
                self._wait_for_room(may_block)
            self._open = None
            state.bytes = len(payload)
            state.payload = payload
            self._runs.append(state)
            wake, self._taker_sleeps = self._taker_sleeps, False
        if wake:
            self._wake()

    def _wait_for_room(self, may_block: bool) -> None:
        # The I/O thread makes the room: a callback that submits must not wait for it.
        if may_block and self._closed is None and self._may_block():
            self._waits_for_room += 1
            try:
                self._room.wait_for(lambda: self._closed is not None or not self._full)
            finally:
                self._waits_for_room -= 1
        if self._closed is not None:
            raise exception_of(self._closed)

    @property
    def _full(self) -> bool:
        runs = self._runs
        return len(runs) >= _RUNS_MAX or sum(run.bytes for run in runs) >= _BYTES_MAX

    @property
    def wakes(self) -> bool:
        """The next add wakes the I/O thread, and until then there is nothing to take."""
        return self._taker_sleeps

    def take(self) -> tuple[RunState, bytes] | None:
        """The I/O thread takes the oldest. After the last, the next add wakes it."""
        with self._lock:
            while self._runs:
                state = self._runs.popleft()
                if state is self._open:
                    self._open = None
                payload, state.payload = state.payload, None
                if payload is not None or state.inputs:
                    break  # else who opened it was interrupted before there was a task
            else:
                self._taker_sleeps = True
                return None
            self._taker_sleeps = not self._runs
            if self._waits_for_room:
                self._room.notify_all()
        inputs = state.seal()
        return state, pack_elements(inputs) if payload is None else payload

    def __len__(self) -> int:
        return len(self._runs)

    def close(self, error: Error) -> None:
        """Adds raise this from now on."""
        with self._lock:
            self._closed = error
            runs = list(self._runs)
            self._runs.clear()
            self._open = None
            self._room.notify_all()
        for run in runs:
            run.fail(error, refused=True)
