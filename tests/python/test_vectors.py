# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The wire against the golden vectors that C++ writes, and its pages."""

import contextlib
import json
import re
from enum import IntEnum

import msgpack
import pytest

from flamepy._proto import codec, limits
from flamepy._proto import messages as m
from flamepy._proto.elements import BadElements, pack_elements, unpack_elements
from flamepy._proto.epoch import NewestEpoch
from flamepy._proto.errors import Code, code_from

from conftest import ROOT, VECTORS

WORDS = json.loads((VECTORS / "messages.json").read_text())
NAMES = sorted(WORDS["messages"])


def frames_of(name):
    lines = (VECTORS / f"{name}.hex").read_text().splitlines()
    assert len(lines) == 1 + WORDS["messages"][name]["payload"]
    return [bytes.fromhex(line) for line in lines]


def render(value):
    """As tests/unit/proto/render.hpp: structs as maps of their fields, raw bytes as hex."""
    if isinstance(value, tuple):
        fields = zip(value._fields, value)
        return {name: render(item) for name, item in fields if name != "payload"}
    if isinstance(value, list):
        return [render(item) for item in value]
    if isinstance(value, dict):
        return {name: render(item) for name, item in value.items()}
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogateescape")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return {"hex": raw.hex()}
    return value


def test_every_message_of_the_vectors_is_known_and_no_other():
    ours = {name: number for number, (name, _) in m.MESSAGES.items()}
    assert ours == {name: WORDS["messages"][name]["type"] for name in NAMES}
    assert (WORDS["protocol_major"], WORDS["protocol_minor"]) == (
        m.PROTOCOL_MAJOR,
        m.PROTOCOL_MINOR,
    )


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_decode_to_what_the_json_says(name):
    words = WORDS["messages"][name]
    link, sequence, message = codec.decode(frames_of(name))
    assert (link, sequence) == (words["link"], words["sequence"])
    assert type(message) is m.MESSAGES[words["type"]][1]
    assert render(message) == words["fields"]
    assert list(render(message)) == list(words["fields"])


@pytest.mark.parametrize("name", NAMES)
def test_every_message_encodes_to_its_golden_bytes(name):
    frames = frames_of(name)
    assert codec.Encoder().encode(*codec.decode(frames)) == frames


def test_what_cannot_be_packed_leaves_nothing_behind():
    encoder = codec.Encoder()
    with pytest.raises(TypeError):
        encoder.encode(1, 1, m.RegisterApplication(1, {"name": "a", "bad": object()}))
    whole = codec.Encoder().encode(1, 2, m.Beat(1))
    assert encoder.encode(1, 2, m.Beat(1)) == whole


def test_codes_are_those_of_the_wire():
    expected = {name: (row["number"], row["retry"]) for name, row in WORDS["codes"].items()}
    assert {code.text: (int(code), code.retry) for code in Code} == expected
    assert code_from(4711) is Code.BAD_REQUEST


def test_limits_are_those_of_the_page():
    page = (ROOT / "docs/protocol.md").read_text()
    told = {name: int(value) for name, value in re.findall(r"^\| `(\w+)` \| (\d+) ", page, re.M)}
    ours = {name.lower(): value for name, value in vars(limits).items() if name.isupper()}
    del ours["mib"]
    assert ours == {name: told[name] for name in ours}


# ---- what is no message --------------------------------------------------------------------------


def header(*fields):
    return msgpack.packb([1, 2, 41, 7, *fields])


def test_fields_of_a_newer_minor_are_ignored():
    assert codec.decode([header(3, 0, 0, "new", [1])]).message == m.Beat(3)


def test_what_an_older_peer_does_not_have_gets_its_default():
    *fields, spec = msgpack.unpackb(frames_of("create_session")[0])
    older = codec.decode([msgpack.packb([*fields, spec[:8]]), b""]).message.spec
    assert older == m.SessionSpec(*codec.decode(frames_of("create_session")).message.spec[:8])
    assert older.batch_size == 1
    with pytest.raises(codec.BadFrame):
        codec.decode([msgpack.packb([*fields, spec[:7]]), b""])


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"\xc1"],
        [header(3) + b"\x00"],
        [header()],
        [header(-1)],
        [header(True)],
        [header("3")],
        [header(2**64 - 1)[:-1]],
        [msgpack.packb([1, 2, 41])],
        [msgpack.packb({"a": 1})],
        [msgpack.packb([2, 2, 41, 7, 3])],
        [msgpack.packb([1, 200, 41, 7, 3])],
        [msgpack.packb([1, [2], 41, 7, 3])],
        [header(3), b"payload where none belongs"],
        [header(3), b"", b""],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\x91" * 5000],
        [b"\xc7\x01\x05a"],
        [header(3, b"x" * limits.HEADER_BYTES_MAX)],
    ],
)
def test_anything_else_is_a_bad_frame(frames):
    with pytest.raises(codec.BadFrame):
        codec.decode(frames)


@pytest.mark.parametrize("name", NAMES)
def test_no_cut_or_changed_header_raises_anything_else(name):
    whole = frames_of(name)
    for at in range(len(whole[0])):
        for bad in (whole[0][:at], whole[0][:at] + b"\xc0" + whole[0][at + 1 :]):
            with contextlib.suppress(codec.BadFrame):
                codec.decode([bad, *whole[1:]])


# ---- payloads, epochs ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 15, 16, 1024, 70_000])
def test_elements_come_back(count):
    contents = [b"x" * (i % 300) for i in range(count)]
    assert unpack_elements(pack_elements(contents), count) == contents


def test_elements_of_each_width_are_those_of_the_vectors():
    contents = [b"a", b"", b"b" * 300]
    payload = codec.decode(frames_of("submit")).message.payload
    assert unpack_elements(payload, 3) == contents
    assert pack_elements(contents) == payload
    assert unpack_elements(pack_elements([b"c" * 70_000]), 1) == [b"c" * 70_000]


def test_one_element_of_any_size_is_as_the_packer_has_it():
    for size in (0, 1, 255, 256, 65_535, 65_536):
        content = b"x" * size
        payload = pack_elements([content])
        assert payload == msgpack.packb(content) and unpack_elements(payload, 1) == [content]


@pytest.mark.parametrize(
    "payload", [b"", b"\xc4", b"\xc4\x05abc", b"\xc4\x01a\xc4\x01a", b"\xa1a", b"\x01", b"\xc0"]
)
def test_what_is_not_one_element_is_refused(payload):
    with pytest.raises(BadElements):
        unpack_elements(payload, 1)


def test_within_a_lineage_an_epoch_only_rises():
    newest = NewestEpoch()
    assert newest.accept("A", "8-aa")
    assert not newest.accept("A", "7-bb")
    assert newest.accept("A", "8-cc")
    assert newest.accept("A", "no epoch")
    assert newest.accept("B", "1-dd")
    assert not newest.accept("B", "0-ee")
