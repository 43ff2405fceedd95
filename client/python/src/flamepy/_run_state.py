# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What the tasks of one run share: one lock for up to 1,024 of them, and a list of outputs in which
whole slices arrive.

An output is None while it is missing, then bytes, or an Error. Nothing is done per task unless
somebody waits for that one: a `Watch`.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, Callable

from flamepy._proto.errors import Code, Error
from flamepy._proto.messages import Run

Decode = Callable[[bytes], Any]
Rebuild = Callable[[Any], BaseException]
Sink = Callable[[int, int], None]


class Watch:
    """Of one future that somebody waits for by the standard library's means or a callback.

    concurrent.futures.wait and as_completed take `lock`, read the state and add a waiter; so the
    state changes under it too. It is a plain lock and one per future: they take many in the order
    of the futures' ids, which a shared lock would break.
    """

    __slots__ = ("callbacks", "finished", "future", "lock", "waiters")

    def __init__(self, future: Any, finished: bool) -> None:
        self.lock = threading.Lock()
        self.future: Any = None if finished else future
        self.finished = finished
        self.waiters: list[Any] = []
        self.callbacks: list[Callable[[Any], Any]] = []

    def finish(self, output: Any) -> None:
        tell = "add_result"
        if type(output) is Error:
            cancelled = output.code is Code.TASK_CANCELLED
            tell = "add_cancelled" if cancelled else "add_exception"
        with self.lock:
            if self.finished:
                return
            self.finished = True
            future, self.future = self.future, None
            callbacks, self.callbacks = self.callbacks, []
            for waiter in self.waiters:
                getattr(waiter, tell)(future)
        for callback in callbacks:
            future.call_back(callback)


