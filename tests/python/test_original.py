# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Services written for the original Flame, unmodified, with the package that the original
published, against a real cluster of ours; and a service in plain grpcio for what goes wrong."""

import os
import signal
import subprocess
import sys

import pytest

import flamepy
from flamepy import service

from conftest import ORIGINAL_RUNS_HERE, PATIENCE, ROOT, SERVICES, system, wait_until


@pytest.fixture
def grpc():
    if system.WITHOUT_GRPC:
        pytest.skip("this Flame was built without gRPC")


@pytest.fixture
def application(grpc, running_once, original, tmp_path):
    """Registers a manifest as a user of the original has it."""

    def make(name, *arguments, program="original", more=""):
        manifest = tmp_path / f"{name}.yaml"
        words = [str(SERVICES / f"{program}.py"), *map(str, arguments)]
        manifest.write_text(
            f"metadata: {{name: {name}}}\n"
            f"spec:\n  shim: Host\n  command: {original}\n  arguments: {words}\n{more}"
        )
        done = running_once.flmctl("register", "-f", manifest)
        assert done.code == 0, done
        return name

    return make


def notes(path):
    """(process, words) of each callback that was called."""
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [(int(pid), words) for pid, *words in lines]


def test_the_original_runs_under_this_python(original):
    if not ORIGINAL_RUNS_HERE:
        here = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
        pytest.skip(f"flamepy 0.6.0 cannot be imported by {here}; Debian's runs it instead")
    asked = "import flamepy, sys; print(sys.version)"
    assert subprocess.check_output([original, "-c", asked], text=True).strip() == sys.version


def test_the_contract_is_the_originals(original, tmp_path):
    described = tmp_path / "contract"
    folder = ROOT / "shims/grpc"
    words = ["protoc", f"--proto_path={folder}", f"--descriptor_set_out={described}"]
    subprocess.run([*words, "instance.proto"], check=True)
    program = SERVICES / "original_contract.py"
    done = subprocess.run(
        [original, program, described], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_service_of_the_original(application, shared, running_once, tmp_path):
    heard = tmp_path / "notes"
    name = application("original", heard)
    assert "shim:              grpc" in running_once.flmctl("view", "application", name).out

    session = shared.create_session(name, common_data=b"common", max_instances=1)
    assert session.run(b"first").result() == b"common:1:first"
    assert session.run(b"").result() == b"common:2:"
    assert session.run(b"nothing").result() == b""
    with pytest.raises(flamepy.TaskError, match="^task 4 cannot be done") as failed:
        session.run(b"raise").result()
    assert failed.value.kind is flamepy.Code.TASK_FAILED
    futures = [session.run(b"%d" % i) for i in range(200)]
    expected = [b"common:%d:%d" % (i + 5, i) for i in range(200)]
    assert [future.result() for future in futures] == expected
    session.close()

    # Entered and left once, and its process serves no other session.
    wait_until(lambda: len(notes(heard)) == 2, "the service left its session")
    (pid, entered), (same, left) = notes(heard)
    assert (entered, left) == (["enter", session.id, name], ["leave"]) and pid == same
    wait_until(lambda: not system.alive(pid), "the service's process ended")
    with shared.create_session(name) as other:
        assert other.run(b"x").result() == b"none:1:x"
    wait_until(lambda: len(notes(heard)) == 4, "the other service left")
    assert len({pid for pid, _ in notes(heard)}) == 2


def test_it_may_serve_several_sessions_and_tasks_if_its_manifest_says_so(
    application, shared, tmp_path
):
    heard = tmp_path / "notes"
    name = application("reused", heard, more="  reuse: always\n  concurrency: 8\n")
    for _ in range(2):
        with shared.create_session(name, max_instances=1) as session:
            futures = [session.run(b"%d" % i) for i in range(100)]
            assert [f.result() for f in futures] == [b"none:%d:%d" % (i + 1, i) for i in range(100)]
    wait_until(lambda: len(notes(heard)) == 4, "both were left")
    assert len({pid for pid, _ in notes(heard)}) == 1


def test_a_session_that_it_refuses_says_why(application, shared, running_once, tmp_path):
    name = application("refusing", tmp_path / "notes")
    session = shared.create_session(name, common_data=b"refuse")
    session.run(b"x")
    wait_until(
        lambda: "no such model" in running_once.flmctl("view", "session", session.id).out,
        "the session shows the reason",
    )
    session.close()


def test_a_service_of_one_function(application, shared, monkeypatch):
    monkeypatch.setattr("flamepy._client._default", shared)
    with service.Session(application("one-function", program="original_instance")) as session:
        assert session.invoke([1, 2, 3]) == {"sum": 6, "version": "0.6.0", "context": None}


def test_services_that_are_killed_under_load_lose_nothing(application, shared, tmp_path):
    heard = tmp_path / "notes"
    name = application("killed", heard, more="  reuse: always\n")
    session = shared.create_session(name)
    futures = [session.run(b"%d" % i) for i in range(3000)]
    killed = set()
    for done in (200, 700, 1200, 1700, 2200):
        wait_until(lambda done=done: session.refresh().done >= done, f"{done} tasks are done")
        serving = {pid for pid, words in notes(heard) if words[0] == "enter"} - killed
        pid = max(filter(system.alive, serving))
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    expected = [b"none:%d:%d" % (i + 1, i) for i in range(3000)]
    assert [future.result(PATIENCE) for future in futures] == expected
    session.refresh()
    assert (session.tasks, session.succeed, session.failed) == (3000, 3000, 0)
    assert len(killed) == 5
    session.close()


# ---- what goes wrong, in plain grpcio ------------------------------------------------------------


@pytest.fixture
def odd(grpc, shared):
    def make(name, **attributes):
        shared.register_application(
            name,
            {
                "shim": "Grpc",
                "command": str(ROOT / "tests/unit/shims/odd_grpc_service.py"),
                "environments": {"PYTHONPATH": str(system.BIN.parent / "generated/python")},
            }
            | attributes,
        )
        return shared.create_session(name, max_instances=1)

    return make


def test_a_service_that_dies_or_hangs_in_a_call(odd):
    with odd("grpc-dies", max_attempts=2) as session:
        why = "exit code 3; it wrote:\nout of luck"
        with pytest.raises(flamepy.TaskError, match=why) as crashed:
            session.run(b"exit").result()
        assert crashed.value.kind is flamepy.Code.TASK_CRASHED
        assert session.run(b"next").result() == b"next"
    with odd("grpc-hangs", max_attempts=1, task_timeout_ms=200) as session:
        with pytest.raises(flamepy.TaskError, match="longer than its task_timeout") as late:
            session.run(b"hang").result()
        assert late.value.kind is flamepy.Code.TASK_TIMEOUT


def test_a_service_that_is_killed_in_a_call_is_retried(odd, tmp_path):
    with odd("grpc-killed") as session:
        pid = int(session.run(b"pid").result())
        begun = tmp_path / "begun"
        hanging = session.run(b"hang %s" % os.fsencode(begun))
        wait_until(begun.exists, "the call hangs")
        os.kill(pid, signal.SIGKILL)
        assert hanging.result() == b"the second time"
        assert int(session.run(b"pid").result()) != pid
