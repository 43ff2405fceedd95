# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Futures in the order in which they are done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, Callable, TypeVar

from flamepy._progress import STEP_SECONDS, progress_of

F = TypeVar("F", bound="asyncio.Future[Any]")


async def as_completed(
    futures: Iterable[F], *, timeout: float | None = None, progress: bool | str = False
) -> AsyncIterator[F]:
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
        with progress_of(progress, len(waiting)) as bar:
            for count in range(1, len(waiting) + 1):
                while not done:
                    some.clear()
                    wait = None if until is None else until - loop.time()
                    await asyncio.wait_for(some.wait(), wait)
                bar.show(count)
                yield done.popleft()
    finally:
        for future in waiting:
            future.remove_done_callback(on_done)


async def wait_and_show(
    future: asyncio.Future[Any], until: float | None, look: Callable[[], None] | None
) -> bool:
    """Until the future is done; `look` is called now and again meanwhile. False: it is `until`, by
    the loop's clock. A cancelled wait leaves the future alone."""
    loop = asyncio.get_running_loop()
    while True:
        left = None if until is None else max(0.0, until - loop.time())
        step = left
        if look is not None:
            step = STEP_SECONDS if left is None else min(left, STEP_SECONDS)
        done, _ = await asyncio.wait([future], timeout=step)
        if done:
            return True
        if left is not None and step == left:
            return False
        if look is not None:
            look()
