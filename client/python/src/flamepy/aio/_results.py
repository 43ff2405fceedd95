# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Results in the order of completion, for `async for`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Callable

from flamepy._proto.errors import Code, Error
from flamepy._proto.messages import Results
from flamepy._results import Cursor, ResultQueue, TaskResult, tasks_of_entry
from flamepy.errors import exception_of

Open = Callable[[Cursor, asyncio.Event], Awaitable[ResultQueue]]
"""Begins to read; the event is set whenever the queue may have something."""


class ResultStream:
    """Of Session.results. `cursor` is where to go on later; it moves by whole entries, so after a
    crash the last few results may come again, and none is missed."""

    def __init__(self, open_queue: Open, cursor: Cursor, timeout: float | None) -> None:
        self._open = open_queue
        self._cursor = cursor
        self._timeout = timeout
        self._queue: ResultQueue | None = None
        self._some = asyncio.Event()
        self._entry: Results | None = None
        self._tasks: Iterator[TaskResult] = iter(())

    @property
    def cursor(self) -> Cursor:
        return self._cursor if self._queue is None else self._queue.cursor

    def __aiter__(self) -> ResultStream:
        return self

    async def __anext__(self) -> TaskResult:
        while True:
            for result in self._tasks:
                return result
            if self._queue is None:
                self._queue = await self._open(self._cursor, self._some)
            entry, self._entry = self._entry, None
            if entry is not None:
                self._queue.finish(entry.index)
            self._entry = await self._next_entry(self._queue)
            if self._entry is None:
                raise StopAsyncIteration
            self._tasks = tasks_of_entry(self._entry)

    async def _next_entry(self, queue: ResultQueue) -> Results | None:
        while True:
            self._some.clear()
            if queue.ready():
                return queue.pop(0)
            try:
                await asyncio.wait_for(self._some.wait(), self._timeout)
            except asyncio.TimeoutError:
                raise exception_of(Error(Code.TIMEOUT, "no further result in time")) from None
