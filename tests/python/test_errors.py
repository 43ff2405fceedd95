# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What goes wrong around the client: one clear exception each, and nothing hangs."""

import asyncio
import dis
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest
import zmq

import flamepy
import flamepy.aio
from flamepy._connection import Connection
from flamepy._proto import codec, limits
from flamepy._proto.messages import ErrorReply
from flamepy._session_state import AttachedSession
from flamepy._submit_queue import SubmitQueue

from conftest import PATIENCE, register


def test_no_broker():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(flamepy.NoBrokerError, match="flmctl up") as raised:
            flamepy.connect(address, timeout=0.2)
    assert isinstance(raised.value, ConnectionError)
    assert raised.value.code is flamepy.FlameErrorCode.INVALID_CONFIG


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080", "nonsense", "tcp://host", "ipc://"])
def test_an_address_that_is_none(address):
    with pytest.raises(flamepy.FlameError, match="no address of a broker"):
        flamepy.connect(address)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
def test_a_host_that_does_not_resolve(host):
    async def main():
        await flamepy.aio.connect(f"{host}:7700", timeout=0.1)

    for connect in (
        lambda: flamepy.connect(f"{host}:7700", timeout=0.1),
        lambda: asyncio.run(main()),
    ):
        with pytest.raises(flamepy.NoBrokerError, match=f"'{host}' .* does not resolve: "):
            connect()


def test_something_else_answers_at_the_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(flamepy.NoBrokerError):
            flamepy.connect(address, timeout=0.2)


@pytest.mark.parametrize("code", [flamepy.Code.VERSION, flamepy.Code.CLUSTER])
def test_a_broker_that_refuses_us_for_good_is_believed_at_once(code):
    """There is no broker of another version to start, so its one answer is given by hand."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as broker:
        port = broker.bind_to_random_port("tcp://127.0.0.1")

        def refuse():
            peer, *frames = broker.recv_multipart()
            link = codec.decode(frames).link
            reply = ErrorReply(0, code, "this is another one")
            broker.send_multipart([peer, *codec.Encoder().encode(link, 1, reply)])

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(flamepy.FlameError, match="this is another one") as raised:
            flamepy.connect(f"tcp://127.0.0.1:{port}", timeout=PATIENCE)
        thread.join(PATIENCE)
    assert raised.value.kind is code
    assert raised.value.code is flamepy.FlameErrorCode.INVALID_CONFIG


def test_the_default_cluster_is_found(monkeypatch, tmp_path, running_once):
    endpoint = running_once.env["FLAME_ENDPOINT"]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("FLAME_ENDPOINT", raising=False)
    folder = tmp_path / "flame/default"
    folder.mkdir(parents=True)
    (folder / "cluster.json").write_text((running_once.data / "cluster.json").read_text())
    with flamepy.connect() as connection:
        assert connection.addr == endpoint
    monkeypatch.setenv("FLAME_ENDPOINT", "tcp://127.0.0.1:9")
    with pytest.raises(flamepy.NoBrokerError, match="127.0.0.1:9"):
        flamepy.connect(timeout=0.1)
    with flamepy.connect(endpoint) as connection:
        assert connection.addr == endpoint


def test_inputs_and_common_data_above_their_limit(shared):
    large = bytes(limits.PAYLOAD_BYTES_MAX + 1)
    with shared.create_session(register(shared, "echo")) as session:
        with pytest.raises(flamepy.TooLargeError, match=str(limits.PAYLOAD_BYTES_MAX)):
            session.run(large)
        with pytest.raises(flamepy.TooLargeError):
            session.map([b"a", large])
        with pytest.raises(flamepy.TooLargeError):
            shared.create_session("echo", common_data=large)
        with pytest.raises(flamepy.FlameError, match="common data is bytes"):
            shared.create_session("echo", common_data="text")
        assert session.invoke(b"x") == b"x"


def test_an_output_above_its_limit_fails_its_task_alone(shared):
    with shared.create_session(register(shared, "echo")) as session:
        future = session.run(b"large:%d" % (limits.PAYLOAD_BYTES_MAX + 1))
        with pytest.raises(flamepy.TaskError) as raised:
            future.result(2 * PATIENCE)
        assert raised.value.kind is flamepy.Code.TASK_OUTPUT_TOO_LARGE
        assert session.invoke(b"x", PATIENCE) == b"x"


def test_a_closed_connection(running_once):
    connection = flamepy.connect(running_once.env["FLAME_ENDPOINT"])
    session = connection.create_session(register(connection, "echo"))
    waiting = session.run(b"sleep:2")
    connection.close()
    connection.close()
    for call in (connection.list_sessions, session.refresh, lambda: session.run(b"x")):
        with pytest.raises(flamepy.FlameError, match="the client was closed"):
            call()
    with pytest.raises(flamepy.FlameError, match="the client was closed"):
        waiting.result(PATIENCE)
    with flamepy.connect(running_once.env["FLAME_ENDPOINT"]) as other:
        other.delete_session(session.id, force=True)


def test_closing_waits_until_the_broker_has_what_was_submitted(running_once):
    connection = flamepy.connect(running_once.env["FLAME_ENDPOINT"])
    session = connection.create_session(register(connection, "echo"))
    for _ in range(30_000):
        session.run(b"x")
    connection.close()
    with flamepy.connect(running_once.env["FLAME_ENDPOINT"]) as other:
        assert other.get_session(session.id).wait(2 * PATIENCE).succeed == 30_000


def test_threads_that_wait_are_told_when_the_connection_closes(running_once):
    connection = flamepy.connect(running_once.env["FLAME_ENDPOINT"])
    session = connection.create_session(register(connection, "echo"))
    future, errors, begun = session.run(b"sleep:2"), [], threading.Event()

    def wait():
        begun.set()
        errors.append(future.exception(PATIENCE))

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait(PATIENCE)
    connection.close()
    thread.join(PATIENCE)
    assert [error.kind for error in errors] == [flamepy.Code.INTERRUPTED]
    with flamepy.connect(running_once.env["FLAME_ENDPOINT"]) as other:
        other.delete_session(session.id, force=True)


def test_a_fork_after_connect_is_told_and_may_connect_anew(shared, running_once):
    session = shared.create_session(register(shared, "echo"))
    running = session.run(b"sleep:0.2")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            texts = []
            for call in (lambda: session.run(b"x"), running.result, shared.list_sessions):
                try:
                    call()
                except flamepy.FlameError as error:
                    texts.append(str(error))
            with flamepy.connect(running_once.env["FLAME_ENDPOINT"]) as own:
                texts.append(own.get_session(session.id).id)
            os.write(writer, pickle.dumps(texts))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        texts = pickle.loads(answer.read())
    os.waitpid(child, 0)
    assert len(texts) == 4 and texts[3] == session.id
    assert all("forked after the client had connected" in text for text in texts[:3])
    assert running.result(PATIENCE) == b"sleep:0.2"
    session.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_connections_own_thread_leaves_nobody_waiting(shared, running_once):
    connection = flamepy.connect(running_once.env["FLAME_ENDPOINT"])
    session = connection.create_session(register(connection, "echo"))
    future = session.run(b"sleep:600")
    assert future.task_id == 1
    connection._io.post(lambda: 1 / 0)
    assert "the client was closed" in str(future.exception(PATIENCE))
    connection._io._thread.join(PATIENCE)
    for call in (connection.list_sessions, lambda: session.run(b"x")):
        with pytest.raises(flamepy.FlameError, match="the client was closed"):
            call()
    shared.delete_session(session.id, force=True)


POOL = """
import multiprocessing, sys, flamepy


