# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Messages to frames and back. Nothing that a peer sends raises anything but BadFrame."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import (
    Any,
    Callable,
    NamedTuple,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgpack

from flamepy._proto import limits
from flamepy._proto.errors import Code, code_from
from flamepy._proto.messages import (
    MESSAGES,
    PROTOCOL_MAJOR,
    TYPE_OF,
    Envelope,
    Message,
    Run,
)

_ENVELOPE_FIELDS = 4
_UINT64_MAX = 2**64 - 1
# So that first + count cannot wrap where integers have 64 bits.
_RUN_NUMBER_MAX = _UINT64_MAX // 4


class BadFrame(ValueError):
    """A frame that does not decode. The other side counts it as lost."""


class Decoded(NamedTuple):
    envelope: Envelope
    message: Message


class _Shape(NamedTuple):
    read: Callable[[Any], Any]
    payload: bool


def encode(envelope: Envelope, message: Message) -> list[bytes]:
    """The frames: header and, where the message has one, payload."""
    kind = type(message)
    fields: Sequence[Any] = message
    frames = []
    if _SHAPES[TYPE_OF[kind]].payload:
        fields = message[:-1]
        frames.append(message[-1])
    header = msgpack.packb(
        (PROTOCOL_MAJOR, TYPE_OF[kind], *envelope, *fields), unicode_errors="surrogateescape"
    )
    return [cast(bytes, header), *frames]


def decode(frames: Sequence[bytes]) -> Decoded:
    if not 1 <= len(frames) <= 2:
        raise BadFrame(f"{len(frames)} frames; a message has one or two")
    fields = _unpack_header(frames[0])
    if type(fields) is not list or len(fields) < _ENVELOPE_FIELDS:
        raise BadFrame("the header is no array of at least four")
    major, number, link, sequence = fields[:_ENVELOPE_FIELDS]
    if major != PROTOCOL_MAJOR:
        raise BadFrame(f"protocol {major!r}; this is {PROTOCOL_MAJOR}")
    if type(number) is not int or number not in MESSAGES:
        raise BadFrame(f"unknown message type {number!r}")
    envelope = Envelope(_read_uint(link), _read_uint(sequence))
    name, kind = MESSAGES[number]
    shape = _SHAPES[number]
    if len(frames) == 2 and not shape.payload:
        raise BadFrame(f"a payload where none belongs: {name}")
    values = shape.read(fields[_ENVELOPE_FIELDS:])
    if shape.payload:
        values.append(bytes(frames[1]) if len(frames) == 2 else b"")
    return Decoded(envelope, kind(*values))


def _unpack_header(header: bytes) -> Any:
    size = len(header)
    if size > limits.HEADER_BYTES_MAX:
        raise BadFrame(f"a header of {size} bytes; at most {limits.HEADER_BYTES_MAX}")
    try:
        # Every item takes a byte at least, so what is there bounds every count.
        return msgpack.unpackb(
            header,
            unicode_errors="surrogateescape",
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=size,
            max_ext_len=0,
        )
    except Exception as error:  # msgpack raises many kinds
        raise BadFrame(f"not msgpack within the limits: {error}") from None


# ---- readers: made once from the annotations of the messages -----------------------------------


def _read_uint(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _UINT64_MAX:
        raise BadFrame(f"{_shown(value)} where a number belongs")
    return value


def _read_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise BadFrame(f"{_shown(value)} where true or false belongs")
    return value


def _read_text(value: Any) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if type(value) is not str:
        raise BadFrame(f"{_shown(value)} where a text belongs")
    return value


def _read_value(value: Any) -> Any:
    return value


def _read_code(value: Any) -> Code:
    return code_from(_read_uint(value))


def _read_run(value: Any) -> Run:
    if type(value) is not list or len(value) != 2:
        raise BadFrame(f"{_shown(value)} where a run belongs")
    first, count = _read_uint(value[0]), _read_uint(value[1])
    if first > _RUN_NUMBER_MAX or count > _RUN_NUMBER_MAX:
        raise BadFrame("a run beyond every limit")
    return Run(first, count)


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _enum_reader(kind: type[IntEnum]) -> Callable[[Any], Any]:
    def read(value: Any) -> IntEnum:
        try:
            return kind(_read_uint(value))
        except ValueError:
            raise BadFrame(f"{_shown(value)} is no {kind.__name__}") from None

    return read


def _list_reader(read_item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise BadFrame(f"{_shown(value)} where a list belongs")
        return [read_item(item) for item in value]

    return read


def _fields_reader(kind: type[Message]) -> Callable[[Any], list[Any]]:
    """More fields than known are a newer minor's and ignored; fewer are an error."""
    hints = get_type_hints(kind)
    readers = [_reader_of(hints[name]) for name in _field_names(kind) if name != "payload"]

    def read(value: Any) -> list[Any]:
        if type(value) is not list or len(value) < len(readers):
            raise BadFrame(f"too few fields of {kind.__name__}")
        # zip ends with the readers
        return [read_field(item) for read_field, item in zip(readers, value)]

    return read


def _struct_reader(kind: type[Message]) -> Callable[[Any], Any]:
    read_fields = _fields_reader(kind)
    return lambda value: kind(*read_fields(value))


def _field_names(kind: type[Message]) -> tuple[str, ...]:
    return cast(tuple[str, ...], kind._fields)  # type: ignore[attr-defined]


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    int: _read_uint,
    bool: _read_bool,
    str: _read_text,
    Any: _read_value,
    Code: _read_code,
    Run: _read_run,
}


def _reader_of(hint: Any) -> Callable[[Any], Any]:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) is list:
        return _list_reader(_reader_of(get_args(hint)[0]))
    if issubclass(hint, IntEnum):
        return _enum_reader(hint)
    return _struct_reader(hint)


_SHAPES = {
    number: _Shape(_fields_reader(kind), "payload" in _field_names(kind))
    for number, (_, kind) in MESSAGES.items()
}
