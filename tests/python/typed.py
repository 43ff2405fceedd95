# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a type checker sees of flamepy. Nothing runs this; tools/python_lint checks it, also that
every line with an ignore is refused without it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, Future

from typing_extensions import assert_type

import flamepy
import flamepy.aio


def text(number: int, base: int = 10) -> str:
    return str(number + base)


def of_executors(executor: flamepy.Executor) -> None:
    future = executor.submit(text, 1, base=2)
    assert_type(future, flamepy.Future[str])
    assert_type(future.result(), str)
    assert_type(executor.map(text, [1, 2]), Iterator[str])
    executor.submit(text, "1")  # type: ignore[arg-type]
    executor.submit(text, 1, 2, 3)  # type: ignore[call-arg]
    wrong: flamepy.Future[int] = future  # type: ignore[assignment]
    standard: Future[str] = future
    assert_type(next(flamepy.as_completed([future])), flamepy.Future[str])
    assert_type(flamepy.wait([future]).done, set[Future[str]])
    either: Executor = executor
    print(wrong, standard, either)


@flamepy.task
def square(number: int) -> int:
    return number * number


@flamepy.task(executor=None)
def half(number: float) -> float:
    return number / 2


def of_tasks() -> None:
    assert_type(square(3), int)
    assert_type(square.submit(3).result(), int)
    assert_type(square.map([1]), Iterator[int])
    assert_type(half.submit(number=2), flamepy.Future[float])
    square("3")  # type: ignore[arg-type]
    square.submit()  # type: ignore[call-arg]


def of_sessions(session: flamepy.Session) -> None:
    assert_type(session.run(b"1"), flamepy.Future[bytes])
    assert_type(session.submit(b"1"), flamepy.Future[bytes])
    assert_type(session.invoke(b"1"), bytes)
    assert_type(session.map([b"1"]), Iterator[bytes])
    session.run("1")  # type: ignore[arg-type]


async def of_asyncio(session: flamepy.aio.Session) -> None:
    future = session.run(b"1")
    standard: asyncio.Future[bytes] = future
    assert_type(await future, bytes)
    assert_type(await session.invoke(b"1"), bytes)
    assert_type(session.map([b"1"]), AsyncIterator[bytes])
    assert_type(await asyncio.gather(session.run(b"1"), session.run(b"2")), tuple[bytes, bytes])
    async for done in flamepy.aio.as_completed([future]):
        assert_type(done, flamepy.aio.TaskFuture)
    print(standard)
