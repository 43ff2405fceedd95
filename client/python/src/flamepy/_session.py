# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A session: submit tasks to it, get results back."""

from __future__ import annotations

import concurrent.futures
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from flamepy import _verbs as verbs
from flamepy._connection import check_message
from flamepy._future import Future, time_out_of
from flamepy._inputs import checked, fill, submit_runs
from flamepy._progress import STEP_SECONDS, progress_of, wait_and_show
from flamepy._proto import limits
from flamepy._proto import messages as m
from flamepy._results import Cursor, ResultQueue, ResultStream, cursor_in
from flamepy._run_outputs import SOON_SECONDS, outputs_of_run
from flamepy._run_state import Decode, Rebuild, RunState
from flamepy._session_state import AttachedSession, why_it_waits
from flamepy._session_view import SessionView
from flamepy._types import Event, InstanceLog, Task, TaskProgress, TaskState
from flamepy._verbs import CancelledTasks
from flamepy.errors import Code, FlameError, FlameTimeoutError

if TYPE_CHECKING:
    from flamepy._client import Connection


class Session(SessionView):
    """Comes from `create_session`, `open_session`, `get_session` or `list_sessions`.

    Inputs and outputs are bytes, at most 64 MiB each. All methods may be called from any thread.
    `state` and the counters are those of the moment when the object was made; `refresh` asks again.
    """

    def __init__(
        self,
        connection: Connection,
        info: m.SessionInfo,
        attached: AttachedSession | None = None,
    ) -> None:
        self.connection = connection
        self._decode: Decode | None = None
        self._rebuild: Rebuild | None = None
        self._attached = attached
        super().__init__(info)

    # ---- submit ----------------------------------------------------------------------------------

    def run(self, input_data: bytes) -> Future[bytes]:
        """Submits one task. Returns at once unless very much is waiting to be sent; tasks that are
        submitted in quick succession travel together."""
        if type(input_data) is not bytes or len(input_data) > limits.PAYLOAD_BYTES_MAX:
            input_data = checked(input_data)
        run, index = self._ready().queue.add(input_data, self._make_run, self._decode)
        return Future(run, index)

    def _make_run(self) -> RunState:
        return RunState(self._attached, self._decode, self._rebuild)

    submit = run

    def invoke(self, input_data: bytes, timeout: float | None = None) -> bytes:
        """Submits one task and waits for its output."""
        attached = self._ready()
        data = checked(input_data)
        run, index = attached.queue.add(data, self._make_run, self._decode, lazy=True)
        # The I/O thread is woken last of all: it wants the interpreter, which this thread has until
        # it sleeps.
        if not run.wait(index, timeout, attached.queue.push):
            raise time_out_of(run, timeout)
        future: Future[bytes] = Future(run, index)
        return future.result(0)

    def create_task(self, input_data: bytes) -> Task:
        """Submits one task and waits until the broker has it."""
        future = self.run(input_data)
        now = datetime.now(timezone.utc)
        return Task(str(future.task_id), self.id, TaskState.PENDING, now, input_data)

    def map(
        self,
        inputs: Iterable[bytes],
        *,
        chunksize: int = 1,
        timeout: float | None = None,
        buffersize: int | None = None,
        progress: bool | str = False,
        total: int | None = None,
    ) -> Iterator[bytes]:
        """A task for each input; the outputs in their order. The first failed task raises.

        As with the standard executors all tasks are submitted before this returns, unless
        `buffersize` says how many may be under way before their outputs are taken: for inputs
        without end. `chunksize` has no meaning: every input is a task of its own, and they travel
        in runs anyway. `timeout` counts from this call. `progress` is True, or a label, for a bar
        of what is done; of `total` tasks, where their number cannot be seen.
        """
        return self._map(inputs, chunksize, timeout, buffersize, progress, total)

    def _map(
        self,
        inputs: Iterable[bytes],
        chunksize: int,
        timeout: float | None,
        buffersize: int | None,
        progress: bool | str,
        total: int | None,
        cancels: bool = False,
    ) -> Iterator[Any]:
        """`cancels`: what is pending when the outputs are left, or one of them raises."""
        if chunksize < 1:
            raise ValueError("chunksize must be at least 1")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be at least 1")
        deadline = None if timeout is None else time.monotonic() + timeout
        if total is None and isinstance(inputs, Sized):
            total = len(inputs)
        runs = self._submit_runs(iter(inputs), buffersize)
        ahead: deque[RunState] = deque()
        if buffersize is None:
            ahead.extend(runs)
            total = sum(run.count for run in ahead)
        else:
            deque(fill(ahead, runs, buffersize), 0)
        owner = self._attached if cancels else None
        more = partial(fill, ahead, runs, buffersize or 0)
        return _outputs(ahead, more, deadline, progress, total, owner)

    def _submit_runs(self, inputs: Iterator[bytes], buffersize: int | None) -> Iterator[RunState]:
        """Submits as it is read."""
        attached = self._ready()
        size = min(buffersize or limits.RUN_TASKS_MAX, limits.RUN_TASKS_MAX)
        decode, rebuild = self._decode, self._rebuild
        return submit_runs(
            inputs, size, attached.queue, lambda: RunState(attached, decode, rebuild)
        )

    def _ready(self) -> AttachedSession:
        """Attached, and with a watch for the results."""
        attached = self._attached
        if attached is None or attached.detached:
            attached = self._attach()
        if attached.connection.unusable:
            attached.connection.check()
        if not attached.asked_for_results:
            attached.need_results()
        return attached

    def _attach(self) -> AttachedSession:
        self._attached = self.connection._attach(self.id)
        return self._attached

    def flush(self, timeout: float | None = None) -> None:
        """Waits until the broker has everything that was submitted, or refused it: that is told by
        the futures."""
        attached = self._attached
        if attached is not None and not attached.wait_until_acknowledged(timeout):
            raise concurrent.futures.TimeoutError("not everything is acknowledged in time")

    def drain(self, timeout: float | None = None) -> None:
        """Waits until every future of this client's has its result."""
        attached = self._attached
        if attached is not None and not attached.wait_until_idle(timeout):
            why = attached.why_it_waits()
            raise concurrent.futures.TimeoutError("not every result has come in time" + why)

    def decoded(self, decode: Decode, rebuild: Rebuild | None = None) -> Session:
        """The same session; its futures and maps give what `decode` makes of an output, and raise
        what `rebuild` makes of a TaskError."""
        self._decode, self._rebuild = decode, rebuild
        return self

    # ---- results ---------------------------------------------------------------------------------

    def results(
        self,
        after: Cursor | str | None = None,
        *,
        follow: bool = False,
        reader: str = "",
        timeout: float | None = None,
    ) -> ResultStream:
        """Results in the order of completion, from `after` on (without it from the first that is
        kept). Ends with what is done now, or with `follow` when the session is closed. `reader` is
        a name under which the broker remembers how far it was read. `timeout` is for each wait.

        One stream of a session at a time; a second one ends the first.
        """
        cursor = Cursor.of(after)
        attached = self._attached
        if attached is None or attached.detached:
            attached = self._attach()
        welcome = self.connection.wait_until_up()
        info = self.connection._ask(verbs.session_info(self.id))
        cursor = cursor_in(info, cursor, welcome.lineage)
        uid, io = attached.uid, attached.connection
        check_message(m.Watch(0, uid, cursor.index, reader=reader, lineage=cursor.lineage))
        queue = ResultQueue(cursor, follow, lambda index: io.consumed(uid, index))
        queue.set_end(info.done_end, info.state is m.SessionState.CLOSED)
        known = attached
        io.post(lambda: known.read_into(queue, reader or known.reader))
        return ResultStream(queue, timeout, attached)

    # ---- life ------------------------------------------------------------------------------------

    def common_data(self) -> bytes | None:
        """The session's common data as it is now; None where it has none."""
        return self.connection._ask(verbs.get_common(self.id)).data

    def update_common_data(
        self, data: bytes | None | Callable[[bytes | None], bytes | None]
    ) -> int:
        """Other common data: tasks submitted after this returned run with it; services leave the
        session and enter it again. `data` may be a function of what is there now; it is called
        again where somebody else was faster. Returns the data's new version."""
        if not callable(data):
            return self.connection._ask(verbs.update_common(self.id, data, 0))
        while True:
            known = self.connection._ask(verbs.get_common(self.id))
            try:
                update = verbs.update_common(self.id, data(known.data), known.version)
                return self.connection._ask(update)
            except FlameError as error:
                if error.kind is not Code.CONFLICT:
                    raise

    def on_progress(self, call: Callable[[TaskProgress], object] | None) -> None:
        """`call` gets what running tasks say of themselves (TaskContext.progress), the last of each
        ten times a second at most, on the library's own thread: it must return soon and must not
        wait for the session."""
        attached = self._ready()

        def tell(report: m.ProgressReport) -> None:
            assert call is not None
            call(TaskProgress(*report))

        attached.tell_progress = None if call is None else tell

    def watch_task(self, task_id: int | str, timeout: float | None = None) -> TaskWatcher:
        """The task now, and again whenever something of it changed, until it is finished. States
        that it had between two steps are not told. FlameTimeoutError where it stays as it is for
        `timeout` seconds."""
        return TaskWatcher(self._watch_task(task_id, timeout))

    def _watch_task(self, task_id: int | str, timeout: float | None) -> Iterator[Task]:
        known = ""
        while True:
            task = self.connection._ask(verbs.watch_task(self.id, task_id, known), timeout)
            yield task
            if task.is_completed():
                return
            known = task.version

    @property
    def events(self) -> list[Event]:
        """What happened to the session, the last 256, asked for at each use."""
        return self.connection._ask(verbs.session_events(self.id))

    def logs(self, task_id: int | str | None = None) -> list[InstanceLog]:
        """What the session's service instances wrote to stdout and stderr last, 64 KiB of each; of
        a task only what was written while it may have run."""
        return self.connection._ask(verbs.get_logs(self.id, task_id))

    def refresh(self) -> Session:
        """Asks for state and counters."""
        self._take(self.connection._ask(verbs.session_info(self.id)))
        return self

    def wait(self, timeout: float | None = None, *, progress: bool | str = False) -> Session:
        """Until no task is pending or running. FlameTimeoutError after `timeout` seconds.
        `progress` is True, or a label, for a bar of what is done."""
        self._submitted(timeout)
        try:
            return self._wait(timeout, progress)
        except FlameTimeoutError as error:
            error.message += why_it_waits(self.connection._io, self.id)
            raise

    def _wait(self, timeout: float | None, progress: bool | str) -> Session:
        if not progress:
            self._take(self.connection._ask(verbs.wait_session(self.id), timeout))
            return self
        ask, tasks = verbs.wait_session(self.id), self.refresh().tasks
        with self.connection._begun(ask, timeout) as answer, progress_of(progress, tasks) as bar:
            bar.show(self.done)
            while not concurrent.futures.wait([answer], STEP_SECONDS).done:
                bar.show(self.refresh().done)
            self._take(answer.result())
            bar.show(self.done)
        return self

    def get_task(self, task_id: int | str) -> Task:
        """One task as it is recorded, with input and output as far as they are kept. Raises
        FlameError (not_found)."""
        return self.connection._ask(verbs.get_task(self.id, task_id))

    def list_tasks(
        self, states: Iterable[TaskState] = (), *, start: int = 1, payloads: bool = True
    ) -> Iterator[Task]:
        """Tasks as they are recorded, in the order of their numbers from `start` on; only those of
        `states` if there are any, and without input and output where `payloads` says so. Asked for
        page by page: a question of people and programs that look, not the way to read results."""
        states = tuple(states)
        while start:
            ask = verbs.get_tasks(self.id, start, 0, states, payloads)
            page = self.connection._ask(ask)
            yield from page.tasks
            start = page.next

    def cancel(
        self, tasks: Iterable[int | range] | None = None, *, running: bool = False
    ) -> CancelledTasks:
        """Cancels these tasks (numbers and ranges of step 1, together at most 1,024 of them;
        without them all that were submitted). They end as cancelled at once and their futures
        raise TaskCancelledError. Pending ones never run; with `running` those in a service too: it
        is told, and killed if it is in the task 5 s later. What has finished stays as it is."""
        self._submitted(self.connection.request_timeout)
        ask = verbs.cancel_tasks(self.id, tasks, running)
        return CancelledTasks(0, 0) if ask is None else self.connection._ask(ask)

    def close(self) -> Session:
        """What was submitted is sent; then tasks that are still pending are cancelled, running ones
        finish. Closing twice is fine."""
        self._submitted(self.connection.request_timeout)
        self._take(self.connection._ask(verbs.close_session(self.id)))
        return self

    def _submitted(self, timeout: float | None) -> None:
        """Before what rests on it: flush, whose time-out is a FlameTimeoutError here."""
        try:
            self.flush(timeout)
        except concurrent.futures.TimeoutError as error:
            raise FlameTimeoutError(Code.TIMEOUT, str(error)) from None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TaskWatcher:
    """From `Session.watch_task`: iterate over it."""

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks

    def __iter__(self) -> TaskWatcher:
        return self

    def __next__(self) -> Task:
        return next(self._tasks)


