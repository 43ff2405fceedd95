# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service as an executor sees it: a process with one end of a socket. The frames are those of
shims/native_protocol.hpp, written here a second time."""

import os
import socket
import struct
import subprocess
import sys

import pytest

from flamepy._proto import limits
from flamepy._proto.elements import pack_elements, unpack_elements

from conftest import PATIENCE, SERVICES, wait_until

ENTER, INVOKE, LEAVE, NEXT = 1, 2, 3, 4
OK = 3  # and NEXT is known


def text(data):
    return struct.pack("<I", len(data)) + data


class Executor:
    """The executor's end."""

    def __init__(self, service, *words):
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        heard, self.cancels = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, SERVICES / f"{service}.py", *words],
            env=os.environ
            | {"FLAME_INSTANCE_FD": str(theirs.fileno()), "FLAME_CANCEL_FD": str(heard)},
            pass_fds=[theirs.fileno(), heard],
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        os.close(heard)
        self.socket = ours
        self.stream = ours.makefile("rb")

    def send(self, kind, body=b""):
        self.socket.sendall(struct.pack("<IB", len(body) + 1, kind) + body)

    def receive(self):
        size, kind = struct.unpack("<IB", self.stream.read(5))
        return kind, self.stream.read(size - 1)

    def enter(self, common=b"", session=b"s-1"):
        self.send(ENTER, text(session) + text(b"app") + text(common))
        kind, body = self.receive()
        assert kind == ENTER
        return body[0], body[5:].decode()

    def invoke(self, first, *inputs):
        head = struct.pack("<QII", first, len(inputs), 1)
        self.send(INVOKE, head + pack_elements(list(inputs)))

    def cancel(self, first, count):
        os.write(self.cancels, struct.pack("<QQ", first, count))

    def results(self, count):
        """Of so many tasks, in one message or more, as a slow machine wants it: first id, outputs,
        reasons by index."""
        first, outputs, reasons = self.message()
        while len(outputs) < count:
            more_first, more, more_reasons = self.message()
            assert more_first == first + len(outputs)
            reasons |= {len(outputs) + index: text for index, text in more_reasons.items()}
            outputs += more
        return first, outputs, reasons

    def message(self):
        kind, body = self.receive()
        assert kind == INVOKE
        first, count, us, failures = struct.unpack_from("<QIQI", body)
        assert us > 0
        at, reasons = 24, {}
        for _ in range(failures):
            index, size = struct.unpack_from("<II", body, at)
            reasons[index] = body[at + 8 : at + 8 + size].decode()
            at += 8 + size
        return first, unpack_elements(body[at:], count), reasons

    def end(self):
        self.stream.close()
        self.socket.close()
        os.close(self.cancels)
        err = self.process.stderr.read()
        self.process.stderr.close()
        return self.process.wait(PATIENCE), err


@pytest.fixture
def start():
    made = []

    def make(*words):
        made.append(Executor(*words))
        return made[-1]

    yield make
    for executor in made:
        if executor.process.returncode is None:
            assert executor.end() == (0, "")


def test_the_exception_of_a_cancel_ends_only_its_own_task(start, tmp_path):
    executor = start("echo")
    executor.enter()
    began = tmp_path / "began"
    executor.invoke(1, b"hold:%s" % bytes(began))
    wait_until(began.exists, "the task to begin")
    executor.cancel(7, 2)  # another one's
    executor.cancel(1, 1)
    assert executor.results(1)[2] == {0: "the task was cancelled"}
    # One that is cancelled before its turn is not begun.
    executor.cancel(3, 1)
    executor.invoke(2, b"cancelled:", b"hold:", b"a")
    first, outputs, reasons = executor.results(3)
    assert (first, outputs) == (2, [b"1", b"", b"a"]) and list(reasons) == [1]
    # In the next session the numbers mean other tasks.
    executor.cancel(4, 100)
    executor.send(LEAVE)
    assert executor.receive()[0] == LEAVE
    executor.enter()
    executor.invoke(4, b"b")
    assert executor.results(1) == (4, [b"b"], {})


def test_enter_invoke_leave_and_again(start):
    executor = start("echo")
    for session in (b"s-1", b"s-2"):
        assert executor.enter(b"common of " + session, session) == (OK, "")
        executor.invoke(5, b"a", b"", b"common")
        assert executor.results(3) == (5, [b"a", b"", b"common of " + session], {})
        executor.send(LEAVE)
        assert executor.receive() == (LEAVE, b"")


