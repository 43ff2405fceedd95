# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""@flamepy.task: a plain function that can also be run on the cluster."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Callable, Generic, overload

from flamepy._executor import Executor
from flamepy._future import Future
from flamepy._signature import P, R

_lock = threading.Lock()
_shared: tuple[int, Executor] | None = None
"""Of this process: a child of fork() begins with one of its own."""


class RemoteFunction(Generic[P, R]):
    """What @flamepy.task makes of a function. Called, it runs here, as ever; `submit` and `map` run
    it on the cluster, through the executor it was given, else one that all of them share, which is
    connected at the first use and ends with the program, after what was submitted."""

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], executor: Executor | None = None) -> None:
        if not callable(function):
            raise TypeError(f"@flamepy.task is for functions, not for {type(function).__name__}")
        functools.update_wrapper(self, function)
        self._executor = executor

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.__wrapped__(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """The result comes with the future."""
        return self.executor.submit(self.__wrapped__, *args, **kwargs)

    def map(
        self,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        buffersize: int | None = None,
        progress: bool | str = False,
    ) -> Iterator[R]:
        """Each item is a task of its own; results in their order."""
        return self.executor.map(
            self.__wrapped__,
            *iterables,
            timeout=timeout,
            buffersize=buffersize,
            progress=progress,
        )

    @property
    def executor(self) -> Executor:
        return self._executor or _shared_executor()

    def __reduce__(self) -> str | tuple[Any, ...]:
        # As functions do: by its name, where that can be imported. Connections do not travel.
        module = sys.modules.get(self.__module__)
        name = str(getattr(self, "__qualname__", ""))
        importable = module is not None and self.__module__ != "__main__"
        if importable and getattr(module, name, None) is self:
            return name
        return type(self), (self.__wrapped__,)

    def __repr__(self) -> str:
        return f"<flamepy.task {self.__wrapped__!r}>"


@overload
def task(function: Callable[P, R], /) -> RemoteFunction[P, R]: ...


@overload
def task(
    *, executor: Executor | None = None
) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...


def task(function: Callable[..., Any] | None = None, /, *, executor: Executor | None = None) -> Any:
    """Makes a function one that the cluster can run:

    @flamepy.task
    def square(x):
        return x * x

    square(3)                 # here
    square.submit(3).result() # there
    list(square.map(range(1000)))
    """
    if function is None:
        return functools.partial(RemoteFunction, executor=executor)
    return RemoteFunction(function, executor)


def _shared_executor() -> Executor:
    global _shared
    with _lock:
        if _shared is None or _shared[0] != os.getpid() or _shared[1].is_shutdown:
            _shared = os.getpid(), Executor()
        return _shared[1]
