# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Calls the handlers of a service that are coroutines. Their event loop runs on the thread of all
calls, while something is in hand: between two frames it stands still."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, Callable

from flamepy._calls import CANCELLED, Output, TaskFailure, reason_of
from flamepy._cancellations import Cancellations
from flamepy._service import FlameService, TaskContext


class AsyncCalls:
    def __init__(self, service: FlameService, cancellations: Cancellations) -> None:
        self._cancellations = cancellations
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._running: dict[int, asyncio.Task[Output]] = {}
        self.invokes = inspect.iscoroutinefunction(service.on_task_invoke)
        if self.invokes:
            cancellations.listener = self._on_cancel

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def value_of(self, returned: Any) -> Any:
        """What a handler means that may be a coroutine or an asynchronous generator."""
        if inspect.isawaitable(returned):
            return self._loop.run_until_complete(_awaited(returned))
        if inspect.isasyncgen(returned):
            return self._each(returned)
        return returned

    def _each(self, outputs: AsyncIterator[Any]) -> Iterator[Output]:
        while True:
            try:
                output = self._loop.run_until_complete(_awaited(outputs.__anext__()))
            except StopAsyncIteration:
                return
            yield output

    def invoke_each(
        self, invoke: Callable[[TaskContext], Any], contexts: Iterator[TaskContext]
    ) -> Iterator[Output]:
        """All tasks of a frame are in hand at the same time; their outputs come in order."""
        tasks = [self._begin(invoke, context) for context in contexts]
        for task in tasks:
            if task is None:
                yield CANCELLED
                continue
            if not task.done():
                self._loop.run_until_complete(task)
            yield task.result()

    def _begin(
        self, invoke: Callable[[TaskContext], Any], context: TaskContext
    ) -> asyncio.Task[Output] | None:
        if self._cancellations.runs and self._cancellations.contains(context.number):
            return None
        task = self._loop.create_task(self._output_of(invoke, context))
        self._running[context.number] = task
        return task

    async def _output_of(
        self, invoke: Callable[[TaskContext], Any], context: TaskContext
    ) -> Output:
        try:
            output: Output = await invoke(context)
        except asyncio.CancelledError as error:
            if self._cancellations.contains(context.number):
                return CANCELLED
            return TaskFailure(reason_of(error))
        except Exception as error:
            return TaskFailure(reason_of(error))
        finally:
            del self._running[context.number]
        return output

    def _on_cancel(self) -> None:  # in the handler of a signal
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        for number, task in list(self._running.items()):
            if self._cancellations.contains(number):
                task.cancel()


async def _awaited(what: Any) -> Any:
    return await what