def test_frames_that_wait_are_answered_in_order(start):
    executor = start("echo")
    executor.enter()
    inputs = [b"%d" % i for i in range(1000)]
    for frame in range(20):
        executor.invoke(1 + 1000 * frame, *inputs)
    for frame in range(20):
        assert executor.results(1000) == (1 + 1000 * frame, inputs, {})


def test_a_next_frame_begins_when_all_before_it_is_answered(start):
    executor = start("echo")
    executor.enter()
    frames = b""
    for first, kind, task in ((1, INVOKE, b"a"), (2, NEXT, b"die")):
        body = struct.pack("<QII", first, 1, 1) + pack_elements([task])
        frames += struct.pack("<IB", len(body) + 1, kind) + body
    executor.socket.sendall(frames)  # in one piece, or the service would answer before it reads on
    assert executor.results(1) == (1, [b"a"], {})
    assert executor.end()[0] == 7


def test_what_raises_fails_alone_with_its_traceback(start):
    executor = start("echo")
    executor.enter()
    executor.invoke(1, b"a", b"fail:no luck", b"text", b"nothing")
    first, outputs, reasons = executor.results(4)
    assert (first, outputs) == (1, [b"a", b"", b"", b""])
    assert sorted(reasons) == [1, 2]
    assert reasons[1].startswith("ValueError: no luck\n\nTraceback")
    assert "echo.py" in reasons[1] and "_service.py" not in reasons[1]
    assert reasons[2] == "TypeError: a task's output is bytes or None, not str"


def test_a_reason_is_cut_to_its_limit_with_its_first_line(start):
    executor = start("echo")
    executor.enter()
    executor.invoke(1, b"fail:" + "ö".encode() * 10_000)
    reason = executor.results(1)[2][0]
    assert reason.startswith("ValueError: öö")
    assert len(reason.encode()) <= limits.REASON_BYTES_MAX
    assert reason.endswith("ö")


def test_results_of_a_slow_frame_come_in_between(start):
    executor = start("echo")
    executor.enter()
    executor.invoke(1, b"sleep:0.02", b"a", b"b")
    assert executor.message() == (1, [b"sleep:0.02"], {})
    assert executor.results(2) == (2, [b"a", b"b"], {})


def test_large_messages_in_and_out(start):
    executor = start("echo")
    executor.enter(b"c" * (3 * limits.MIB))
    executor.invoke(1, b"common", b"x" * (5 * limits.MIB), b"fail:no", b"a")
    answers = [executor.message() for _ in range(4)]
    assert [first for first, _, _ in answers] == [1, 2, 3, 4]
    assert answers[0][1] == [b"c" * (3 * limits.MIB)]
    assert answers[1][1] == [b"x" * (5 * limits.MIB)]
    assert answers[2][2][0].startswith("ValueError: no")
    assert answers[3][1] == [b"a"]


def test_a_batch_is_one_call_and_may_fail_in_part(start):
    executor = start("batch")
    executor.enter()
    executor.invoke(1, b"2", b"-3", b"4")
    assert executor.results(3) == (1, [b"4", b"", b"16"], {1: "-3 is negative"})
    executor.invoke(4, b"5", b"no number")
    first, outputs, reasons = executor.results(2)
    assert (first, outputs) == (4, [b"", b""])
    assert all(reason.startswith("ValueError: invalid literal") for reason in reasons.values())
    assert len(reasons) == 2


@pytest.mark.parametrize("how", ["return", "yield"])
def test_a_batch_under_which_a_task_is_cancelled_is_called_again_for_the_others(
    start, tmp_path, how
):
    executor = start("batch", how)
    executor.enter()
    began = tmp_path / "began"
    executor.invoke(1, b"2", b"hold:%s" % bytes(began), b"3", b"4")
    wait_until(began.exists, "the second task to begin")
    executor.cancel(9, 2)  # another frame's
    executor.cancel(2, 1)
    assert executor.results(4) == (1, [b"4", b"", b"9", b"16"], {1: "the task was cancelled"})
    executor.cancel(6, 1)  # before its turn
    executor.invoke(5, b"cancelled", b"hold:/nowhere", b"calls")
    first, outputs, reasons = executor.results(3)
    # The first task's output was lost with the list, and had left the iterator.
    calls = [4, 1, 2, 1, 1] if how == "return" else [4, 2, 1, 1]
    assert (first, outputs) == (5, [b"yes", b"", repr(calls).encode()])
    assert reasons == {1: "the task was cancelled"}


