# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""From a connection's I/O thread into an event loop: one wake-up for all that came meanwhile, not
one per result."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any, Callable

from flamepy._proto.errors import Code, Error
from flamepy.errors import FlameError, exception_of


class Delivery:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._posted: deque[Callable[[], None]] = deque()
        self._signalled = False
        self._loop_closed = False

    def post(self, work: Callable[[], None]) -> None:
        """Runs `work` in the loop. From any thread."""
        if self._loop_closed:
            return
        self._posted.append(work)
        if self._signalled:
            return
        # Set back before the queue is read: what is appended later is either seen or signalled.
        self._signalled = True
        try:
            self.loop.call_soon_threadsafe(self._run)
        except RuntimeError:  # before the connection was: nobody listens any more
            self._loop_closed = True
            self._posted.clear()

    def _run(self) -> None:
        self._signalled = False
        for _ in range(len(self._posted)):  # what is posted meanwhile waits for the others' turn
            self._posted.popleft()()

    def answer(self) -> tuple[asyncio.Future[Any], Callable[[Any], None]]:
        """A future, and what the I/O thread calls with its value or an Error."""
        future: asyncio.Future[Any] = self.loop.create_future()
        return future, lambda value: self.post(partial(_settle, future, value))

    def check_loop(self) -> None:
        if asyncio.get_running_loop() is not self.loop:
            raise FlameError(
                Code.WRONG_STATE,
                "this connection belongs to another event loop; connect in the one that uses it",
            )


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():  # whoever waited was cancelled
        return
    if isinstance(value, Error):
        future.set_exception(exception_of(value))
    else:
        future.set_result(value)