class Decoded:
    """Stands in place of an output that was read once: reading again gives the same object."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Raised:
    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


class RunState:
    __slots__ = (
        "_lock",
        "_waiting",
        "_waiting_for_id",
        "bytes",
        "count",
        "decode",
        "failed",
        "first",
        "inputs",
        "kind",
        "left",
        "outputs",
        "owner",
        "payload",
        "rebuild",
        "refusal",
        "sink",
        "watches",
    )

    def __init__(
        self, owner: Any = None, decode: Decode | None = None, rebuild: Rebuild | None = None
    ) -> None:
        self._lock = threading.Lock()
        # Locks of threads that wait, each released to wake one: a Condition would take a tenth of a
        # round trip. Two lists, so that nobody is woken for nothing.
        self._waiting_for_id: list[Any] = []
        self._waiting: list[Any] = []
        self.owner = owner
        """Keeps the session's state alive; asked before a wait whether waiting makes sense."""
        self.decode = decode
        self.rebuild = rebuild
        """Makes what a future raises from a task's failure."""
        self.first = 0
        """The first task's id, once acknowledged."""
        self.count = 0
        """Of an open run not before it is sealed."""
        self.left = 0
        """Outputs that are missing, once sealed."""
        self.failed = 0
        self.inputs: list[bytes] = []
        """Of a run that is open; what is in here is submitted."""
        self.payload: bytes | None = None
        """The same of a run that was made whole, until it is taken."""
        self.kind: object = None
        self.bytes = 0
        self.outputs: list[Any] | None = None
        """Not before the run is sealed."""
        self.refusal: Error | None = None
        self.watches: dict[int, Watch] = {}
        self.sink: Sink | None = None
        """Told on the I/O thread of each slice that came, by its begin and end; by (0, 0) that the
        run is acknowledged."""

    # ---- by the I/O thread -----------------------------------------------------------------------

    def seal(self) -> list[bytes]:
        """No task is added any more. The inputs, which are not kept here."""
        with self._lock:
            inputs, self.inputs = self.inputs, []
            if self.outputs is None:
                self.count = self.left = self.count or len(inputs)
                self.outputs = [None] * self.count
            return inputs

    def acknowledge(self, first: int) -> None:
        with self._lock:
            self.first = first
            if self._waiting_for_id:
                self._wake(self._waiting_for_id)
        self._tell(0, 0)

    @property
    def run(self) -> Run:
        return Run(self.first, self.count)

    def take(self, first: int, outputs: list[Any]) -> int:
        """Takes the outputs of tasks from `first` on that are in this run; how many were new."""
        begin = max(first, self.first)
        end = min(first + len(outputs), self.first + self.count)
        if begin >= end:
            return 0
        part = outputs
        if end - begin != len(outputs):
            part = outputs[begin - first : end - first]
        return self.put(begin - self.first, part)

    def put(self, at: int, part: list[Any]) -> int:
        """The outputs of its tasks from the one at `at` on; nothing for those left out. How many
        were new."""
        with self._lock:
            assert self.outputs is not None
            end = at + len(part)
            before = self.outputs[at:end]
            if before.count(None) != len(part):  # the first result wins
                part = [new if old is None else old for new, old in zip(part, before)]
            fresh = before.count(None) - part.count(None)
            self.outputs[at:end] = part
            self.left -= fresh
            if fresh:
                self.failed += list(map(type, part)).count(Error)
            finished = self._finished_watches(at, end) if self.watches else []
            if self._waiting:
                self._wake(self._waiting)
            if self.refusal is not None and self._waiting_for_id:
                self._wake(self._waiting_for_id)
        if finished and self.owner is not None:
            self.owner.wake_now()  # callbacks are the user's, and may wait for who waits
        for watch, output in finished:
            watch.finish(output)
        if self.sink is not None:
            self._tell(at, end)
        return fresh

    def _wake(self, waiting: list[Any]) -> None:
        if self.owner is not None:
            self.owner.wake_later(waiting)
        else:
            release_all(waiting)
        waiting.clear()

    def _tell(self, at: int, end: int) -> None:
        sink = self.sink  # taken away by another thread when it has heard everything
        if sink is not None:
            sink(at, end)

    def fail(self, error: Error, refused: bool = False) -> None:
        """All tasks without a result fail with this. `refused`: the submit itself was."""
        self.seal()
        if refused:
            self.refusal = error
        assert self.outputs is not None
        self.put(0, [error if output is None else None for output in self.outputs])

    def lose(self, run: Run) -> None:
        """Tasks of `run` without a result were lost by the store."""
        begin, end = max(run.first, self.first), min(run.end, self.first + self.count)
        lost = Error(Code.LOST_BY_STORE, "Redis lost the task after it was acknowledged")
        if begin < end:
            self.put(begin - self.first, [lost] * (end - begin))

    def _finished_watches(self, at: int, end: int) -> list[tuple[Watch, Any]]:
        assert self.outputs is not None
        found = []
        for index, watch in self.watches.items():
            if at <= index < end and self.outputs[index] is not None:
                found.append((watch, self.outputs[index]))
        return found

    # ---- by whoever holds futures ----------------------------------------------------------------

    def is_done(self, index: int) -> bool:
        outputs = self.outputs
        return outputs is not None and outputs[index] is not None

    def watch(self, index: int, future: Any) -> Watch:
        with self._lock:
            watch = self.watches.get(index)
            if watch is None:
                watch = self.watches[index] = Watch(future, self.is_done(index))
            return watch

    def wait(
        self, index: int, timeout: float | None, start: Callable[[], None] | None = None
    ) -> bool:
        """False: the time is over. `start` is called just before this thread sleeps, if it does."""
        return self.is_done(index) or self._wait(partial(self.is_done, index), timeout, start=start)

    def wait_all(self, timeout: float | None) -> bool:
        return self.all_done() or self._wait(self.all_done, timeout)

    def end_of_done(self, begin: int) -> int:
        """The first task from `begin` on that has no output; the count where all have one."""
        with self._lock:
            outputs = self.outputs
            if outputs is None:
                return begin
            if self.left == 0:
                return self.count
            missing = (index for index in range(begin, self.count) if outputs[index] is None)
            return next(missing, self.count)

    @property
    def done(self) -> int:
        """How many have a result."""
        return 0 if self.outputs is None else self.count - self.left

    def wait_for_id(self, timeout: float | None) -> bool:
        return self._wait(lambda: self.first != 0 or self.refusal is not None, timeout, for_id=True)

    def all_done(self) -> bool:
        return self.outputs is not None and self.left == 0

    def _wait(
        self,
        condition: Callable[[], bool],
        timeout: float | None,
        for_id: bool = False,
        start: Callable[[], None] | None = None,
    ) -> bool:
        if self.owner is not None:
            self.owner.check_wait()
        until = None if timeout is None else time.monotonic() + timeout
        mine = threading.Lock()
        mine.acquire()
        while True:
            with self._lock:
                if condition():
                    return True
                waiting = self._waiting_for_id if for_id else self._waiting
                waiting.append(mine)
            left = -1 if until is None else max(0.0, until - time.monotonic())
            if start is not None:
                start()
                start = None
            if not mine.acquire(timeout=left):
                with self._lock:
                    if mine in waiting:
                        waiting.remove(mine)
                    return condition()


def release_all(locks: list[Any]) -> None:
    for lock in locks:
        lock.release()