def test_one_cancelled_task_interrupts_a_batch_that_is_at_another(start, tmp_path):
    executor = start("batch", "yield")
    executor.enter()
    began, again = tmp_path / "began", tmp_path / "again"
    executor.invoke(1, b"hold:%s" % bytes(began), b"3", b"hold:%s" % bytes(again))
    wait_until(began.exists, "the first task to begin")
    began.unlink()
    executor.cancel(2, 1)
    wait_until(began.exists, "the first task to begin again, without the second")
    executor.cancel(1, 1)
    wait_until(again.exists, "the third task to begin")
    executor.cancel(3, 1)
    first, outputs, reasons = executor.results(3)
    assert (first, outputs, sorted(reasons)) == (1, [b""] * 3, [0, 1, 2])
    executor.invoke(4, b"calls")
    assert executor.results(1)[1] == [b"[3, 1, 1, 1]"]


@pytest.mark.parametrize("how", ["return", "yield"])
def test_a_batch_may_hear_a_cancel_and_go_on(start, tmp_path, how):
    executor = start("batch", how, "stubborn")
    executor.enter()
    began = tmp_path / "began"
    executor.invoke(1, b"2", b"hold:%s" % bytes(began), b"calls")
    wait_until(began.exists, "the second task to begin")
    executor.cancel(2, 1)
    assert executor.results(3) == (1, [b"4", b"went on", b"[3]"], {})


# ---- coroutines ----------------------------------------------------------------------------------


def test_coroutines_of_a_frame_are_in_hand_at_the_same_time(start):
    executor = start("coroutines")
    assert executor.enter() == (OK, "")
    executor.invoke(1, b"meet:3", b"meet:3", b"a", b"meet:3")
    assert executor.results(4) == (1, [b"meet:3", b"meet:3", b"a", b"meet:3"], {})
    executor.invoke(5, b"fail:no luck", b"b", b"give-up")
    first, outputs, reasons = executor.results(3)
    assert (first, outputs) == (5, [b"", b"b", b""]) and sorted(reasons) == [0, 2]
    assert reasons[0].startswith("ValueError: no luck\n\nTraceback")
    assert "coroutines.py" in reasons[0] and "_async_calls.py" not in reasons[0]
    assert reasons[2].startswith("asyncio.exceptions.CancelledError: by itself")
    executor.send(LEAVE)
    assert executor.receive() == (LEAVE, b"")
    assert executor.enter(b"refuse")[1].startswith("OSError: no disk")


def test_a_cancelled_coroutine_hears_asyncios_exception_and_the_others_go_on(start, tmp_path):
    executor = start("coroutines")
    executor.enter()
    began = tmp_path / "began"
    executor.invoke(1, b"a", b"hold:%s" % bytes(began), b"b")
    wait_until(began.exists, "the task to begin")
    executor.cancel(7, 2)  # another one's
    executor.cancel(2, 1)
    assert executor.results(3) == (1, [b"a", b"", b"b"], {1: "the task was cancelled"})
    executor.cancel(5, 1)  # before its turn
    executor.invoke(4, b"cancelled:", b"hold:/nowhere", b"c")
    first, outputs, reasons = executor.results(3)
    assert (first, outputs) == (4, [b"2", b"", b"c"]) and list(reasons) == [1]


@pytest.mark.parametrize("how", ["return", "yield"])
def test_a_batch_may_be_a_coroutine(start, how):
    executor = start("async_batch", how)
    executor.enter()
    executor.invoke(1, b"2", b"3")
    assert executor.results(2) == (1, [b"4", b"9"], {})
    executor.invoke(3, b"4", b"no number")
    _, outputs, reasons = executor.results(2)
    assert outputs == ([b"", b""] if how == "return" else [b"16", b""])
    assert reasons[1].startswith("ValueError: invalid literal")


def test_ends_when_the_executor_is_gone(start):
    executor = start("echo")
    executor.enter()
    assert executor.end() == (0, "")


def test_a_message_it_does_not_know_ends_it_with_a_sentence(start):
    executor = start("echo")
    executor.enter()
    executor.send(77)
    code, err = executor.end()
    assert code == 1 and "message type 77" in err


def test_started_by_hand_it_says_what_it_is():
    env = {name: value for name, value in os.environ.items() if name != "FLAME_INSTANCE_FD"}
    for more in ({}, {"FLAME_INSTANCE_FD": "99"}, {"FLAME_INSTANCE_FD": "no"}):
        done = subprocess.run(
            [sys.executable, SERVICES / "echo.py"],
            env=env | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "flame-executor starts it" in done.stderr
