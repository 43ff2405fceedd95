# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Just enough of Redis' protocol and of msgpack to read what the broker recorded."""

import socket
import struct


class RedisError(Exception):
    pass


class Redis:
    def __init__(self, path, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __call__(self, *words):
        raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(raw)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in raw]
        self.socket.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("redis closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self.file.read(int(text) + 2)[:-2]
        if kind == b"*":
            return None if text == b"-1" else [self.reply() for _ in range(int(text))]
        return text

    def hash(self, key):
        flat = self("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))

    def fields(self, key):
        return {
            name.decode(): value.decode(errors="replace") for name, value in self.hash(key).items()
        }


def unpack(data, at=0):
    """One msgpack value at `at`: (value, where it ends). Raises on what the broker never writes."""
    tag = data[at]
    at += 1
    if tag < 0x80:
        return tag, at
    if tag < 0x90:
        return _map(data, at, tag & 15)
    if tag < 0xA0:
        return _array(data, at, tag & 15)
    if tag < 0xC0:
        return _bytes(data, at, tag & 31, True)
    if tag >= 0xE0:
        return tag - 256, at
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
    numbers = {
        0xCA: ">f",
        0xCB: ">d",
        0xCC: ">B",
        0xCD: ">H",
        0xCE: ">I",
        0xCF: ">Q",
        0xD0: ">b",
        0xD1: ">h",
        0xD2: ">i",
        0xD3: ">q",
    }
    lengths = {
        0xC4: ">B",
        0xC5: ">H",
        0xC6: ">I",
        0xD9: ">B",
        0xDA: ">H",
        0xDB: ">I",
        0xDC: ">H",
        0xDD: ">I",
        0xDE: ">H",
        0xDF: ">I",
    }
    form = numbers.get(tag) or lengths[tag]
    number = struct.unpack_from(form, data, at)[0]
    at += struct.calcsize(form)
    if tag in numbers:
        return number, at
    if tag <= 0xC6 or tag <= 0xDB:
        return _bytes(data, at, number, tag >= 0xD9)
    return (_array if tag <= 0xDD else _map)(data, at, number)


def _bytes(data, at, size, text):
    value = data[at : at + size]
    if len(value) != size:
        raise ValueError("cut off")
    return (value.decode(errors="replace") if text else value), at + size


def _array(data, at, count):
    items = []
    for _ in range(count):
        item, at = unpack(data, at)
        items.append(item)
    return items, at


def _map(data, at, count):
    items = {}
    for _ in range(count):
        key, at = unpack(data, at)
        items[key], at = unpack(data, at)
    return items, at


def run_of(text):
    """`n` or `first-last` as a range of ids."""
    first, _, last = text.decode().partition("-")
    return range(int(first), int(last or first) + 1)
