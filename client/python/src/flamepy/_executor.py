# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flamepy.Executor: functions and any objects, with the interface of concurrent.futures."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import itertools
import pickle
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Callable, cast

import cloudpickle

from flamepy._client import Connection, connect
from flamepy._future import Future
from flamepy._proto.limits import RUN_TASKS_MAX
from flamepy._session import Session
from flamepy._types import ApplicationAttributes
from flamepy._version import __version__
from flamepy.errors import BrokenWorkerError, FlameError
from flamepy.worker import BROKEN, PICKLED, Call, Work, python_version

_PROTOCOL = 5
_MAIN = b"__main__"


class Executor(concurrent.futures.Executor):
    """Runs Python functions on the cluster; anything that takes an executor takes this one.

    Functions and what they refer to travel by cloudpickle, once; arguments and results by pickle.
    The main module of the program is never imported again. `max_workers` bounds the instances that
    work at the same time. `initializer` runs in each worker before its first task.

    Each function that is used gets a session of its own, open until `shutdown`: use few functions
    many times rather than a new lambda for each call.
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
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._own_connection = connection is None
        self._connection = connection or connect(address)
        self._max_workers = max_workers
        self._initializer = cloudpickle.dumps((initializer, initargs), _PROTOCOL)
        self._lock = threading.Lock()
        self._application = ""
        self._path: list[str] = []
        self._sessions: dict[Any, tuple[Any, Session]] = {}
        self._shutdown = False

    # ---- the interface ---------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        session = self._session_of(fn)
        return session.run(_dumps(Call(args, kwargs) if kwargs else args))

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | str = False,
    ) -> Iterator[Any]:
        """Each item is a task of its own, whatever the chunksize: they travel in runs anyway.
        `progress` is True, or a label, for a bar of what is done."""
        session = self._session_of(fn)
        return session.map(
            _pickled(zip(*iterables), min(buffersize or RUN_TASKS_MAX, RUN_TASKS_MAX)),
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            progress=progress,
            total=_shortest(iterables),
        )

    def cancel(self, *, running: bool = False) -> None:
        """Cancels what has not started; with `running` what runs too: a function that does not come
        back within 5 s is killed with its process. The executor takes more."""
        for _, session in list(self._sessions.values()):
            session.cancel(running=running)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing can be submitted any more. With `cancel_futures` tasks that have not started are
        cancelled; the others finish."""
        with self._lock:
            if self._shutdown:
                return
            self._shutdown = True
        if wait:
            self._close(cancel_futures)
        else:
            thread = threading.Thread(target=self._close, args=(cancel_futures,), daemon=True)
            thread.start()

    def _close(self, cancel: bool) -> None:
        sessions = [session for _, session in self._sessions.values()]
        try:
            for session in sessions:
                if cancel:
                    session.close()
                else:
                    session.wait()
            for session in sessions:
                session.close()
                session.drain()
        except FlameError:
            if not self._own_connection:
                raise
        finally:
            if self._own_connection:
                self._connection.close()

    # ---- sessions --------------------------------------------------------------------------------

    def _session_of(self, fn: Callable[..., Any]) -> Session:
        try:
            found = self._sessions.get(fn)
            key: Any = fn
        except TypeError:  # not hashable
            found, key = self._sessions.get(id(fn)), id(fn)
        if found is not None and not self._shutdown:
            return found[1]
        with self._lock:
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if key not in self._sessions:
                # The function is kept, so that its id is not given to another one.
                self._sessions[key] = (fn, self._create_session(fn))
            return self._sessions[key][1]

    def _create_session(self, fn: Callable[..., Any]) -> Session:
        if not self._application:
            self._register()
        function = cloudpickle.dumps(fn, _PROTOCOL)
        work = Work(__version__, python_version(), self._path, function, self._initializer)
        session = self._connection.create_session(
            self._application,
            common_data=work.pack(),
            max_instances=self._max_workers,
        )
        return session.decoded(pickle.loads, _rebuild)

    def _register(self) -> None:
        """The interpreter is the client's own where the executors are on its host."""
        here = self._executors_are_here()
        interpreter = sys.executable if here else "python3"
        if here:
            self._path = [entry for entry in sys.path if entry]
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


def _dumps(arguments: Any) -> bytes:
    try:
        data = pickle.dumps(arguments, _PROTOCOL)
        if _MAIN not in data:
            return data
    except Exception:
        pass  # cloudpickle can more, or says why not
    # By value: the worker's main module is not the program's.
    return cast(bytes, cloudpickle.dumps(arguments, _PROTOCOL))


def _shortest(iterables: tuple[Iterable[Any], ...]) -> int | None:
    sized = [iterable for iterable in iterables if isinstance(iterable, Sized)]
    return min(map(len, sized)) if iterables and len(sized) == len(iterables) else None


def _pickled(calls: Iterator[Sequence[Any]], size: int) -> Iterator[bytes]:
    """Whole batches at a time, so that the usual case runs in C."""
    return itertools.chain.from_iterable(_batches(calls, size))


def _batches(calls: Iterator[Sequence[Any]], size: int) -> Iterator[list[bytes]]:
    protocols = itertools.repeat(_PROTOCOL)
    while True:
        batch = list(itertools.islice(calls, size))
        if not batch:
            return
        try:
            pickled = list(map(pickle.dumps, batch, protocols))
            plain = _MAIN not in b"".join(pickled)
        except Exception:
            plain = False
        yield pickled if plain else list(map(_dumps, batch))


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
