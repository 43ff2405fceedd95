# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A session for asyncio: submit tasks to it, await results."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sized
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from flamepy import _verbs as verbs
from flamepy._connection import check_message
from flamepy._inputs import checked, fill, submit_runs
from flamepy._progress import STEP_SECONDS, progress_of
from flamepy._proto import messages as m
from flamepy._proto.limits import PAYLOAD_BYTES_MAX, RUN_TASKS_MAX
from flamepy._results import Cursor, ResultQueue, cursor_in
from flamepy._run_outputs import SOON_SECONDS, outputs_of_run
from flamepy._run_state import RunState
from flamepy._session_state import AttachedSession
from flamepy._session_view import SessionView
from flamepy._types import InstanceLog, Task, TaskProgress, TaskState
from flamepy._verbs import CancelledTasks
from flamepy.aio._completed import wait_and_show
from flamepy.aio._results import ResultStream
from flamepy.aio._tasks import Cancels, RunTasks, TaskFuture, run_ready
from flamepy.errors import Code, FlameError, FlameTimeoutError

if TYPE_CHECKING:
    from flamepy.aio._client import Connection

_AHEAD = 65_536
"""Tasks of a map that are under way, unless its `buffersize` says otherwise."""


_forks = 0
"""Of this process' ancestors since the module was loaded; a lock that a thread held then is held
for ever, and must not be tried."""


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)


