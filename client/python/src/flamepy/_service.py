# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The service side: what runs your tasks. Derive from FlameService, give it to run(), and register
the program as an application with `shim: native`. An executor starts the program, once per slot,
and all calls come on one thread. With `shim: grpc` it is served by `_grpc_service.py`."""

from __future__ import annotations

import inspect
import io
import os
import socket
import struct
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from flamepy._batch_calls import BatchCalls
from flamepy._calls import Calls, Output, TaskFailure, exactly, reason_of
from flamepy._cancellations import Cancellations
from flamepy._proto import limits
from flamepy._proto.elements import BadElements, pack_elements, unpack_elements

if TYPE_CHECKING:
    from flamepy._async_calls import AsyncCalls

T = TypeVar("T")

__all__ = [
    "FLAME_INSTANCE_ENDPOINT",
    "ApplicationContext",
    "BatchContext",
    "FlameService",
    "SessionContext",
    "TaskContext",
    "TaskFailure",
    "run",
]

FLAME_INSTANCE_FD = "FLAME_INSTANCE_FD"
"""The variable that names the socket of a service behind the native shim."""
FLAME_INSTANCE_ENDPOINT = "FLAME_INSTANCE_ENDPOINT"
"""The variable that names the unix socket of a service behind the grpc shim."""


@dataclass
class ApplicationContext:
    """Behind the native shim only the name is known."""

    name: str
    image: str | None = None
    command: str | None = None
    working_directory: str | None = None
    url: str | None = None


@dataclass
class SessionContext:
    _common_data: bytes | None
    session_id: str
    application: ApplicationContext

    def common_data(self) -> bytes | None:
        """What the session was created with; nothing where it has none."""
        return self._common_data


class _TaskFields(NamedTuple):
    number: int
    """1, 2, 3 ... within the session."""
    session_id: str
    input: bytes
    attempt: int
    """Above 1: an earlier executor or service was lost with the task in hand."""


class TaskContext(_TaskFields):
    __slots__ = ()

    def __new__(
        cls, task_id: str, session_id: str, input: bytes | None = None, attempt: int = 1
    ) -> TaskContext:
        """For tests of a service."""
        return tuple.__new__(cls, (int(task_id), session_id, input or b"", attempt))

    @property
    def task_id(self) -> str:
        return str(self.number)

    def progress(self, percent: int, text: str = "") -> None:
        """How far the task is, 0 to 100 %, and a line to it: whoever watches the session or the
        task sees the last one. On the thread that serves; more than ten a second are not passed
        on."""
        if _server is not None:
            _server.progress(self.number, percent, text)


class BatchContext(NamedTuple):
    first: int
    """The first task's number; the others follow."""
    session_id: str
    inputs: list[bytes]
    attempt: int


class FlameService:
    """Raising fails the task with the exception's text and traceback; the service goes on. Each
    method may be `async def`."""

    def on_session_enter(self, context: SessionContext) -> Any:
        """Once per session. Raising refuses it: the executor reports the text and tries again."""

    def on_task_invoke(self, context: TaskContext) -> Output | Awaitable[Output]:
        """Once per task; the output has at most 64 MiB. None is an empty one. Where the task is
        cancelled meanwhile, TaskCancelled is raised in it; in a coroutine asyncio.CancelledError.
        All tasks of a frame (as on_batch) are in a coroutine at the same time."""
        raise NotImplementedError(f"{type(self).__name__} has no on_task_invoke")

    def on_session_leave(self) -> Any:
        """The process may enter another session of the same application afterwards."""

    def on_batch(
        self, context: BatchContext
    ) -> Iterable[Output] | AsyncIterator[Output] | Awaitable[Iterable[Output] | None] | None:
        """For services that are faster with many tasks at once: gets all tasks of a frame (1 to
        1,024, as many as take about 2 ms), returns as many outputs in their order, or an iterator
        of them: then the first may leave before the last are there. Raising fails all that are
        missing. Without this method, or where it returns None, on_task_invoke is called for
        each. Where one of the tasks is cancelled meanwhile, TaskCancelled is raised in it, and it
        is called again with those that have no output; not in a coroutine."""
        return None


