# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""How a service hears that the task in its hands is cancelled: the pipe behind FLAME_CANCEL_FD
(shims/native_protocol.hpp) raises a signal, whose handler raises TaskCancelled in the task."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import threading
from typing import Any, Callable

_RECORD = struct.Struct("<QQ")


class TaskCancelled(BaseException):
    """Raised in on_task_invoke when its task was cancelled, and in on_batch when one of its tasks
    was; clean up and let it pass. Whatever the task returns is thrown away, and 5 s after the
    cancel its process is killed. on_batch is called again with the tasks that are left."""


class Cancellations:
    """Of the main thread, where Python handles signals; elsewhere nothing is ever raised."""

    def __init__(self) -> None:
        self._chunk: tuple[int, list[Any], Any] | None = None
        """Tasks in hand, which may be interrupted: the first one's number, all of them, and an
        iterator of the list that has passed those that began."""
        self._batch: tuple[int, int] | None = None
        """The same for a batch: which of its tasks is in hand nobody knows. First and end of those
        without an output."""
        self._known = 0
        """So many of `runs` the batch was told of, or was called without."""
        self.runs: list[tuple[int, int]] = []
        """First task and how many; of the session that was entered."""
        self.listener: Callable[[], None] | None = None
        """Called instead, by a service that has several tasks in hand at once."""
        self._fd = -1
        text = os.environ.get("FLAME_CANCEL_FD", "")
        if text.isdecimal() and threading.current_thread() is threading.main_thread():
            self._listen(int(text))

    def _listen(self, fd: int) -> None:
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            os.set_inheritable(fd, False)
            # First the handler: without one the signal ends the process.
            signal.signal(signal.SIGIO, self._on_signal)
            fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
        except OSError:
            return  # not a descriptor of an executor's
        self._fd = fd

    def close(self) -> None:
        """At the end of the interpreter there is no handler any more, and the signal would kill."""
        if self._fd >= 0:
            flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags & ~os.O_ASYNC)

    def forget(self) -> None:
        """A session begins: what came before belongs to another one."""
        self._read()
        self.runs.clear()
        self._known = 0

    def enter(self, first: int, chunk: list[Any], taken: Any) -> None:
        self._chunk = first, chunk, taken

    def enter_batch(self, first: int, end: int) -> None:
        self._batch = first, end
        self._tell()  # what came before nobody was there to hear

    def leave(self) -> None:
        self._chunk = self._batch = None

    def begin(self) -> None:
        """A batch is about to be called, without the tasks that are cancelled already."""
        self._known = len(self.runs)

    def next_one(self, first: int, end: int) -> int:
        """The first of these tasks that is cancelled, else `end`."""
        begins = [max(first, begin) for begin, count in self.runs if begin + count > first]
        return min([*begins, end])

    def told(self, first: int, end: int) -> bool:
        """Whether one of these was cancelled since begin()."""
        return self.next_one(first, end) < end

    def _tell(self) -> None:
        if self._batch is None:
            return
        first, end = self._batch
        fresh = [(begin, begin + count) for begin, count in self.runs[self._known :]]
        self._known = len(self.runs)
        if any(begin < end and first < until for begin, until in fresh):
            self._batch = None
            raise TaskCancelled(f"one of the tasks {first} to {end - 1} was cancelled")

    def contains(self, task: int) -> bool:
        return any(first <= task < first + count for first, count in self.runs)

    def _read(self) -> None:
        if self._fd < 0:
            return
        try:
            while data := os.read(self._fd, 64 * _RECORD.size):
                self.runs.extend(_RECORD.iter_unpack(data))
        except BlockingIOError:
            pass

    def _on_signal(self, *_: Any) -> None:
        self._read()
        if self.listener is not None:
            self.listener()
        if self._chunk is None:
            self._tell()
            return
        first, chunk, taken = self._chunk
        begun = len(chunk) - taken.__length_hint__()
        if any(self.contains(first + index) for index in range(begun, len(chunk))):
            del chunk[begun:]  # whoever calls looks at these one by one
        task = first + begun - 1
        if begun and self.contains(task):
            self._chunk = None
            raise TaskCancelled(f"task {task} was cancelled")
