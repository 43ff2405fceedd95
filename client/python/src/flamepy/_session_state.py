# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What stands behind a Session: hears the connection for it, gives it runs, and hands results to
futures and to the stream."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import weakref
from collections import deque
from functools import partial
from typing import Callable

from flamepy import _verbs as verbs
from flamepy._connection import Connection, SessionListener
from flamepy._core.events import SubmitRun
from flamepy._future_table import FutureTable
from flamepy._proto.errors import Code, Error
from flamepy._proto.messages import (
    CancelTasks,
    Durability,
    Progress,
    ProgressReport,
    Results,
    Run,
    SessionChanged,
    SessionInfo,
    SessionState,
)
from flamepy._results import ResultQueue
from flamepy._run_state import RunState
from flamepy._submit_queue import SubmitQueue
from flamepy.errors import FlameError

_CANCEL_SECONDS = 30.0


def why_it_waits(connection: Connection, session: str) -> str:
    """For the text of a time-out; nothing where the broker is away, or this thread has others to
    serve."""
    if not _must_not_wait(connection):
        with contextlib.suppress(FlameError):
            connection.wait_until_up(0)
            ask = verbs.why_it_waits(session)
            return ask.meaning(connection.request(ask.message, verbs.WHY_SECONDS))
    return ""


def _must_not_wait(connection: Connection) -> bool:
    asyncio = sys.modules.get("asyncio")  # who has not imported it runs no loop
    in_loop = asyncio is not None and asyncio._get_running_loop() is not None
    return connection.on_own_thread() or in_loop


