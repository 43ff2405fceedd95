# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""ZeroMQ's wire protocol by hand (ZMTP 3.0, NULL), as far as a peer needs it that keeps no rule."""

import socket

GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL".ljust(23, b"\0") + b"\0" * 32
READY, MORE, LONG, COMMAND = b"\x05READY", 1, 2, 4


def frame(body, flags=0):
    if len(body) > 255:
        return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body
    return bytes([flags, len(body)]) + body


def ready(kind):
    return frame(READY + b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind, COMMAND)


def message(*frames):
    """DEALER and ROUTER put no delimiter in between."""
    return b"".join(frame(body, MORE) for body in frames[:-1]) + frame(frames[-1])


class Peer:
    """One side of a connection, shaken hands with. Of a socket, or to a port of this machine."""

    def __init__(self, to, kind=b"DEALER"):
        self.socket = to if isinstance(to, socket.socket) else connect(to)
        self.socket.settimeout(10)
        self.socket.sendall(GREETING)
        self.exactly(64)
        self.socket.sendall(ready(kind))
        flags, _ = self.frame()
        assert flags & COMMAND

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def send(self, *frames):
        self.socket.sendall(message(*frames))

    def exactly(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the other side closed the connection")
            data += part
        return data

    def frame(self):
        flags = self.exactly(1)[0]
        size = int.from_bytes(self.exactly(8 if flags & LONG else 1), "big")
        return flags, self.exactly(size)

    def receive(self):
        frames, flags = [], MORE
        while flags & MORE:
            flags, body = self.frame()
            frames.append(body)
        return frames


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)
