# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""progress=True, as a person sees it: programs whose stderr is a terminal, or is none."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

import flamepy

from conftest import PATIENCE, register

PROGRAM = """
import asyncio, sys

hidden, what, address = sys.argv[1:]
for name in hidden.split():
    sys.modules[name] = None  # as if it were not installed
import flamepy, flamepy.aio

inputs = [b"%d" % i for i in range(3000)] + [b"sleep:0.15"]


def many(session):
    assert list(session.map(inputs, progress="a map")) == inputs
    assert list(session.map(iter(inputs), progress="no number", buffersize=500)) == inputs
    futures = [session.run(data) for data in inputs]
    assert session.wait(progress="a wait").done == 3 * len(inputs)
    futures = [session.run(data) for data in inputs]
    found = [future.result() for future in flamepy.as_completed(futures, progress="futures")]
    assert sorted(found) == sorted(inputs)
    assert flamepy.wait(futures, progress="again").not_done == set()
    with flamepy.Executor(connection=session.connection) as executor:
        assert sum(executor.map(abs, range(-3000, 1), progress="functions")) == 4501500


async def asynchronous():
    async with flamepy.aio.connect(address) as connection:
        session = await connection.create_session("echo")
        outputs = session.map(inputs, progress="async map")
        assert [output async for output in outputs] == inputs
        futures = [session.run(data) for data in inputs]
        async for future in flamepy.aio.as_completed(futures, progress="async futures"):
            assert future.done()
        waited = await session.wait(progress="async wait")
        assert waited.done == 2 * len(inputs)


with flamepy.connect(address) as connection, connection.create_session("echo") as session:
    if what == "map":
        assert list(session.map(inputs, progress="a map")) == inputs
    else:
        many(session)
        asyncio.run(asynchronous())
print("done")
"""


@pytest.fixture
def show(shared, tmp_path):
    """What the program wrote to its stderr."""
    register(shared, "echo")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run(what, hidden="tqdm rich", terminal=False, path=""):
        ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
        process = subprocess.Popen(
            [sys.executable, program, hidden, what, shared.addr],
            env=os.environ | {"PYTHONPATH": str(path), "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        os.close(theirs)
        text = b"".join(chunks(ours)).decode()
        out, _ = process.communicate(timeout=2 * PATIENCE)
        assert (process.returncode, out) == (0, "done\n"), text
        return text

    return run


def chunks(descriptor):
    with open(descriptor, "rb", buffering=0) as stream:
        try:
            while data := stream.read(4096):
                yield data
        except OSError:
            return  # a terminal whose other end was closed


def test_plain_lines_on_a_terminal(show):
    text = show("everything", terminal=True)
    for label in ("a map", "futures", "again", "functions", "async map", "async futures"):
        shown = re.findall(rf"\r{label}: ([\d,]+)/3,001 tasks, (\d+) %, [\d,]+/s", text)
        counts = [int(count.replace(",", "")) for count, _ in shown]
        assert counts == sorted(counts) and shown[-1] == ("3,001", "100"), label
        assert counts[0] == 0 and len(counts) >= 2
    assert re.search(r"\rno number: 3,001 tasks, [\d,]+/s\x1b\[K\r\n", text)
    assert "a wait: 9,003/9,003 tasks, 100 %" in text
    assert "async wait: 6,002/6,002 tasks, 100 %" in text


def test_silent_where_nobody_looks(show):
    assert show("map") == ""


def test_tqdm_and_rich_where_they_are_installed(show, extras):
    shown = show("map", hidden="rich", terminal=True, path=extras)
    assert re.search(r"a map: 100%\|.*3001/3001 \[", shown)
    shown = show("map", hidden="tqdm", terminal=True, path=extras)
    assert "a map" in shown and "3001/3001" in shown and "━" in shown


def test_a_bar_ends_with_an_exception(shared, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shared.create_session(register(shared, "echo")) as session:
        with pytest.raises(flamepy.TaskError):
            list(session.map([b"a", b"fail:no luck"], progress=True))
        assert capfd.readouterr().err.endswith("\x1b[K\n")
        futures = [session.run(b"sleep:0.3")]
        assert flamepy.wait(futures, 0.01, progress=True).not_done == set(futures)
        with pytest.raises(flamepy.FlameTimeoutError):
            session.wait(0.01, progress=True)