class Session(SessionView):
    """Comes from `create_session`, `open_session`, `get_session` or `list_sessions` of a
    connection. Inputs and outputs are bytes, at most 64 MiB each. `state` and the counters are
    those of the moment when the object was made; `refresh` asks again."""

    def __init__(
        self,
        connection: Connection,
        info: m.SessionInfo,
        attached: AttachedSession | None = None,
    ) -> None:
        super().__init__(info)
        self.connection = connection
        self._latest: RunTasks | None = None
        self._forks = _forks
        self._attach(attached)

    def _attach(self, attached: AttachedSession | None) -> None:
        self._attached = attached
        if attached is not None:
            delivery, seconds = self.connection._delivery, self.connection.request_timeout
            self._cancels = Cancels(attached, delivery, seconds)

    # ---- submit ----------------------------------------------------------------------------------

    def run(self, input_data: bytes) -> TaskFuture:
        """Submits one task; `await` gives its output. Returns at once, so that
        `asyncio.gather(*map(session.run, inputs))` submits all: it never waits for room, and
        whoever submits without end awaits `flush` now and again, or uses `map`."""
        attached = self._attached
        if attached is None or self._forks != _forks:
            attached = self._ready()
        if type(input_data) is not bytes or len(input_data) > PAYLOAD_BYTES_MAX:
            input_data = checked(input_data)
        run, index = attached.queue.add(
            input_data, self._make_run, self, lazy=True, may_block=False
        )
        latest = self._latest
        assert latest is not None and latest.run is run
        return latest.add(index)

    submit = run

    def _make_run(self) -> RunState:
        # Checked here rather than for each task.
        attached = self._ready()
        # At the end of this turn of the loop: what is submitted until then travels together.
        self.connection._delivery.loop.call_soon(attached.queue.push)
        run = RunState(attached)
        self._latest = RunTasks(run, self.connection._delivery, self._cancels)
        return run

    async def invoke(self, input_data: bytes, timeout: float | None = None) -> bytes:
        """Submits one task and waits for its output. After `timeout` seconds the task is
        cancelled."""
        future = self.run(input_data)
        try:
            if not (await asyncio.wait([future], timeout=timeout))[0]:
                raise asyncio.TimeoutError("no result in time" + await self._why())
            return future.result()
        finally:
            future.cancel()

    async def map(
        self,
        inputs: Iterable[bytes],
        *,
        buffersize: int = _AHEAD,
        timeout: float | None = None,
        progress: bool | str = False,
    ) -> AsyncIterator[bytes]:
        """`async for output in session.map(inputs)`: a task for each input, the outputs in their
        order; the first failed task raises. At most `buffersize` tasks are under way before their
        outputs are taken. What is left when the loop is left is cancelled. asyncio.TimeoutError
        `timeout` seconds from the first step on. `progress` is True, or a label, for a bar."""
        if buffersize < 1:
            raise ValueError("buffersize must be at least 1")
        attached, delivery = self._ready(), self.connection._delivery
        until = None if timeout is None else delivery.loop.time() + timeout
        size = min(buffersize, RUN_TASKS_MAX)
        total = len(inputs) if isinstance(inputs, Sized) else None
        runs = submit_runs(
            iter(inputs), size, attached.queue, lambda: RunState(attached), may_block=False
        )
        ahead: deque[RunState] = deque()
        taken, bar = 0, progress_of(progress, total)

        def look() -> None:
            bar.show(taken + sum(run.done for run in ahead))

        shown = look if bar.wanted else None
        try:
            for _ in fill(ahead, runs, buffersize):
                await asyncio.sleep(0)  # others have a turn while inputs are made
            while ahead:
                run, at = ahead[0], 0
                soon = delivery.loop.time() + SOON_SECONDS
                whole = run_ready(run, delivery, run.all_done)
                await wait_and_show(whole, min(soon, until or soon), shown)
                while at < run.count:
                    if not run.is_done(at):
                        some = run_ready(run, delivery, partial(run.is_done, at))
                        if not await wait_and_show(some, until, shown):
                            raise asyncio.TimeoutError("no result in time" + await self._why())
                    begin, at = at, run.end_of_done(at)
                    if at == run.count:
                        taken += run.count
                        ahead.popleft().sink = None  # no cycle
                    if bar.due():
                        look()
                    for output in outputs_of_run(run, begin, at):
                        yield output
                for _ in fill(ahead, runs, buffersize):
                    await asyncio.sleep(0)
            bar.show(taken)
        finally:
            bar.close()
            for run in ahead:
                self._cancels.add_run(run)

    # ---- results ---------------------------------------------------------------------------------

    def results(
        self,
        after: Cursor | str | None = None,
        *,
        follow: bool = False,
        reader: str = "",
        timeout: float | None = None,
    ) -> ResultStream:
        """`async for result in session.results()`: in the order of completion, from `after` on.
        Ends with what is done now, or with `follow` when the session is closed. `reader` is a name
        under which the broker remembers how far it was read. `timeout` is for each wait.

        One stream of a session at a time; a second one ends the first.
        """
        cursor = Cursor.of(after)

        async def open_queue(cursor: Cursor, some: asyncio.Event) -> ResultQueue:
            return await self._read(cursor, follow, reader, some)

        return ResultStream(open_queue, cursor, timeout)

    async def _read(
        self, cursor: Cursor, follow: bool, reader: str, some: asyncio.Event
    ) -> ResultQueue:
        attached = self._attached
        if attached is None or attached.detached:
            _, attached = await self.connection._open_session(self.id)
            self._attach(attached)
        welcome = await self.connection._up(self.connection.request_timeout)
        info = await self.connection._ask(verbs.session_info(self.id))
        cursor = cursor_in(info, cursor, welcome.lineage)
        uid, io, known = attached.uid, attached.connection, attached
        check_message(m.Watch(0, uid, cursor.index, reader=reader, lineage=cursor.lineage))
        post = self.connection._delivery.post
        queue = ResultQueue(
            cursor, follow, lambda index: io.consumed(uid, index), lambda: post(some.set)
        )
        queue.set_end(info.done_end, info.state is m.SessionState.CLOSED)
        io.post(lambda: known.read_into(queue, reader or known.reader))
        return queue

    # ---- life ------------------------------------------------------------------------------------

    async def common_data(self) -> bytes | None:
        """The session's common data as it is now; None where it has none."""
        return (await self.connection._ask(verbs.get_common(self.id))).data

    async def update_common_data(
        self, data: bytes | None | Callable[[bytes | None], bytes | None]
    ) -> int:
        """As the synchronous one: new data, or a function of what is there now."""
        if not callable(data):
            return await self.connection._ask(verbs.update_common(self.id, data, 0))
        while True:
            known = await self.connection._ask(verbs.get_common(self.id))
            try:
                update = verbs.update_common(self.id, data(known.data), known.version)
                return await self.connection._ask(update)
            except FlameError as error:
                if error.kind is not Code.CONFLICT:
                    raise

    def on_progress(self, call: Callable[[TaskProgress], object] | None) -> None:
        """`call` gets what running tasks say of themselves, the last of each ten times a second at
        most, in the loop."""
        attached, post = self._ready(), self.connection._delivery.post

        def tell(report: m.ProgressReport) -> None:
            assert call is not None
            told, progress = call, TaskProgress(*report)

            def in_loop() -> None:
                told(progress)

            post(in_loop)

        attached.tell_progress = None if call is None else tell

    async def watch_task(
        self, task_id: int | str, timeout: float | None = None
    ) -> AsyncIterator[Task]:
        """`async for task in session.watch_task(7)`: as the synchronous one."""
        known = ""
        while True:
            task = await self.connection._ask(verbs.watch_task(self.id, task_id, known), timeout)
            yield task
            if task.is_completed():
                return
            known = task.version

    async def logs(self, task_id: int | str | None = None) -> list[InstanceLog]:
        """As the synchronous one."""
        return await self.connection._ask(verbs.get_logs(self.id, task_id))

    async def refresh(self) -> Session:
        """Asks for state and counters."""
        self._take(await self.connection._ask(verbs.session_info(self.id)))
        return self

    async def flush(self) -> None:
        """Until the broker has everything that was submitted."""
        if self._attached is not None:
            await self._heard(self._attached, self._attached.call_when_acknowledged)

    async def drain(self) -> None:
        """Until everything that this client submitted has its result."""
        if self._attached is not None:
            await self._heard(self._attached, self._attached.call_when_idle)

    async def _heard(
        self, attached: AttachedSession, ask: Callable[[Callable[[], None]], None]
    ) -> None:
        self.connection._check()
        done, tell = self.connection._delivery.answer()
        call = partial(tell, None)
        ask(call)
        try:
            await done
        except asyncio.CancelledError:
            attached.forget_call(call)
            raise

    async def wait(self, timeout: float | None = None, *, progress: bool | str = False) -> Session:
        """Until no task is pending or running. FlameTimeoutError after `timeout` seconds.
        `progress` is True, or a label, for a bar of what is done."""
        await self._submitted(timeout)
        try:
            return await self._wait(timeout, progress)
        except FlameTimeoutError as error:
            error.message += await self._why()
            raise

    async def _why(self) -> str:
        """For the text of a time-out."""
        with contextlib.suppress(FlameError):
            return await self.connection._ask(verbs.why_it_waits(self.id), verbs.WHY_SECONDS)
        return ""

    async def _wait(self, timeout: float | None, progress: bool | str) -> Session:
        ask = self.connection._ask(verbs.wait_session(self.id), timeout)
        if not progress:
            self._take(await ask)
            return self
        answer = asyncio.ensure_future(ask)
        try:
            with progress_of(progress, (await self.refresh()).tasks) as bar:
                bar.show(self.done)
                while not (await asyncio.wait([answer], timeout=STEP_SECONDS))[0]:
                    bar.show((await self.refresh()).done)
                self._take(await answer)
                bar.show(self.done)
        finally:
            answer.cancel()
        return self

    async def get_task(self, task_id: int | str) -> Task:
        """One task as it is recorded, with input and output as far as they are kept. Raises
        FlameError (not_found)."""
        return await self.connection._ask(verbs.get_task(self.id, task_id))

    async def list_tasks(
        self, states: Iterable[TaskState] = (), *, start: int = 1, payloads: bool = True
    ) -> AsyncIterator[Task]:
        """`async for task in session.list_tasks()`: as the synchronous one."""
        states = tuple(states)
        while start:
            ask = verbs.get_tasks(self.id, start, 0, states, payloads)
            page = await self.connection._ask(ask)
            for task in page.tasks:
                yield task
            start = page.next

    async def cancel(
        self, tasks: Iterable[int | range] | None = None, *, running: bool = False
    ) -> CancelledTasks:
        """As the synchronous one: these tasks, or all; what runs only with `running`. To cancel a
        single future is to cancel its task."""
        await self._submitted(self.connection.request_timeout)
        ask = verbs.cancel_tasks(self.id, tasks, running)
        return CancelledTasks(0, 0) if ask is None else await self.connection._ask(ask)

    async def close(self) -> Session:
        """What was submitted is sent; then tasks that are still pending are cancelled, running ones
        finish. Closing twice is fine."""
        await self._submitted(self.connection.request_timeout)
        self._take(await self.connection._ask(verbs.close_session(self.id)))
        return self

    async def _submitted(self, timeout: float | None) -> None:
        """Before what rests on it: flush, whose time-out is a FlameTimeoutError here."""
        try:
            await asyncio.wait_for(self.flush(), timeout)
        except asyncio.TimeoutError:
            text = "not everything is acknowledged in time"
            raise FlameTimeoutError(Code.TIMEOUT, text) from None

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    def _ready(self) -> AttachedSession:
        self.connection._check()
        if self._attached is None:
            raise FlameError(
                Code.WRONG_STATE,
                f"session '{self.id}' is only listed here; to use it: await "
                f"connection.open_session('{self.id}')",
            )
        self._attached.need_results()
        return self._attached
