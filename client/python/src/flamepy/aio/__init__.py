# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The client for asyncio: the same verbs, to await.

    import flamepy.aio

    async with flamepy.aio.connect() as connection:
        async with connection.create_session("echo") as session:
            print(await session.run(b"hello"))

A connection belongs to the event loop in which it was made. It has one thread, as the synchronous
one; what that thread has for the loop wakes it once, however many results came meanwhile.
"""

from flamepy.aio._client import Connection, connect
from flamepy.aio._completed import as_completed
from flamepy.aio._results import ResultStream
from flamepy.aio._session import Session
from flamepy.aio._tasks import TaskFuture

__all__ = ["Connection", "ResultStream", "Session", "TaskFuture", "as_completed", "connect"]
