# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Messages to frames and back. Nothing that a peer sends raises anything but BadFrame."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import (
    Any,
    Callable,
    NamedTuple,
    NoReturn,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgpack

from flamepy._proto import limits
from flamepy._proto.errors import Code, code_from
from flamepy._proto.messages import (
    FIELDS_MIN,
    MESSAGES,
    PROTOCOL_MAJOR,
    TYPE_OF,
    Message,
    Run,
)

_ENVELOPE_FIELDS = 4
_HEAD_BYTES = 32
"""What a header has at most in front of a message's fields."""
_UINT64_MAX = 2**64 - 1
_INT64_MAX = 2**63 - 1
# So that first + count cannot wrap where integers have 64 bits.
_RUN_NUMBER_MAX = _UINT64_MAX // 4


class BadFrame(ValueError):
    """A frame that does not decode. The other side counts it as lost."""


class Decoded(NamedTuple):
    link: int
    sequence: int
    message: Message


class _Shape(NamedTuple):
    read: Callable[..., Decoded]
    """Takes the header and, where the message has one, the payload."""
    payload: bool


class Encoder:
    """Of one thread. Keeps what packs, with its buffer of a MiB, from message to message."""

    def __init__(self) -> None:
        packer = msgpack.Packer(unicode_errors="surrogateescape")
        self._pack: Callable[[tuple[Any, ...]], bytes] = packer.pack

    def encode(self, link: int, sequence: int, message: Message) -> list[bytes]:
        """The frames: header and, where the message has one, payload."""
        number = TYPE_OF[type(message)]
        if _SHAPES[number].payload:
            *fields, payload = message
            return [self._pack((PROTOCOL_MAJOR, number, link, sequence, *fields)), payload]
        return [self._pack((PROTOCOL_MAJOR, number, link, sequence, *message))]


def check(message: Message) -> int:
    """The bytes of its fields. Raises BadFrame, and names the field, where the broker could not
    read them: there it would count as lost, and here end whoever sends."""
    size = 0
    for (name, read), value in zip(_fields_of(type(message)), message):
        try:
            if read is None:
                size += check(value)
                continue
            packed = _packed(value)
            size += len(packed)
            read(_unpack_header(packed))
        except BadFrame as error:
            raise BadFrame(f"{name}: {error}") from None
    if size > limits.HEADER_BYTES_MAX - _HEAD_BYTES:
        raise BadFrame(f"a header of {size} bytes; at most {limits.HEADER_BYTES_MAX}")
    return size


def _packed(value: Any) -> bytes:
    try:
        return cast(bytes, msgpack.packb(value, unicode_errors="surrogateescape"))
    except Exception as error:  # msgpack raises many kinds
        raise BadFrame(f"{_shown(value)} cannot be sent: {error}") from None


def decode(frames: Sequence[bytes]) -> Decoded:
    if not 1 <= len(frames) <= 2:
        raise BadFrame(f"{len(frames)} frames; a message has one or two")
    fields = _unpack_header(frames[0])
    if type(fields) is not list or len(fields) < _ENVELOPE_FIELDS:
        raise BadFrame("the header is no array of at least four")
    major, number = fields[0], fields[1]
    if major != PROTOCOL_MAJOR:
        raise BadFrame(f"protocol {major!r}; this is {PROTOCOL_MAJOR}")
    if type(number) is not int or number not in MESSAGES:
        raise BadFrame(f"unknown message type {number!r}")
    read, payload = _SHAPES[number]
    if payload:
        return read(fields, bytes(frames[1]) if len(frames) == 2 else b"")
    if len(frames) == 2:
        raise BadFrame(f"a payload where none belongs: {MESSAGES[number][0]}")
    return read(fields)


def _unpack_header(header: bytes) -> Any:
    size = len(header)
    if size > limits.HEADER_BYTES_MAX:
        raise BadFrame(f"a header of {size} bytes; at most {limits.HEADER_BYTES_MAX}")
    try:
        # Counts are bounded by msgpack itself: every item takes a byte at least.
        return msgpack.unpackb(
            header,
            unicode_errors="surrogateescape",
            max_ext_len=0,
        )
    except Exception as error:  # msgpack raises many kinds
        raise BadFrame(f"not msgpack within the limits: {error}") from None


# ---- readers: made once from the annotations of the messages -----------------------------------