def _outputs(
    ahead: deque[RunState],
    more: Callable[[], Iterator[RunState]],
    deadline: float | None,
    progress: bool | str,
    total: int | None,
    owner: AttachedSession | None,
) -> Iterator[Any]:
    taken = 0
    with progress_of(progress, total) as bar:

        def look() -> None:
            bar.show(taken + sum(run.done for run in ahead))

        shown = look if bar.wanted else None
        try:
            while ahead:
                run, at = ahead[0], 0
                soon = time.monotonic() + SOON_SECONDS
                wait_and_show(run.wait_all, min(soon, deadline or soon), shown)
                while at < run.count:
                    if not wait_and_show(partial(run.wait, at), deadline, shown):
                        raise time_out_of(run, None)
                    begin, at = at, run.end_of_done(at)
                    if at == run.count:
                        taken += run.count
                        ahead.popleft()
                    if bar.due():
                        look()
                    yield from outputs_of_run(run, begin, at)
                deque(more(), 0)
        finally:
            _give_up(ahead, owner)
        bar.show(taken)


def _give_up(runs: Iterable[RunState], owner: AttachedSession | None) -> None:
    if owner is None or owner.detached or owner.connection.unusable:
        return
    for run in runs:
        owner.cancel_soon(run, 0, run.count)
