#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A native worker in Python's standard library alone: returns its input, fails on `fail`.

Register it with `shim: native` and `command: /path/to/echo.py`. The protocol is drawn in
shims/native_protocol.hpp: u32 size, u8 type, body, all but the elements little endian.
"""
import os
import socket
import struct
import time

ENTER, INVOKE, LEAVE = ENTERED, RESULTS, LEFT = 1, 2, 3


def serve(task_id, payload):
    """Your work: bytes in, bytes out; raise to fail the task."""
    if payload == b"fail":
        raise ValueError(f"task {task_id} was asked to fail")
    return payload


def receive(stream):
    size = stream.read(4)
    if len(size) < 4:
        raise SystemExit(0)  # the executor is gone
    message = stream.read(struct.unpack("<I", size)[0])
    return message[0], message[1:]


def send(stream, kind, body=b""):
    stream.write(struct.pack("<IB", len(body) + 1, kind) + body)
    stream.flush()


def text(data):
    return struct.pack("<I", len(data)) + data


def element(data):
    if len(data) < 1 << 8:
        return struct.pack(">BB", 0xC4, len(data)) + data
    if len(data) < 1 << 16:
        return struct.pack(">BH", 0xC5, len(data)) + data
    return struct.pack(">BI", 0xC6, len(data)) + data


def elements(body, at):
    while at < len(body):
        width = 1 << (body[at] - 0xC4)
        start = at + 1 + width
        at = start + int.from_bytes(body[at + 1:start], "big")
        yield body[start:at]


def invoke(body):
    first, count, _attempt = struct.unpack_from("<QII", body)
    outputs, failures, began = [], [], time.monotonic_ns()
    for index, payload in enumerate(elements(body, 16)):
        try:
            outputs.append(element(serve(first + index, payload)))
        except Exception as error:  # a task's failure is its result, not ours
            outputs.append(element(b""))
            failures.append(struct.pack("<I", index) + text(str(error).encode()))
    took_us = (time.monotonic_ns() - began) // 1000
    head = struct.pack("<QIQI", first, count, took_us, len(failures))
    return head + b"".join(failures + outputs)


with socket.socket(fileno=int(os.environ["FLAME_INSTANCE_FD"])) as connection:
    with connection.makefile("rwb") as stream:
        while True:
            kind, body = receive(stream)
            if kind == ENTER:
                send(stream, ENTERED, b"\1" + text(b""))
            elif kind == INVOKE:
                send(stream, RESULTS, invoke(body))
            elif kind == LEAVE:
                send(stream, LEFT)
