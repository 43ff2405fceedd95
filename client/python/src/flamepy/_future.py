# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A future that costs two pointers until somebody waits for it.

The standard Future takes 1.7 kB and 5 us, most of it a condition variable. This one is a view of a
run (`_run_state.py`): it makes what the standard library's `wait` and `as_completed` want only when
they ask for it, and is an instance of the standard class, so they accept it.
"""

from __future__ import annotations

import concurrent.futures
import logging
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import Any, Callable, TypeVar

from flamepy._proto.errors import Error
from flamepy._run_state import Decoded, Raised, RunState, Watch
from flamepy._stays_here import StaysHere
from flamepy.errors import Code, FlameError, TaskCancelledError, TaskError, exception_of

_log = logging.getLogger("flamepy")

_CANCEL_SECONDS = 30.0
_LOOK_SECONDS = 0.05

T = TypeVar("T")


class Future(StaysHere, concurrent.futures.Future[T]):
    """The result of one task: bytes, or what the session's decoder makes of them.

    A callback runs on the connection's own thread and must return quickly; it must not wait for
    another future.
    """

    __slots__ = ("_index", "_run")

    def __init__(self, run: RunState, index: int) -> None:
        # The base class' __init__ is left out on purpose: it makes the condition.
        self._run = run
        self._index = index

    # ---- what the standard functions reach for ---------------------------------------------------

    @property
    def _watch(self) -> Watch:
        return self._run.watch(self._index, self)

    @property
    def _condition(self) -> Any:  # type: ignore[override]
        return self._watch.lock

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._watch.waiters

    @property
    def _state(self) -> str:  # type: ignore[override]
        # A watched future changes its state under the lock of its watch, with its waiters.
        watch = self._run.watches.get(self._index)
        finished = self._run.is_done(self._index) if watch is None else watch.finished
        if not finished:
            return PENDING
        return CANCELLED_AND_NOTIFIED if self.cancelled() else FINISHED

    # Python 3.14 reads both at once.

    @property
    def _exception(self) -> BaseException | None:  # type: ignore[override]
        return self.exception(0)

    @property
    def _result(self) -> Any:  # type: ignore[override]
        return None if self.exception(0) is not None else self.result(0)

    # ---- the face --------------------------------------------------------------------------------

    @property
    def task_id(self) -> int:
        """1, 2, 3 ... within the session. Waits until the broker has given it."""
        self._run.wait_for_id(None)
        if self._run.refusal is not None:
            raise exception_of(self._run.refusal)
        return self._run.first + self._index

    def done(self) -> bool:
        return self._run.is_done(self._index)

    def running(self) -> bool:
        return False

    def cancelled(self) -> bool:
        """True where the task was cancelled, or its session closed before it ran."""
        outputs = self._run.outputs
        output = None if outputs is None else outputs[self._index]
        if type(output) is Error:
            return output.code is Code.TASK_CANCELLED
        return type(output) is Raised and isinstance(output.exception, TaskCancelledError)

    def cancel(self) -> bool:
        """True if the task is cancelled, now or before; False if it runs or has finished. Asks the
        broker: for many tasks Session.cancel is the way.

        In an event loop (asyncio cancels there what awaits this future) and in a callback it asks
        without waiting, many of them together, and is False: `cancelled` is True later."""
        run = self._run
        if run.owner is None or self.done():
            return self.cancelled()
        if run.owner.must_not_wait():
            run.owner.cancel_soon(run, self._index)
            return False
        if run.owner.cancel(self.task_id, _CANCEL_SECONDS):
            run.wait(self._index, _CANCEL_SECONDS)  # its result is on the way
        return self.cancelled()

    def result(self, timeout: float | None = None) -> T:
        run = self._run
        outputs = run.outputs
        output: Any = None if outputs is None else outputs[self._index]
        if output is None:
            if not run.wait(self._index, timeout):
                raise time_out_of(run, timeout)
            assert run.outputs is not None
            output = run.outputs[self._index]
        if type(output) is bytes and run.decode is None:
            return output  # type: ignore[return-value]  # T is bytes
        return self._read(output)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        try:
            self.result(timeout)
        except concurrent.futures.TimeoutError:
            if not self.done():
                raise
        except BaseException:
            if not self.done():
                raise
        assert self._run.outputs is not None
        output = self._run.outputs[self._index]
        if type(output) is not Raised:
            return None
        if isinstance(output.exception, TaskCancelledError):
            raise output.exception  # as the standard futures
        return output.exception

    def _read(self, output: Any) -> T:
        """Decodes once; later calls get the same object."""
        if type(output) is bytes:
            try:
                assert self._run.decode is not None
                output = Decoded(self._run.decode(output))
            except Exception as error:
                output = Raised(error)
        elif type(output) is Error:
            output = Raised(failure_of(self._run, self._index, output))
        assert self._run.outputs is not None
        self._run.outputs[self._index] = output
        if type(output) is Raised:
            try:
                raise output.exception
            finally:
                self = None  # type: ignore[assignment]  # no cycle through the traceback
        value: T = output.value
        return value

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        watch = self._watch
        with watch.lock:
            if not watch.finished:
                watch.callbacks.append(fn)
                return
        self.call_back(fn)

    def call_back(self, fn: Callable[[Any], Any]) -> None:
        try:
            fn(self)
        except Exception:
            _log.exception("exception calling callback for %r", self)

    def set_running_or_notify_cancel(self) -> bool:
        raise self._not_yours()

    def set_result(self, result: Any) -> None:
        raise self._not_yours()

    def set_exception(self, exception: BaseException | None) -> None:
        raise self._not_yours()

    def _not_yours(self) -> FlameError:
        return FlameError(Code.WRONG_STATE, "the result of a task is set by its service alone")

    def __repr__(self) -> str:
        first = self._run.first
        task = f"task {first + self._index}" if first else "task not acknowledged yet"
        return f"<flamepy.Future {task}, {self._state.lower()}>"


def time_out_of(run: RunState, timeout: float | None) -> concurrent.futures.TimeoutError:
    """It says why the session waits, unless the wait was so short that somebody only looks."""
    why = ""
    if run.owner is not None and (timeout is None or timeout >= _LOOK_SECONDS):
        why = run.owner.why_it_waits()
    return concurrent.futures.TimeoutError("no result in time" + why)


def failure_of(run: RunState, index: int, error: Error) -> BaseException:
    exception: BaseException = exception_of(error)
    if isinstance(exception, TaskError):
        exception.task_id = run.first + index if run.first else None
        if run.rebuild is not None:
            return run.rebuild(exception)
    return exception
