# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A FlameService behind the `grpc` shim: the contract of shims/grpc/instance.proto, by grpcio. Its
messages are few and small, so they are read and written here, without generated code."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

from flamepy._calls import Output, TaskFailure, reason_of
from flamepy._proto import limits
from flamepy._service import (
    FLAME_INSTANCE_ENDPOINT,
    ApplicationContext,
    BatchContext,
    SessionContext,
    TaskContext,
    log_by_lines,
)
from flamepy.errors import FlameError, FlameErrorCode

if TYPE_CHECKING:
    from flamepy._service import FlameService

__all__ = ["FlameInstanceServer", "FlameInstanceServicer"]

_CALLS_MAX = 64
"""At the same time, of what the manifest allows (`concurrency`)."""
_STOP_SECONDS = 5


class FlameInstanceServicer:
    """The three calls, with the bytes of their messages."""

    def __init__(self, service: FlameService) -> None:
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_lock = threading.Lock()
        self._batches = type(service).on_batch is not _base().on_batch

    def OnSessionEnter(self, request: bytes, context: Any) -> bytes:
        try:
            fields = dict(_fields(request))
            self._value_of(self._service.on_session_enter(_session_context(fields)))
        except Exception as error:
            return _failed(reason_of(error), 2)
        return b""

    def OnTaskInvoke(self, request: bytes, context: Any) -> bytes:
        try:
            fields = dict(_fields(request))
            task = TaskContext(_text(fields, 1), _text(fields, 2), fields.get(4, b""))
            output = self._output_of(task)
        except Exception as error:
            output = TaskFailure(reason_of(error))
        if isinstance(output, TaskFailure):
            return _failed(output.reason, 3)
        if output is None:
            return b""
        if not isinstance(output, (bytes, bytearray, memoryview)):
            kind = type(output).__name__
            return _failed(f"TypeError: a task's output is bytes or None, not {kind}", 3)
        return _bytes_field(2, bytes(output))

    def OnSessionLeave(self, request: bytes, context: Any) -> bytes:
        try:
            self._value_of(self._service.on_session_leave())
        except Exception as error:
            return _failed(reason_of(error), 2)
        return b""

    def _output_of(self, task: TaskContext) -> Output:
        if self._batches:
            batch = BatchContext(task.number, task.session_id, [task.input], task.attempt)
            outputs = self._value_of(self._service.on_batch(batch))
            if outputs is not None:
                (only,) = outputs
                return only  # type: ignore[no-any-return]
        output: Output = self._value_of(self._service.on_task_invoke(task))
        return output

    def _value_of(self, returned: Any) -> Any:
        """What a handler means that may be a coroutine or an asynchronous generator. All are in
        one event loop, so that they may share what belongs to a loop."""
        if inspect.isasyncgen(returned):
            returned = _listed(returned)
        if not inspect.isawaitable(returned):
            return returned
        return asyncio.run_coroutine_threadsafe(_awaited(returned), self._the_loop()).result()

    def _the_loop(self) -> asyncio.AbstractEventLoop:
        with self._loop_lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, daemon=True).start()
            return self._loop


class FlameInstanceServer:
    """Listens where FLAME_INSTANCE_ENDPOINT says."""

    def __init__(self, service: FlameService) -> None:
        self._servicer = FlameInstanceServicer(service)
        self._server: Any = None

    def start(self) -> None:
        """Serves until the executor ends the process, or stop()."""
        endpoint = os.environ.get(FLAME_INSTANCE_ENDPOINT)
        if not endpoint:
            raise FlameError(FlameErrorCode.INVALID_CONFIG, "FLAME_INSTANCE_ENDPOINT is not set")
        log_by_lines()
        grpc = _grpc()
        names = ("OnSessionEnter", "OnTaskInvoke", "OnSessionLeave")
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(getattr(self._servicer, name))
            for name in names
        }
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_CALLS_MAX),
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("flame.v1.Instance", handlers),)
        )
        self._server.add_insecure_port(f"unix://{endpoint}")
        self._server.start()
        self._server.wait_for_termination()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace=_STOP_SECONDS)


def _grpc() -> Any:
    try:
        import grpc
    except ImportError:
        sys.exit(
            "This service's application has `shim: grpc` (Host), for which this Python lacks "
            "grpcio: pip install grpcio. With `shim: native` the same program runs without, faster."
        )
    return grpc


def _base() -> type[FlameService]:
    from flamepy._service import FlameService

    return FlameService


async def _awaited(what: Any) -> Any:
    try:
        return await what
    except asyncio.CancelledError as error:  # by itself; it would say nothing in another thread
        raise RuntimeError(f"the coroutine cancelled itself: {error}") from error


async def _listed(what: Any) -> list[Any]:
    return [item async for item in what]


def _session_context(fields: dict[int, Any]) -> SessionContext:
    about = dict(_fields(fields.get(2, b"")))

    def given(number: int) -> str | None:
        return _text(about, number) if number in about else None

    application = ApplicationContext(_text(about, 1), given(3), given(4), given(5), given(6))
    return SessionContext(fields.get(3), _text(fields, 1), application)


def _failed(reason: str, field: int) -> bytes:
    """A return code of -1 and the reason."""
    text = reason.encode("utf-8", "replace")[: limits.REASON_BYTES_MAX]
    return b"\x08" + _varint(2**64 - 1) + _bytes_field(field, text)


# ---- protobuf ------------------------------------------------------------------------------------

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a message. Those that a contract of tomorrow adds come along."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        value: Any
        if kind == _VARINT:
            value, at = _read_varint(data, at)
        else:
            if kind == _BYTES:
                size, at = _read_varint(data, at)
            elif kind in _SIZES:
                size = _SIZES[kind]
            else:
                raise ValueError(f"the executor sent a message with a field of kind {kind}")
            if at + size > len(data):
                raise ValueError("the executor sent a message that is cut off")
            value, at = data[at : at + size], at + size
        yield key >> 3, value


_SIZES = {_FIXED64: 8, _FIXED32: 4}


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the executor sent a message that is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes_field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _text(fields: dict[int, Any], number: int) -> str:
    found: bytes = fields.get(number, b"")
    return found.decode()
