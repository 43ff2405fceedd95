# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Entries of `done` on their way from the I/O thread to the one that reads them. Bounded by the
delivery window: an entry is acknowledged to the broker when its last task was read."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from flamepy._future_table import outputs_of
from flamepy._html import html_of
from flamepy._proto.errors import Code, Error
from flamepy._proto.messages import Results, SessionInfo
from flamepy.errors import FlameError, exception_of


class Cursor(NamedTuple):
    """A place in a session's list of results; valid as long as the lineage lives."""

    lineage: str = ""
    index: int = 0  # type: ignore[assignment]
    session: str = ""
    """Whose it is: its id, '#' and its number; "" where that is not said."""

    def __str__(self) -> str:
        return f"{self.lineage}:{self.index}" + (self.session and f"@{self.session}")

    @classmethod
    def of(cls, after: Any) -> Cursor:
        """What a caller says: a cursor, its text, or nothing for the begin."""
        if isinstance(after, str):
            return cls.parse(after)
        if after is None or isinstance(after, cls):
            return after or cls()
        text = f"`after` is a cursor (of results(), or its text), not {type(after).__name__}"
        raise FlameError(Code.BAD_REQUEST, text)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        place, at, session = text.partition("@")
        lineage, _, index = place.rpartition(":")
        if not index.isdecimal() or (at and not session):
            raise FlameError(
                Code.BAD_REQUEST,
                f"'{text[:60]}' is no cursor; one looks like LINEAGE:INDEX@SESSION, and 0 is the "
                "begin",
            )
        return cls(lineage, int(index), session)


def cursor_in(info: SessionInfo, cursor: Cursor, lineage: str) -> Cursor:
    """Where this session is read from: what the cursor does not say is filled in; where it says
    nothing, from the first result that is kept."""
    ours = f"{info.session}#{info.uid}"
    if cursor.session not in ("", ours):
        raise FlameError(
            Code.BAD_REQUEST,
            f"the cursor is one of session {cursor.session[:160]}, and this is session {ours}; "
            "without a cursor it is read from its begin",
        )
    index = info.done_first if cursor[:2] == ("", 0) else cursor.index
    return Cursor(cursor.lineage or lineage, index, ours)


class TaskResult(NamedTuple):
    """What became of one task."""

    task_id: int
    output: bytes
    error: FlameError | None
    executor: str
    attempt: int

    @property
    def ok(self) -> bool:
        return self.error is None

    def columns(self) -> dict[str, Any]:
        """What a table shows of it."""
        found = self._asdict()
        del found["output" if self.error is not None else "error"]
        return found

    def _repr_html_(self) -> str:
        return html_of(self.columns())


class ResultQueue:
    def __init__(
        self,
        cursor: Cursor,
        follow: bool,
        consumed: Callable[[int], None],
        wake: Callable[[], None] | None = None,
    ) -> None:
        """`consumed` is called, by the reading thread, with the index behind each entry read;
        `wake`, if the reader does not wait in pop(), by the I/O thread."""
        self._changed = threading.Condition()
        self._wake = wake
        self._cursor = cursor  # behind the last entry that was read as a whole
        self._follow = follow
        self._consumed = consumed
        self._entries: deque[Results] = deque()
        self._end: int | None = None  # entries known to exist
        self._closed = False
        self._failure: Error | None = None

    # ---- by the I/O thread -----------------------------------------------------------------------

    def push(self, results: Results) -> None:
        with self._changed:
            self._entries.append(results)
            self._tell()

    def set_end(self, done_end: int, closed: bool) -> None:
        """The session has `done_end` entries, and will not have more if `closed`."""
        with self._changed:
            # Without follow, the end is what was done when the stream began.
            if self._follow or self._end is None:
                self._end = done_end
            self._closed = self._closed or closed
            self._tell()

    def skip_to(self, begin: int, end: int) -> None:
        with self._changed:
            self._cursor = self._cursor._replace(index=max(self._cursor.index, end))
            text = (
                f"results {begin} to {end - 1} were dropped before they were read; read on behind "
                "them"
            )
            self._failure = Error(Code.TRIMMED, text)
            self._tell()

    def fail(self, error: Error) -> None:
        """Raised after what is queued was read."""
        with self._changed:
            self._failure = error
            self._tell()

    def _tell(self) -> None:
        self._changed.notify()
        if self._wake is not None:
            self._wake()

    # ---- by the reader ---------------------------------------------------------------------------

    def __del__(self) -> None:
        # What nobody reads any more must not fill the delivery window.
        if self._entries:
            self._consumed(self._entries[-1].index + 1)

    @property
    def cursor(self) -> Cursor:
        return self._cursor

    def _at_end(self) -> bool:
        at_end = self._end is not None and self._cursor.index >= self._end
        return at_end and (self._closed or not self._follow)

    def ready(self) -> bool:
        """pop() does not wait."""
        return bool(self._entries) or self._failure is not None or self._at_end()

    def pop(self, deadline: float | None) -> Results | None:
        """A whole entry; nothing at the end."""

        with self._changed:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._changed.wait_for(self.ready, wait):
                raise exception_of(Error(Code.TIMEOUT, "no further result in time"))
            if self._entries:
                return self._entries.popleft()
            if self._failure is None:
                return None
            error = self._failure
            if error.code is Code.TRIMMED:
                self._failure = None
        raise exception_of(error)

    def finish(self, index: int) -> None:
        with self._changed:
            self._cursor = self._cursor._replace(index=max(self._cursor.index, index + 1))
        self._consumed(index + 1)


class ResultStream:
    """Results in the order of completion: `for result in session.results(): ...`

    `cursor` is where to go on later: `session.results(after=cursor)`. It moves by whole entries, so
    after a crash the last few results may come again, and none is missed.
    """

    def __init__(self, queue: ResultQueue, timeout: float | None, owner: Any) -> None:
        self._queue = queue
        self._timeout = timeout
        self._owner = owner
        self._tasks = _tasks_of(queue, timeout, owner)

    @property
    def cursor(self) -> Cursor:
        return self._queue.cursor

    def __iter__(self) -> Iterator[TaskResult]:
        return self

    def __next__(self) -> TaskResult:
        try:
            return next(self._tasks)
        except FlameError:
            # After `trimmed` or a time-out one may read on.
            self._tasks = _tasks_of(self._queue, self._timeout, self._owner)
            raise


# Not a method: a generator that held the stream would keep it alive, and the stream's end is what
# makes room for other results.
def _tasks_of(queue: ResultQueue, timeout: float | None, owner: Any) -> Iterator[TaskResult]:
    while True:
        owner.check_wait()
        deadline = None if timeout is None else time.monotonic() + timeout
        entry = queue.pop(deadline)
        if entry is None:
            return
        yield from tasks_of_entry(entry)
        queue.finish(entry.index)


def tasks_of_entry(entry: Results) -> Iterator[TaskResult]:
    attempt = max(1, entry.attempt)
    for task_id, output in enumerate(outputs_of(entry), entry.run.first):
        if type(output) is bytes:
            yield TaskResult(task_id, output, None, entry.executor, attempt)
        else:
            yield TaskResult(task_id, b"", exception_of(output), entry.executor, attempt)
