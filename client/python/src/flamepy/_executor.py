# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flamepy.Executor: functions and any objects, with the interface of concurrent.futures."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import itertools
import logging
import os
import pickle
import socket
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Callable, SupportsIndex, cast

from flamepy._by_value import by_value
from flamepy._client import Connection, connect
from flamepy._executor_end import ExecutorEnd
from flamepy._function_table import KEYWORDS, PROTOCOL, WHOLE, FunctionTable, Known, tail
from flamepy._future import Future
from flamepy._inputs import in_batches
from flamepy._proto.limits import RUN_TASKS_MAX
from flamepy._service import FLAME_INSTANCE_ENDPOINT, FLAME_INSTANCE_FD
from flamepy._session import Session
from flamepy._signature import P, R
from flamepy._stays_here import StaysHere
from flamepy._types import ApplicationAttributes
from flamepy._version import __version__
from flamepy._work import BROKEN, PICKLED, Work, python_version
from flamepy.errors import BrokenWorkerError

_MAIN = b"__main__"

_warned = False


class Executor(StaysHere, concurrent.futures.Executor):
    """Runs Python functions on the cluster; anything that takes an executor takes this one.

    Functions and what they refer to travel by cloudpickle, once; arguments and results by pickle.
    The main module of the program is never imported again. `max_workers` bounds the instances that
    work at the same time. `initializer` runs in each worker before its first task.

    All functions share one session, open until `shutdown`. One that is used again has a place in
    the session's common data; the first task of each brings its function along. So does each task
    of `submit` whose function is a method, an object or a partial: they are what they are then.

    In an event loop: `await loop.run_in_executor(executor, function, argument)`; `async with` shuts
    down without holding up the loop.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        connection: Connection | None = None,
        address: str | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if not isinstance(max_workers, (SupportsIndex, type(None))):
            raise TypeError(
                f"max_workers is a number, not {max_workers!r}; where the broker is says address="
            )
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if not isinstance(connection, (Connection, type(None))):
            kind = type(connection).__module__ + "." + type(connection).__qualname__
            raise TypeError(f"connection must be one of flamepy.connect, not a {kind}")
        _warn_in_a_service()
        self._initializer = by_value((initializer, initargs))
        self._connection = connection or connect(address)
        self._end = ExecutorEnd(self._connection, own_connection=connection is None)
        self._collected = weakref.finalize(self, self._end.close_soon)
        self._collected.atexit = False
        self._max_workers = max_workers
        self._lock = threading.Lock()
        self._application = ""
        self._path: list[str] = []
        self._functions = FunctionTable()
        self._session: Session | None = None
        self._shutdown = False

    @property
    def session(self) -> Session | None:
        """Of its functions: id, logs, events, counters. None until something was submitted."""
        return self._session

    def __repr__(self) -> str:
        session = f", session {self._session.id}" if self._session else ""
        end = ", shut down" if self._shutdown else ""
        name = self._application or "nothing yet"
        return f"<flamepy.Executor of {name} at {self._connection.addr}{session}{end}>"

    # ---- the interface ---------------------------------------------------------------------------

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        known = self._functions.find(fn)
        if known is None or self._shutdown:
            known = self._place_of(fn, once=True)
        assert self._session is not None
        run: Callable[[bytes], Future[Any]] = self._session.run
        if known is None:
            return run(_whole(fn, args, kwargs))
        if kwargs:
            return run(_dumps((args, kwargs)) + tail(known.number, KEYWORDS))
        return run(_dumps(args) + known.plain)

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | str = False,
    ) -> Iterator[R]:
        """Each item is a task of its own, whatever the chunksize: they travel in runs anyway.
        `progress` is True, or a label, for a bar of what is done. Where the iteration ends early
        (a call raised, the time is over, the iterator was closed), what is pending is cancelled."""
        known = self._place_of(fn, once=False)
        assert self._session is not None
        size = min(buffersize or RUN_TASKS_MAX, RUN_TASKS_MAX)
        inputs, total = _pickled(zip(*iterables), size, fn, known), _shortest(iterables)
        results = self._session._map(
            inputs, chunksize, timeout, buffersize, progress, total, cancels=True
        )
        return results if buffersize is None else self._kept_by(results)

    def _kept_by(self, results: Iterator[Any]) -> Iterator[Any]:
        """More is submitted while they are read."""
        yield from results

    def cancel(self, *, running: bool = False) -> None:
        """Cancels what has not started; with `running` what runs too: TaskCancelled is raised in
        the function, and one that does not come back within 5 s is killed with its process. The
        executor takes more."""
        if self._session is not None:
            self._session.cancel(running=running)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing can be submitted any more. With `cancel_futures` tasks that have not started are
        cancelled; the others finish."""
        with self._lock:
            if self._shutdown:
                return
            self._shutdown = True
        self._collected.detach()
        if wait:
            self._end.close(cancel_futures)
        else:
            self._end.close_soon(cancel_futures)

    async def __aenter__(self) -> Executor:
        return self

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        await asyncio.to_thread(self.shutdown)

    @property
    def is_shutdown(self) -> bool:
        return self._shutdown

    # ---- functions -------------------------------------------------------------------------------

    def _place_of(self, fn: Callable[..., Any], once: bool) -> Known | None:
        """In the session's table of functions; nothing where the task brings its function along.
        `once`: it may be used only this time."""
        with self._lock:
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            functions = self._functions
            if once:
                known = functions.find(fn)
                if known is not None:
                    return known
                if not functions.wants(fn):
                    self._open()
                    return None
            data = by_value(fn)
            if not functions.has(data):
                if not functions.has_room(data, once):
                    return None
                # Recorded before a task says the number: an instance has it before such a task.
                self._publish([*functions.pickled, data])
            return functions.add(fn, data)

    def _open(self) -> None:
        if self._session is None:
            self._publish([])

    def _publish(self, functions: list[bytes]) -> None:
        if not self._application:
            self._register()
        work = Work(__version__, python_version(), self._path, self._initializer, functions)
        if self._session is not None:
            self._session.update_common_data(work.pack())
            return
        session = self._connection.create_session(
            self._application, common_data=work.pack(), max_instances=self._max_workers
        )
        self._session = self._end.session = session.decoded(pickle.loads, _rebuild)

    def _register(self) -> None:
        """The interpreter is the client's own where the executors are on its host."""
        here = self._executors_are_here()
        interpreter = sys.executable if here else "python3"
        if here:
            self._path = list(map(os.path.abspath, sys.path))  # "" is the working directory
        text = f"{interpreter} {python_version()} {__version__}"
        name = "flamepy-" + hashlib.sha256(text.encode()).hexdigest()[:8]
        attributes = ApplicationAttributes(
            shim="native",
            command=interpreter,
            arguments=["-m", "flamepy.worker"],
            description=f"flamepy.Executor: Python {python_version()}, flamepy {__version__}",
        )
        self._connection.register_application(name, attributes)
        self._application = name

    def _executors_are_here(self) -> bool:
        hosts = {
            executor.address.rpartition(":")[0] for executor in self._connection.list_executors()
        }
        if not hosts:
            return self._connection.addr.startswith(("ipc://", "tcp://127.", "tcp://localhost"))
        return hosts == {socket.gethostname()}


