# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The ceiling of the bench writes what the store writes: the same commands in the same order, as
Redis' MONITOR sees them. A change of the store's batches must be made in bench/ceiling/ too."""

import collections
import re
import socket
import statistics
import sys
import threading

import pytest

from conftest import BIN, ROOT

sys.path.insert(0, str(ROOT / "bench"))

from harness.ceiling import Ceiling  # noqa: E402  the folder must be on the path first

WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
SESSION = re.compile(r"\{[^}]+\}")
# Written now and then whatever the load, not part of a batch's work: at most five times a second.
NOW_AND_THEN = ("flame:demand", "flame:executors", "flame:owner")
# MONITOR shows the questions of other connections between a MULTI and what it holds.
WRITES = (
    b"HSET",
    b"HDEL",
    b"RPUSH",
    b"LTRIM",
    b"SETRANGE",
    b"ZADD",
    b"ZREM",
    b"XADD",
    b"SET",
    b"UNLINK",
)


def unescape(word):
    def one(match):
        text = match.group(1)
        if text[:1] == b"x" and len(text) == 3:
            return bytes([int(text[1:], 16)])
        return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}.get(text, text)

    return ESCAPE.sub(one, word)


class Monitor:
    """Everything a Redis is told between enter and exit."""

    def __init__(self, path):
        self.path = str(path)

    def __enter__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self.path)
        self.socket.sendall(b"*1\r\n$7\r\nMONITOR\r\n")
        assert self.socket.recv(5, socket.MSG_WAITALL) == b"+OK\r\n"
        self.pieces = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()
        return self

    def _read(self):
        while piece := self.socket.recv(1 << 20):
            self.pieces.append(piece)

    def __exit__(self, *error):
        # What was said before this PING has been shown before it.
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(self.path)
            other.sendall(b"*2\r\n$4\r\nPING\r\n$11\r\nmonitor-end\r\n")
            other.recv(64)
        while b"monitor-end" not in b"".join(self.pieces[-2:]):
            self.thread.join(0.01)
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def transactions(self):
        found, current = [], None
        for line in b"".join(self.pieces).split(b"\r\n"):
            words = [unescape(word) for word in WORD.findall(line)]
            if not words:
                continue
            name = words[0].upper()
            if name == b"MULTI":
                current = []
            elif name == b"EXEC":
                if current:
                    found.append(current)
                current = None
            elif current is not None and name in WRITES and words[1].decode() not in NOW_AND_THEN:
                current.append(words)
        return found


def key_of(words):
    return SESSION.sub("{S}", words[1].decode())


def shape(words):
    """A command without what differs from run to run."""
    name, key, rest = words[0].decode().upper(), key_of(words), words[2:]
    if key.endswith(":session"):
        return name, key, *(field.decode() for field in rest[::2])
    if name == "SETRANGE":
        return name, key, rest[1].decode()
    if ":input:" in key and name == "HSET":
        return name, key, *(len(value) for value in rest[1::2])
    if name == "HDEL" and ":output:" in key:
        return name, key  # as many as were read meanwhile
    return name, key, len(rest)


def kind(transaction):
    """What a batch is about: tasks that come, results, readers, what is dropped."""
    commands = {
        (words[0].upper(), key_of(words).split(":")[2]) for words in transaction if b"{" in words[1]
    }
    return "+".join(
        name
        for name, command in (
            ("submit", (b"HSET", "input")),
            ("result", (b"HSET", "output")),
            ("reader", (b"HSET", "readers")),
            ("trim", (b"LTRIM", "done")),
        )
        if command in commands
    )


def usual(transactions):
    """kind -> (its most frequent shape, the transactions of that shape); others are chance."""
    by_kind = collections.defaultdict(lambda: collections.defaultdict(list))
    for transaction in transactions:
        by_kind[kind(transaction)][tuple(map(shape, transaction))].append(transaction)
    best = {
        name: max(shapes.items(), key=lambda item: len(item[1]))
        for name, shapes in by_kind.items()
        if name
    }
    return {name: found for name, found in best.items() if len(found[1]) > 2}


def sizes(transactions, where):
    return [
        len(words[3])
        for transaction in transactions
        for words in transaction
        if words[0].upper() == b"HSET" and where in key_of(words)
    ]


@pytest.fixture
def ours_and_bare(running):
    def run(ping_words, **bare_words):
        with Monitor(running.file["redis"].removeprefix("unix://")) as ours:
            done = running.run("flmping", "-o", "json", *ping_words)
            assert done.code == 0, done
        with Ceiling(BIN) as bare, Monitor(bare.socket) as ceiling:
            bare.run(**bare_words)
        return ours.transactions(), ceiling.transactions()

    return run


def test_one_task_at_a_time_is_written_alike(ours_and_bare):
    ours, bare = map(usual, ours_and_bare(["--latency", "-t", 6000], tasks=6000, latency=True))
    common = ours.keys() & bare.keys()
    assert {"submit", "result"} <= common
    assert any("trim" in name for name in common) and any("reader" in name for name in common)
    for name in common:
        assert ours[name][0] == bare[name][0], name
    for name, where in (("result", ":output:"), ("submit", ":submits"), ("submit", ":input:")):
        mine, other = (statistics.median(sizes(side[name][1], where)) for side in (ours, bare))
        assert abs(mine - other) <= max(16, 0.1 * mine), f"{where} {mine} and {other} bytes"


def test_a_stream_has_no_other_commands(ours_and_bare):
    ours, bare = ours_and_bare(["-t", 100_000], tasks=100_000)

    def commands(transactions):
        return {
            (words[0].upper(), key_of(words))
            for transaction in transactions
            if kind(transaction)
            for words in transaction
        }

    mine = {
        command for command in commands(ours) if not command[1].endswith((":events", ":common"))
    }
    assert mine == commands(bare)
