# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The service behind flamepy.Executor: `python -m flamepy.worker`, started by a flame-executor.

The session's common data brings one function, pickled by value; a task's input are its arguments,
its output is the pickled result. What cannot be served (another Python, a failed initializer) is
every task's failure: a refused session would leave its tasks waiting.
"""

from __future__ import annotations

import base64
import pickle
import platform
import sys
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, cast

import cloudpickle
import msgpack

from flamepy._proto import limits
from flamepy._service import (
    BatchContext,
    FlameService,
    Output,
    SessionContext,
    TaskFailure,
    reason_of,
    run,
)
from flamepy._version import __version__

__all__ = ["BROKEN", "PICKLED", "Work", "Worker", "python_version"]

BROKEN = "The worker cannot serve: "
PICKLED = "\n\npickled: "
"""Before the exception itself in a reason, where it fits."""
_PICKLED_BYTES_MAX = 2048


def python_version() -> str:
    return ".".join(platform.python_version_tuple()[:2])


class Work(NamedTuple):
    """The common data of an executor's session. Versions come first: what follows is read only
    where they are equal."""

    flamepy: str
    python: str
    path: list[str]
    """Where the client finds its modules; empty on another host."""
    function: bytes
    initializer: bytes

    def pack(self) -> bytes:
        return cast(bytes, msgpack.packb(self))

    @classmethod
    def unpack(cls, data: bytes) -> Work:
        return cls(*msgpack.unpackb(data))


class Call:
    """Arguments with keywords; without, they travel as a plain tuple."""

    __slots__ = ("arguments", "keywords")

    def __init__(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.arguments = arguments
        self.keywords = keywords


class Worker(FlameService):
    def __init__(self) -> None:
        self._function: Callable[..., Any] = print
        self._broken = ""

    def on_session_enter(self, context: SessionContext) -> None:
        self._broken = ""
        try:
            self._enter(Work.unpack(context.common_data() or b""))
        except Exception as error:
            self._broken = BROKEN + reason_of(error, reserve=len(BROKEN))

    def _enter(self, work: Work) -> None:
        theirs, ours = (work.flamepy, work.python), (__version__, python_version())
        if theirs != ours:
            raise RuntimeError(
                "the client has flamepy {} with Python {}, this executor flamepy {} with "
                "Python {}; install the same here".format(*theirs, *ours)
            )
        sys.path.extend(entry for entry in work.path if entry not in sys.path)
        self._function = pickle.loads(work.function)
        initializer, arguments = pickle.loads(work.initializer)
        if initializer is not None:
            initializer(*arguments)

    def on_batch(self, batch: BatchContext) -> Iterator[Output]:
        if self._broken:
            for _ in batch.inputs:
                yield TaskFailure(self._broken)
            return
        function, loads, dumps = self._function, pickle.loads, _dumps
        for data in batch.inputs:
            try:
                call = loads(data)
                if type(call) is tuple:
                    output: Output = dumps(function(*call))
                else:
                    output = dumps(function(*call.arguments, **call.keywords))
            except BaseException as error:
                output = TaskFailure(_reason_with(error))
            yield output


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, 5)
    except Exception:  # of a class of the client's main module, for example
        return cast(bytes, cloudpickle.dumps(value, 5))


def _reason_with(error: BaseException) -> str:
    """The text, and the exception itself where it is small enough to go along."""
    try:
        pickled = base64.b64encode(_dumps(error)).decode()
    except Exception:
        return reason_of(error)
    if len(pickled) > _PICKLED_BYTES_MAX:
        return reason_of(error)
    text = reason_of(error, reserve=len(PICKLED) + len(pickled))
    whole = text + PICKLED + pickled
    return whole if len(whole.encode("utf-8", "replace")) <= limits.REASON_BYTES_MAX else text


if __name__ == "__main__":
    # As the module that the client names too, so that both mean the same classes.
    from flamepy import worker

    run(worker.Worker())