def _warn_in_a_service() -> None:
    global _warned
    if _warned or not {FLAME_INSTANCE_FD, FLAME_INSTANCE_ENDPOINT} & os.environ.keys():
        return
    _warned = True
    logging.getLogger("flamepy").warning(
        "flamepy.Executor in a service: a task keeps its slot while it waits for others. Where all "
        "slots do so none goes on: let the outer executor have fewer (max_workers), or return what "
        "is to follow and submit it from the program"
    )


def _dumps(arguments: Any) -> bytes:
    try:
        data = pickle.dumps(arguments, PROTOCOL)
        if _MAIN not in data:
            return data
    except Exception:
        pass  # cloudpickle can more, or says why not
    # By value: the worker's main module is not the program's.
    return by_value(arguments)


def _shortest(iterables: tuple[Iterable[Any], ...]) -> int | None:
    sized = [iterable for iterable in iterables if isinstance(iterable, Sized)]
    return min(map(len, sized)) if iterables and len(sized) == len(iterables) else None


def _pickled(
    calls: Iterator[Sequence[Any]], size: int, fn: Callable[..., Any], known: Known | None
) -> Iterator[bytes]:
    if known is None:
        return (_whole(fn, tuple(call), {}) for call in calls)
    pickled = itertools.chain.from_iterable(in_batches(calls, size, _dumps_all))
    plain = known.plain
    return (data + plain for data in pickled) if plain else pickled


def _whole(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return _dumps((fn, args, kwargs)) + tail(0, WHOLE)


def _dumps_all(batch: list[Sequence[Any]]) -> list[bytes]:
    try:
        pickled = list(map(pickle.dumps, batch, itertools.repeat(PROTOCOL)))
        # One that raises StopIteration is the end for C.
        if _MAIN not in b"".join(pickled) and len(pickled) == len(batch):
            return pickled
    except Exception:
        pass
    return [_dumps(call) for call in batch]


class _RemoteTraceback(Exception):
    """The cause of an exception that was raised in a worker: shows where."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "\n" + self.text


def _rebuild(error: Any) -> BaseException:
    """The exception that the function raised, where it could come along."""
    text, found, pickled = error.message.rpartition(PICKLED)
    if error.message.startswith(BROKEN):
        broken = BrokenWorkerError(error.kind, error.message)
        broken.task_id = error.task_id
        return broken
    if not found:
        return cast(BaseException, error)
    try:
        raised = pickle.loads(base64.b64decode(pickled))
    except Exception:
        error.message = text
        return cast(BaseException, error)
    raised.__cause__ = _RemoteTraceback(text)
    return cast(BaseException, raised)