def count(_):
    return len(flamepy.list_sessions())


def call(executor, *arguments):
    try:
        return executor.submit(*arguments).result()
    except flamepy.FlameError as error:
        return str(error)


def name(session):
    return session.id


if __name__ == "__main__":
    session = flamepy.create_session("echo")
    executor = flamepy.Executor()
    print(executor.submit(abs, -1).result())
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(set(pool.map(count, range(8))))
        for thing in (session, session.connection, session.run(b"x"), executor):
            try:
                pool.map(name, [thing])
            except TypeError as error:
                print(error)
    if sys.argv[1] == "fork":
        reader, writer = context.Pipe()
        child = context.Process(target=lambda: writer.send(call(executor, abs, -1)))
        child.start()
        print(reader.recv())
        child.join()
    executor.shutdown()
    session.close()
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_of_multiprocessing_connect_anew(running_once, shared, tmp_path, method):
    """And what belongs to the first process says so, whichever way it is taken along."""
    program = tmp_path / "pool.py"
    program.write_text(POOL)
    before = len(shared.list_sessions())
    done = running_once.run(sys.executable, program, method, timeout=2 * PATIENCE)
    assert done.code == 0, done
    lines = done.out.splitlines()
    assert lines[:2] == ["1", f"{{{before + 2}}}"]
    kinds = [re.match(r"cannot pickle a (flamepy\.\w+): it belongs", line) for line in lines[2:6]]
    assert [kind.group(1) for kind in kinds] == [
        f"flamepy.{name}" for name in ("Session", "Connection", "Future", "Executor")
    ]
    told = ["forked after the client had connected" in line for line in lines[6:]]
    assert told == ([True] if method == "fork" else [])


