# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Tasks of a run as futures of the event loop. A slice of results is one step of the loop; a
cancelled future's task is cancelled too, many of them by one request."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any, Callable

from flamepy import _verbs as verbs
from flamepy._future import failure_of
from flamepy._proto.errors import Code, Error
from flamepy._run_state import RunState
from flamepy._session_state import AttachedSession
from flamepy.aio._delivery import Delivery
from flamepy.errors import FlameError

# Nobody has to read that he closed the session himself.
_QUIET = (Code.TASK_CANCELLED, Code.INTERRUPTED)


class TaskFuture(asyncio.Future[bytes]):
    """The output of one task, to await. To cancel it, or the asyncio task that awaits it, cancels
    the task: one that is pending never runs, one that runs is told, and killed 5 s later.
    asyncio.shield keeps it."""

    __slots__ = ("_index", "_tasks")

    _tasks: RunTasks
    _index: int

    @property
    def task_id(self) -> int | None:
        """1, 2, 3 ... within the session; None until the broker has given it."""
        first = self._tasks.run.first
        return first + self._index if first else None

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg=msg):
            return False
        self._tasks.cancel(self._index)
        return True


class RunTasks:
    def __init__(self, run: RunState, delivery: Delivery, cancels: Cancels) -> None:
        self.run = run
        self.loop = delivery.loop
        self._delivery = delivery
        self._cancels = cancels
        self._futures: list[TaskFuture | None] = []
        self._unsettled = 0
        self._cancelled: list[int] = []  # not acknowledged yet
        run.sink = self._on_slice

    def add(self, index: int) -> TaskFuture:
        future = TaskFuture(loop=self.loop)
        future._tasks, future._index = self, index
        self._futures.append(future)
        self._unsettled += 1
        return future

    def cancel(self, index: int) -> None:
        if self.run.first:
            self._cancels.add(range(self.run.first + index, self.run.first + index + 1))
        else:
            self._cancelled.append(index)

    def _on_slice(self, at: int, end: int) -> None:  # on the I/O thread
        self._delivery.post(partial(self._settle, at, end))

    def _settle(self, at: int, end: int) -> None:
        run, futures = self.run, self._futures
        if self._cancelled and run.first:
            cancelled, self._cancelled = self._cancelled, []
            for index in cancelled:
                self.cancel(index)
        outputs = run.outputs
        assert outputs is not None or at == end
        for index in range(at, end):
            future = futures[index]
            if future is None:
                continue
            output = outputs[index]  # type: ignore[index]
            if output is None:
                continue
            futures[index] = None
            self._unsettled -= 1
            if future.done():
                continue
            if type(output) is bytes:
                future.set_result(output)
            else:
                self._fail(future, index, output)
        if outputs is not None and self._unsettled == 0 and run.left == 0:
            run.sink = None  # no cycle

    def _fail(self, future: TaskFuture, index: int, error: Error) -> None:
        future.set_exception(failure_of(self.run, index, error))
        if error.code in _QUIET:
            future.exception()


class Cancels:
    """Of a session: what is cancelled in one turn of the loop goes out together."""

    def __init__(self, attached: AttachedSession, delivery: Delivery, timeout: float) -> None:
        self._attached = attached
        self._delivery = delivery
        self._timeout = timeout
        self._tasks: list[range] = []

    def add(self, tasks: range) -> None:
        if not self._tasks:
            self._delivery.loop.call_soon(self._send)
        self._tasks.append(tasks)

    def add_run(self, run: RunState) -> None:
        """The whole run, as soon as the broker has it."""

        def on_slice(_: int, __: int) -> None:
            if run.first:
                run.sink = None
                self._delivery.post(acknowledged)

        def acknowledged() -> None:
            if run.left:
                self.add(range(run.first, run.first + run.count))

        run.sink = on_slice
        if run.first:
            acknowledged()

    def _send(self) -> None:
        tasks, self._tasks = self._tasks, []
        session = self._attached.info.session
        for message in verbs.cancel_together(session, tasks, running=True):
            # Where the session or the connection is gone, so are its tasks.
            with contextlib.suppress(FlameError):
                self._attached.connection.ask(message, self._timeout, _ignore)


def _ignore(_: Any) -> None:
    return None


def run_ready(run: RunState, delivery: Delivery, ready: Callable[[], bool]) -> asyncio.Future[None]:
    """Done when `ready` says so, which is asked for each slice; of a run one at a time."""
    done, tell = delivery.answer()

    def on_slice(_: int, __: int) -> None:
        if ready():
            tell(None)

    run.sink = on_slice
    if ready():  # it came before
        done.set_result(None)
    return done