class AttachedSession(SessionListener):
    def __init__(self, connection: Connection, info: SessionInfo) -> None:
        self.connection = connection
        self.check_wait = connection.check_wait
        self.wake_later = connection.to_wake.extend
        self.wake_now = connection.wake_waiters
        self.info = info
        self.uid = info.uid
        self.reader = ""
        self.tell_progress: Callable[[ProgressReport], object] | None = None
        self.queue = SubmitQueue(
            partial(connection.wake, self.uid), lambda: not connection.on_own_thread()
        )
        self.asked_for_results = False
        self._drained = threading.Condition()
        self._waits_for_drain = 0

        # Of the I/O thread.
        self._calls: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        self._futures = FutureTable()
        self._to_cancel: deque[tuple[RunState, int, int]] = deque()
        self._tickets = 0
        self._taking = False
        self._futures_watch: tuple[int, str] | None = None  # index and reader, to ask again
        self._watching = False
        self._next_index = 0  # behind the last entry that came
        self._stream_from = 0
        self._stream: weakref.ref[ResultQueue] | None = None
        self._closed_at: int | None = None  # the session is closed and has so many entries
        self.detached = False

    # ---- any thread ------------------------------------------------------------------------------

    def need_results(self) -> None:
        """Before the first submit: its results are at or behind what is done now."""
        if self.asked_for_results:
            return
        index, reader = self.info.done_end, self.reader
        self.connection.post(lambda: self._need_results(index, reader))
        self.asked_for_results = True  # last, for who asks may be interrupted before it is posted

    def wait_until_acknowledged(self, timeout: float | None) -> bool:
        """Until the broker has everything that was submitted."""
        self._stir()
        return self._wait_for(self._is_drained, timeout)

    def wait_until_idle(self, timeout: float | None) -> bool:
        """Until everything that was submitted has its result."""
        self._stir()
        return self._wait_for(self._is_idle, timeout)

    def _stir(self) -> None:
        """What an interrupted thread left in the queue goes out, whether it said so or not."""
        self.queue.push()
        self.connection.wake(self.uid)

    def call_when_acknowledged(self, call: Callable[[], None]) -> None:
        """As wait_until_acknowledged; `call` comes on the I/O thread."""
        self.connection.post(lambda: self._call_when(self._is_drained, call))

    def call_when_idle(self, call: Callable[[], None]) -> None:
        self.connection.post(lambda: self._call_when(self._is_idle, call))

    def forget_call(self, call: Callable[[], None]) -> None:
        """It need not come any more."""

        def work() -> None:
            self._calls = [wait for wait in self._calls if wait[1] is not call]

        self.connection.post(work)

    def cancel(self, task: int, timeout: float) -> bool:
        """True if the task was pending, and is cancelled now."""
        message = CancelTasks(0, self.info.session, [Run(task, 1)], False)
        return bool(self.connection.request(message, timeout).pending)

    def why_it_waits(self) -> str:
        return why_it_waits(self.connection, self.info.session)

    def must_not_wait(self) -> bool:
        """Whether this thread has others to serve: the connection, or an event loop."""
        return _must_not_wait(self.connection)

    def cancel_soon(self, state: RunState, index: int, count: int = 1) -> None:
        """These tasks of a run, if they are pending by then; does not wait, and what comes in quick
        succession is asked for together."""
        self.connection.check()
        self._to_cancel.append((state, index, count))
        self.connection.post(self._send_cancels)

    def _wait_for(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        self.check_wait()
        with self._drained:
            self._waits_for_drain += 1
            try:
                return self._drained.wait_for(condition, timeout)
            finally:
                self._waits_for_drain -= 1

    def _is_drained(self) -> bool:
        # In this order: a run leaves the queue while `_taking`, and is in the table after it.
        return len(self.queue) == 0 and not self._taking and self._futures.unacknowledged == 0

    # ---- the I/O thread --------------------------------------------------------------------------

    def next_run(self) -> SubmitRun | None:
        if self.queue.wakes:
            return None
        self._taking = True
        taken = self.queue.take()
        if taken is not None:
            self._tickets += 1
            self._futures.sent(self._tickets, taken[0])
        self._taking = False
        if taken is None:
            self._tell_drained()  # the last may have been one without tasks
            return None
        state, payload = taken
        return SubmitRun(self.uid, self._tickets, state.count, payload)

    def _send_cancels(self) -> None:
        tasks, later = [], []
        while self._to_cancel:
            state, index, count = waiting = self._to_cancel.popleft()
            if all(map(state.is_done, range(index, index + count))):
                continue  # its ids may be another's by now, where the store lost it
            if state.first:
                first = state.first + index
                tasks.append(range(first, first + count))
            elif state.refusal is None:
                later.append(waiting)  # until the broker has it
        self._to_cancel.extend(later)
        for message in verbs.cancel_together(self.info.session, tasks, running=False):
            # Where the session or the connection is gone, so are its tasks.
            with contextlib.suppress(FlameError):
                self.connection.ask(message, _CANCEL_SECONDS, lambda _: None)

    def on_submitted(self, ticket: int, run: Run, level: Durability) -> None:
        self._futures.acknowledged(ticket, run)
        if self._to_cancel:
            self._send_cancels()
        self._tell_drained()

    def on_submit_failed(self, ticket: int, error: Error) -> None:
        self._futures.refused(ticket, error)
        self._tell_drained()

    def _call_when(self, condition: Callable[[], bool], call: Callable[[], None]) -> None:
        self._calls.append((condition, call))
        self._tell_drained()

    def _tell_drained(self) -> None:
        if self._calls:
            ready = [wait for wait in self._calls if wait[0]()]
            self._calls = [wait for wait in self._calls if wait not in ready]
            for _, call in ready:
                call()
        if self._waits_for_drain:
            with self._drained:
                self._drained.notify_all()

    def _live_stream(self) -> ResultQueue | None:
        return None if self._stream is None else self._stream()

    def on_results(self, results: Results) -> bool:
        self._next_index = results.index + 1
        self._futures.take(results)
        if self._calls or self._waits_for_drain:
            self._tell_drained()
        stream = None if self._stream is None else self._stream()
        if stream is None or results.index < self._stream_from:
            if self._closed_at is not None:
                self._detach_when_over()
            return True
        stream.push(results)
        return False

    def on_trimmed(self, begin: int, end: int) -> None:
        stream = self._live_stream()
        if stream is not None and end > self._stream_from:
            stream.skip_to(begin, end)

    def on_watch_failed(self, error: Error) -> None:
        self._watching = False
        stream = self._live_stream()
        if stream is not None:
            stream.fail(error)
        self._stream = None
        if error.code is Code.LOST_LINEAGE:
            # A stream's cursor of another lineage: futures have nothing to do with that.
            if self._futures_watch is not None:
                self._need_results(*self._futures_watch)
            return
        self._fail(error)

    def on_changed(self, change: SessionChanged) -> None:
        stream = self._live_stream()
        if stream is not None and change.state is SessionState.SUSPENDED:
            text = f"the session is suspended: {change.reason}"
            stream.fail(Error(Code.WRONG_STATE, text))
        elif stream is not None:
            stream.set_end(change.done_end, change.state is SessionState.CLOSED)
        if change.state is SessionState.CLOSED:
            self._closed_at = change.done_end
            self._detach_when_over()

    def _detach_when_over(self) -> None:
        """A client that lives long and opens many sessions does not keep what stands behind the
        closed ones."""
        over = self._closed_at is not None and self._next_index >= self._closed_at
        if over and self._is_idle() and self._live_stream() is None:
            self._closed_at = None
            text = f"session '{self.info.session}' is closed"
            self.connection.detach(self.uid, Error(Code.WRONG_STATE, text))

    def _is_idle(self) -> bool:
        return len(self.queue) == 0 and not self._taking and not self._futures

    def on_progress(self, progress: Progress) -> None:
        call = self.tell_progress
        if call is None:
            return
        self.wake_now()
        for report in progress.reports:
            try:
                call(report)
            except Exception:  # a user's; as with callbacks of futures
                logging.getLogger("flamepy").exception("a callback of on_progress raised")

    def on_lost(self, run: Run) -> None:
        self._futures.lose(run)

    def on_detached(self, error: Error) -> None:
        self.detached = True
        stream = self._live_stream()
        if stream is not None:
            stream.fail(error)
        self._fail(error)

    def _fail(self, error: Error) -> None:
        self._futures.fail_all(error)
        self.queue.close(error)
        self._tell_drained()

    def read_into(self, stream: ResultQueue, reader: str) -> None:
        """Results go to the stream too, from its cursor on, as long as somebody holds it."""
        before = self._live_stream()
        if before is not None:
            text = "another stream of the same session was opened"
            before.fail(Error(Code.INTERRUPTED, text))
        index = stream.cursor.index
        self._stream = weakref.ref(stream)
        self._stream_from = index
        # A watch that has not come so far yet delivers what is wanted; futures may need what is
        # before it.
        if self._watching and self._next_index <= index and not reader:
            return
        futures_wait = self._watching and bool(self._futures)
        self._next_index = min(self._next_index, index) if futures_wait else index
        self._watching = True
        self.connection.watch(self.uid, self._next_index, reader, stream.cursor.lineage)

    def _need_results(self, index: int, reader: str) -> None:
        if self._futures_watch is None:
            self._futures_watch = (index, reader)
        if self._watching:
            return
        self._watching = True
        self._next_index = index  # what came before is known: the first result of a task wins
        self.connection.watch(self.uid, index, reader, "")