def run_to_its_end(program, cluster):
    return subprocess.run(
        [sys.executable, "-c", program, cluster.env["FLAME_ENDPOINT"]],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


FORGETFUL = """
import sys, flamepy
session = flamepy.connect(sys.argv[1]).create_session("echo")
future = session.run(b"sleep:2")
list(session.map([b"x"] * 1000))
print(session.id)
"""


def test_a_program_that_forgets_to_close_ends_at_once(shared, running_once):
    register(shared, "echo")
    done = run_to_its_end(FORGETFUL, running_once)
    assert (done.returncode, done.stderr) == (0, "")
    shared.delete_session(done.stdout.strip(), force=True)


LATE = """
import atexit, sys


@atexit.register
def last():
    for call in (lambda: session.run(b"x"), future.result, lambda: executor.submit(abs, 1)):
        try:
            call()
        except Exception as error:
            print(type(error).__name__, error)


import flamepy

connection = flamepy.connect(sys.argv[1])
executor = flamepy.Executor(connection=connection)
executor.submit(abs, 1).result()
session = connection.create_session("echo")
future = session.run(b"sleep:600")
print(session.id)
"""


def test_work_in_flight_when_the_interpreter_ends_is_told(shared, running_once):
    register(shared, "echo")
    done = run_to_its_end(LATE, running_once)
    session, *told = done.stdout.splitlines()
    assert told == ["FlameError the client was closed (interrupted)"] * 3, done
    assert (done.returncode, done.stderr) == (0, "")
    shared.delete_session(session, force=True)


INTERRUPTED = """
import pathlib, signal, sys, flamepy
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
folder = pathlib.Path(sys.argv[2])
with flamepy.connect(sys.argv[1]) as connection, connection.create_session("talker") as session:
    future = session.run(b"steps:%s" % bytes(folder))
    try:
        print("waits", flush=True)
        future.result()
    except KeyboardInterrupt:
        for step in "10", "60":  # now it may end
            (folder / step).touch()
        print("interrupted", session.invoke(b"goes on"), future.result()[:5])
"""


class InterruptedAt:
    """Raises KeyboardInterrupt where `function` comes to `line`, once, as Ctrl-C may."""

    def __init__(self, function, line):
        self.code, self.line, self.raised = function.__code__, line, False

    def __enter__(self):
        sys.settrace(lambda frame, *_: self.look if frame.f_code is self.code else None)

    def look(self, frame, event, _):
        if event == "line" and frame.f_lineno == self.line and not self.raised:
            self.raised = True
            raise KeyboardInterrupt
        return self.look

    def __exit__(self, kind, *_):
        sys.settrace(None)
        return kind is KeyboardInterrupt


def lines_of(function):
    return sorted({line for _, line in dis.findlinestarts(function.__code__)})[1:]


def test_an_interrupt_anywhere_in_a_submit_leaves_the_session_intact(shared):
    register(shared, "echo")
    submits = [
        (SubmitQueue.add, lambda session: session.run(b"interrupted")),
        (SubmitQueue.add, lambda session: session.invoke(b"interrupted")),
        (SubmitQueue.push, lambda session: session.invoke(b"interrupted")),
        (SubmitQueue.add_run, lambda session: session.map([b"interrupted"] * 3)),
        (AttachedSession.need_results, lambda session: session.run(b"interrupted")),
        (Connection.wake, lambda session: session.run(b"interrupted")),
        (Connection._signal, lambda session: session.run(b"interrupted")),
    ]
    hits = 0
    for function, submit in submits:
        for line in lines_of(function):
            with shared.create_session("echo") as session:
                at = InterruptedAt(function, line)
                with at:
                    submit(session)
                hits += at.raised
                session.flush(20)  # nothing that was half submitted is left
                futures = [session.run(b"%d" % i) for i in range(3)]
                assert [future.result(20) for future in futures] == [b"0", b"1", b"2"], (
                    function,
                    line,
                )
    assert hits > 30


ABRUPT = """
import sys, flamepy
session = flamepy.connect(sys.argv[1]).create_session("echo")
for _ in range(20_000):
    session.run(b"x")
print(session.id)
"""


def test_what_was_submitted_arrives_also_where_nobody_waited(shared, running_once):
    register(shared, "echo")
    done = run_to_its_end(ABRUPT, running_once)
    assert (done.returncode, done.stderr) == (0, "")
    assert shared.get_session(done.stdout.strip()).wait(2 * PATIENCE).succeed == 20_000


def test_a_keyboard_interrupt_leaves_the_session_intact(shared, running_once, tmp_path):
    register(shared, "talker")
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, running_once.env["FLAME_ENDPOINT"], tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout.readline() == "waits\n"
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=PATIENCE)
    assert (program.returncode, out, err) == (0, "interrupted b'goes on' b'steps'\n", "")


def test_exceptions_survive_pickling():
    error = flamepy.TaskError(flamepy.Code.TASK_FAILED, "no luck")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.kind) == (flamepy.TaskError, str(error), error.kind)