def _read_uint(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _UINT64_MAX:
        raise BadFrame(f"{_shown(value)} where a number from 0 on belongs")
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


def _read_value(value: Any, level: int = 2) -> Any:
    """`level`: how many arrays and maps of the message it stands in, with itself."""
    if type(value) is int and value > _INT64_MAX:
        raise BadFrame(f"{_shown(value)} is too large a number")
    if type(value) in (list, dict):
        if level > limits.HEADER_DEPTH_MAX:
            raise BadFrame(f"more than {limits.HEADER_DEPTH_MAX} levels")
        for item in value if type(value) is list else value.values():
            _read_value(item, level + 1)
    return value


def _read_code(value: Any) -> Code:
    return code_from(_read_uint(value))


def _read_run(value: Any) -> Run:
    if type(value) is list and len(value) == 2:
        first, count = value
        if type(first) is type(count) is int:
            if 0 <= first <= _RUN_NUMBER_MAX and 0 <= count <= _RUN_NUMBER_MAX:
                return tuple.__new__(Run, value)
            raise BadFrame("a run beyond every limit")
    raise BadFrame(f"{_shown(value)} where a run belongs")


def _read_uints(value: Any) -> list[int]:
    if type(value) is not list:
        raise BadFrame(f"{_shown(value)} where a list belongs")
    for item in value:
        if type(item) is not int or item < 0:  # no integer of msgpack is too large
            raise BadFrame(f"{_shown(item)} where a number from 0 on belongs")
    return value


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _enum_reader(kind: type[IntEnum]) -> Callable[[Any], Any]:
    members = {int(member): member for member in kind}

    def read(value: Any) -> IntEnum:
        member = members.get(value) if type(value) is int else None
        if member is None:
            names = ", ".join(kind.__members__)
            raise BadFrame(f"{_shown(value)} is no {kind.__name__} ({names})")
        return member

    return read


def _list_reader(read_item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise BadFrame(f"{_shown(value)} where a list belongs")
        return [read_item(item) for item in value] if value else value

    return read


def _struct_reader(kind: type[Message], is_message: bool = False) -> Callable[..., Any]:
    """Of an array of the fields; of a message with its head before them, and into a Decoded. More
    than known are a newer minor's and ignored. What an older one does not have gets its default;
    fewer than that are an error.

    Made as source, for what is proper is then told without a call for each field, which halves the
    time of a message:

        lambda items, payload: new(kind, (
            item if type(item := items[4]) is int and item >= 0 else read_4(item),
            read_5(items[5]),
            payload,
        )) if type(items) is list and len(items) >= 6 else too_few()
    """
    begin = _ENVELOPE_FIELDS if is_message else 0
    hints = get_type_hints(kind)
    names = [name for name in _field_names(kind) if name != "payload"]
    payload = ["payload"] if "payload" in hints else []
    needed = FIELDS_MIN.get(kind, len(names))
    fields = [_field_source(hints[name], at) for at, name in enumerate(names, begin)]
    for at, name in enumerate(names[needed:], needed):
        fields[at] = f"({fields[at]}) if len(items) > {begin + at} else defaults[{name!r}]"
    fields += payload
    made = f"new(kind, ({', '.join(fields)},))"
    if is_message:
        made = f"new(Decoded, ({_field_source(int, 2)}, {_field_source(int, 3)}, {made}))"
    source = (
        f"lambda {', '.join(['items', *payload])}: {made}"
        f" if type(items) is list and len(items) >= {begin + needed} else too_few()"
    )

    def too_few() -> NoReturn:
        raise BadFrame(f"too few fields of {kind.__name__}")

    # Not kind(...), which is one more step in Python.
    known: dict[str, Any] = {"new": tuple.__new__, "kind": kind, "too_few": too_few}
    known.update(Decoded=Decoded, read_2=_read_uint, read_3=_read_uint)
    known["defaults"] = kind._field_defaults  # type: ignore[attr-defined]
    for at, name in enumerate(names, begin):
        known[f"read_{at}"] = _reader_of(hints[name])
    return cast(Callable[..., Any], eval(source, known))


def _field_source(hint: Any, at: int) -> str:
    if hint not in (int, bool, str):
        return f"read_{at}(items[{at}])"
    # No integer of msgpack is too large.
    positive = " and item >= 0" if hint is int else ""
    return f"item if type(item := items[{at}]) is {hint.__name__}{positive} else read_{at}(item)"


@cache
def _fields_of(kind: type[Message]) -> list[tuple[str, Callable[[Any], Any] | None]]:
    """With what reads each; nothing for a struct, which has fields of its own."""
    hints = get_type_hints(kind)
    names = [name for name in _field_names(kind) if name != "payload"]
    return [
        (name, None if hasattr(hints[name], "_fields") else _reader_of(hints[name]))
        for name in names
    ]


def _field_names(kind: type[Message]) -> tuple[str, ...]:
    return cast(tuple[str, ...], kind._fields)  # type: ignore[attr-defined]


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    int: _read_uint,
    bool: _read_bool,
    str: _read_text,
    Any: _read_value,
    Code: _read_code,
    Run: _read_run,
    list[int]: _read_uints,
}


def _reader_of(hint: Any) -> Callable[[Any], Any]:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) is list:
        return _list_reader(_reader_of(get_args(hint)[0]))
    if issubclass(hint, IntEnum):
        return _enum_reader(hint)
    return _struct_reader(hint)


class _Shapes(dict[int, _Shape]):
    """Made when first needed: a program uses few of the messages."""

    def __missing__(self, number: int) -> _Shape:
        kind = MESSAGES[number][1]
        shape = _Shape(_struct_reader(kind, is_message=True), "payload" in _field_names(kind))
        self[number] = shape
        return shape


_SHAPES = _Shapes()