def run(service: FlameService) -> None:
    """Serves until the executor closes the connection or, behind the grpc shim, ends the process.
    Exits with 2 and a sentence where the program was not started by an executor."""
    log_by_lines()
    descriptor = os.environ.get(FLAME_INSTANCE_FD, "")
    if not descriptor and os.environ.get(FLAME_INSTANCE_ENDPOINT):
        from flamepy._grpc_service import FlameInstanceServer

        FlameInstanceServer(service).start()
        return
    if not descriptor.isdecimal():
        sys.exit(_not_started())
    try:
        connection = socket.socket(fileno=int(descriptor))
    except OSError:
        sys.exit(_not_started())
    connection.set_inheritable(False)
    global _server
    with connection:
        _server = _Server(service, _Frames(connection))
        _server.serve()


def log_by_lines() -> None:
    """stdout is a pipe to the log: what a task prints is there when its result is, and when it ends
    the process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _not_started() -> int:
    print(
        "This program is a Flame service: a flame-executor starts it, with a socket in "
        "FLAME_INSTANCE_FD.\nRegister it as an application with `shim: native` and submit tasks to "
        "a session of it.",
        file=sys.stderr,
    )
    return 2


# ---- frames: u32 size, u8 type, body; see shims/native_protocol.hpp ------------------------------

_ENTER, _INVOKE, _LEAVE = _ENTERED, _RESULTS, _LEFT = 1, 2, 3
_NEXT, _PROGRESS = 4, 5
# Bits of ENTERED's `ok`: the second says that NEXT is known.
_OK_AND_NEXT = b"\x03"
_HEAD = struct.Struct("<IB")
_INVOKE_HEAD = struct.Struct("<QII")
_RESULTS_HEAD = struct.Struct("<QIQI")
_PROGRESS_HEAD = struct.Struct("<QB")
_U32 = struct.Struct("<I")
_READ_BYTES = 256 * 1024
_FLUSH_BYTES = 128 * 1024
# Results of a frame that takes long go out in between.
_FLUSH_SECONDS = 0.005
_MESSAGE_BYTES = limits.MIB


def _text(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


class _Frames:
    """Reads and writes whole messages; what was written leaves before a read has to wait."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._in = bytearray()
        self._at = 0
        self._out: list[bytes] = []
        self._out_bytes = 0

    def next(self) -> tuple[int, bytes] | None:
        """Type and body; nothing at the end of the connection."""
        if not self._read(_HEAD.size):
            return None
        size, kind = _HEAD.unpack_from(self._in, self._at)
        if size == 0 or not self._read(size + 4):
            return None
        with memoryview(self._in) as view:
            body = bytes(view[self._at + _HEAD.size : self._at + 4 + size])
        self._at += 4 + size
        return kind, body

    def _read(self, need: int) -> bool:
        """True when `need` bytes lie at _at."""
        if len(self._in) - self._at >= need:
            return True
        self.flush()
        del self._in[: self._at]
        self._at = 0
        while len(self._in) < need:
            got = self._connection.recv(max(_READ_BYTES, need - len(self._in)))
            if not got:
                return False
            self._in += got
        return True

    def write(self, kind: int, *parts: bytes) -> None:
        size = sum(map(len, parts))
        self._out.append(_HEAD.pack(size + 1, kind))
        self._out.extend(parts)
        self._out_bytes += size
        if self._out_bytes >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._connection.sendall(data)


_server: _Server | None = None
"""Of run(), for TaskContext.progress."""


