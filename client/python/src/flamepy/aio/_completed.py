# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Futures in the order in which they are done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

F = TypeVar("F", bound="asyncio.Future[Any]")


async def as_completed(futures: Iterable[F], *, timeout: float | None = None) -> AsyncIterator[F]:
    """`async for future in as_completed(futures)`: the futures themselves, done, so that one knows
    which it is; `await` or `future.result()` gives the output or raises. asyncio.TimeoutError where
    not all are done `timeout` seconds from the first step on. Tasks that were not waited for go on.
    """
    loop = asyncio.get_running_loop()
    waiting = set(futures)
    done: deque[F] = deque()
    some = asyncio.Event()

    def on_done(future: Any) -> None:
        done.append(future)
        some.set()

    for future in waiting:
        future.add_done_callback(on_done)
    until = None if timeout is None else loop.time() + timeout
    try:
        for _ in range(len(waiting)):
            while not done:
                some.clear()
                wait = None if until is None else until - loop.time()
                await asyncio.wait_for(some.wait(), wait)
            yield done.popleft()
    finally:
        for future in waiting:
            future.remove_done_callback(on_done)