class _Server:
    def __init__(self, service: FlameService, frames: _Frames) -> None:
        self._cancellations = Cancellations()
        self._service = service
        self._frames = frames
        self._session = ""
        self._batches = type(service).on_batch is not FlameService.on_batch
        self._async = _async_calls(service, self._cancellations)
        self._calls = Calls(self._cancellations)
        self._batch_calls = BatchCalls(self._cancellations)
        # Of services of our own.
        self._chunks: Any = getattr(service, "output_chunks", None)

    def progress(self, task: int, percent: int, text: str) -> None:
        told = text.encode(errors="replace")[: limits.PROGRESS_TEXT_BYTES_MAX]
        head = _PROGRESS_HEAD.pack(task, max(0, min(int(percent), 100)))
        self._frames.write(_PROGRESS, head, _text(told))
        self._frames.flush()

    def serve(self) -> None:
        try:
            while True:
                message = self._frames.next()
                if message is None:
                    return
                self._on_message(*message)
        except (BrokenPipeError, ConnectionResetError):
            return  # the executor is gone
        finally:
            self._cancellations.close()
            if self._async is not None:
                self._async.close()

    def _value_of(self, returned: Any) -> Any:
        return returned if self._async is None else self._async.value_of(returned)

    def _on_message(self, kind: int, body: bytes) -> None:
        if kind == _ENTER:
            self._on_enter(body)
        elif kind == _INVOKE:
            self._on_invoke(body)
        elif kind == _NEXT:
            self._frames.flush()  # the executor charges a crash to the first unanswered frame
            self._on_invoke(body)
        elif kind == _LEAVE:
            self._on_leave()
        else:
            sys.exit(
                f"flame: the executor sent message type {kind}, which this flamepy does not know"
            )

    def _on_enter(self, body: bytes) -> None:
        self._cancellations.forget()
        texts, at = [], 0
        for _ in range(3):
            (size,) = _U32.unpack_from(body, at)
            texts.append(body[at + 4 : at + 4 + size])
            at += 4 + size
        self._session = texts[0].decode()
        application = ApplicationContext(texts[1].decode())
        refusal = ""
        try:
            context = SessionContext(texts[2] or None, self._session, application)
            self._value_of(self._service.on_session_enter(context))
        except Exception as error:
            refusal = reason_of(error)
        ok = b"\0" if refusal else _OK_AND_NEXT
        self._frames.write(_ENTERED, ok, _text(refusal.encode()[: limits.REASON_BYTES_MAX]))

    def _on_leave(self) -> None:
        try:
            self._value_of(self._service.on_session_leave())
        except Exception:
            traceback.print_exc()
        self._frames.write(_LEFT)

    def _on_invoke(self, body: bytes) -> None:
        first, count, attempt = _INVOKE_HEAD.unpack_from(body)
        try:
            inputs = unpack_elements(body[_INVOKE_HEAD.size :], count)
        except BadElements as error:
            sys.exit(f"flame: the executor sent a frame that does not decode: {error}")
        self._answer_all(first, self._outputs_of(first, inputs, attempt), count)

    def _outputs_of(self, first: int, inputs: list[bytes], attempt: int) -> Iterator[list[Output]]:
        if self._chunks is not None:
            found: Iterator[list[Output]] = self._chunks(first, inputs, self._calls)
            return found
        if self._batches:
            if self._async is None:
                return self._batch_outputs(first, inputs, attempt)
            outputs = self._call_batch(BatchContext(first, self._session, inputs, attempt))
            if outputs is not None:
                return exactly(outputs, len(inputs))
        return self._invoke_each(first, inputs, attempt)

    def _batch_outputs(
        self, first: int, inputs: list[bytes], attempt: int
    ) -> Iterator[list[Output]]:
        def part(begin: int, count: int) -> list[bytes]:
            return inputs[begin - first : begin - first + count]

        def batch(begin: int, count: int) -> Any:
            context = BatchContext(begin, self._session, part(begin, count), attempt)
            return self._service.on_batch(context)

        def each(begin: int, count: int) -> Iterator[list[Output]]:
            return self._invoke_each(begin, part(begin, count), attempt)

        return self._batch_calls.outputs(first, len(inputs), batch, each)

    def _call_batch(self, batch: BatchContext) -> Iterable[Output] | None:
        count = len(batch.inputs)
        try:
            outputs: Iterable[Output] | None = self._value_of(self._service.on_batch(batch))
            if isinstance(outputs, (list, tuple)) and len(outputs) != count:
                raise ValueError(f"on_batch returned {len(outputs)} outputs for {count} tasks")
            return outputs
        except Exception as error:
            return [TaskFailure(reason_of(error))] * count

    def _invoke_each(self, first: int, inputs: list[bytes], attempt: int) -> Iterator[list[Output]]:
        invoke: Any = self._service.on_task_invoke

        # The contexts of a whole frame are made in C.
        fields = zip(count(first), repeat(self._session), inputs, repeat(attempt))
        contexts = map(partial(tuple.__new__, TaskContext), fields)
        if self._async is not None and self._async.invokes:
            return ([output] for output in self._async.invoke_each(invoke, contexts))
        return self._calls.chunks(first, list(contexts), lambda _, some: map(invoke, some))

    def _answer_all(self, first: int, source: Iterator[list[Output]], count: int) -> None:
        """Of a frame that takes long the first results leave before the last are there."""
        clock = time.monotonic
        outputs: list[Output] = []
        left, began = count, clock()
        for some in source:
            outputs += some
            now = clock()
            if now - began > _FLUSH_SECONDS and len(outputs) < left:
                self._answer(first, outputs, int((now - began) * 1e9))
                self._frames.flush()
                first, left = first + len(outputs), left - len(outputs)
                outputs, began = [], now
        self._answer(first, outputs, int((clock() - began) * 1e9))

    def _answer(self, first: int, outputs: list[Output], took_ns: int) -> None:
        if set(map(type, outputs)) == {bytes}:
            ready: list[bytes] = outputs  # type: ignore[assignment]
            failures: list[tuple[int, bytes]] = []
        else:
            ready, failures = _split(outputs)
        if sum(map(len, ready)) <= _MESSAGE_BYTES:
            self._write_results(first, ready, failures, took_ns)
            return
        # Large outputs go in messages of their own: one that is above the limit fails alone.
        reasons = dict(failures)
        for index, output in enumerate(ready):
            own = [(0, reasons[index])] if index in reasons else []
            self._write_results(first + index, [output], own, took_ns // len(ready))

    def _write_results(
        self, first: int, outputs: list[bytes], failures: list[tuple[int, bytes]], took_ns: int
    ) -> None:
        head = _RESULTS_HEAD.pack(first, len(outputs), max(1, took_ns // 1000), len(failures))
        failed = b"".join(_U32.pack(index) + _text(reason) for index, reason in failures)
        self._frames.write(_RESULTS, head + failed, pack_elements(outputs))


def _async_calls(service: FlameService, cancellations: Cancellations) -> AsyncCalls | None:
    """asyncio takes its time to import: only where a handler is a coroutine."""
    handlers: tuple[Any, ...] = (
        service.on_session_enter,
        service.on_task_invoke,
        service.on_session_leave,
        service.on_batch,
    )
    if not any(
        inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)
        for handler in handlers
    ):
        return None
    from flamepy._async_calls import AsyncCalls

    return AsyncCalls(service, cancellations)


def _split(outputs: list[Output]) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    ready: list[bytes] = []
    failures: list[tuple[int, bytes]] = []
    for index, output in enumerate(outputs):
        if isinstance(output, (bytes, bytearray, memoryview)):
            ready.append(bytes(output))
            continue
        ready.append(b"")
        if output is None:
            continue
        reason = (
            output.reason
            if isinstance(output, TaskFailure)
            else f"TypeError: a task's output is bytes or None, not {type(output).__name__}"
        )
        failures.append((index, reason.encode("utf-8", "replace")[: limits.REASON_BYTES_MAX]))
    return ready, failures
