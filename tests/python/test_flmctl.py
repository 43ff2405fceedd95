# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The tools beside the package: what flmctl changes, follows and reads of a running session."""

import json
import subprocess
import sys

import pytest

from conftest import PATIENCE, register, wait_until


@pytest.fixture
def session(shared):
    with shared.create_session(register(shared, "talker"), max_instances=1) as made:
        yield made


@pytest.fixture
def started(running_once):
    """Starts flmctl beside the test; its stdout is read line by line."""
    programs = []

    def start(*words):
        program = subprocess.Popen(
            ["flmctl", *map(str, words)],
            env=running_once.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        if program.poll() is None:
            program.kill()
        program.stdout.close()
        program.wait(PATIENCE)


def steps(tmp_path):
    folder = tmp_path / "steps"
    folder.mkdir()
    return folder, f"steps:{folder}".encode()


def test_a_task_is_watched_to_its_end(session, started, tmp_path):
    folder, data = steps(tmp_path)
    future = session.run(data)
    assert future.task_id == 1
    watch = started("watch", f"{session.id}/1", "-o", "json")
    seen = []
    for line in watch.stdout:
        row = json.loads(line)
        seen.append((row["state"], row.get("percent", 0), row.get("progress", "")))
        if seen[-1][1]:
            (folder / str(seen[-1][1])).touch()
    assert watch.wait(PATIENCE) == 0
    assert ("Running", 10, "step 10") in seen and ("Running", 60, "step 60") in seen
    assert seen[-1][0] == "Succeed"


def test_a_task_that_fails_is_told_with_its_reason(session, running_once):
    session.run(b"die").exception(PATIENCE)
    done = running_once.flmctl("watch", f"{session.id}/1")
    assert done.code == 4 and done.out.startswith("Failed, attempt 4"), done
    assert "exit code 7" in done.out
    done = running_once.flmctl("watch", f"{session.id}/2")
    assert done.code == 3 and "has no task 2" in done.err, done


def test_a_session_is_watched_until_it_is_closed(session, started, tmp_path):
    folder, data = steps(tmp_path)
    watch = started("watch", session.id, "-o", "json")
    future = session.run(data)
    first = json.loads(watch.stdout.readline())
    assert (first["id"], first["state"], first["percent"]) == (1, "Running", 10)
    for percent in (10, 60):
        (folder / str(percent)).touch()
    assert future.result(PATIENCE) == data
    session.run(b"x").result(PATIENCE)
    session.close()
    rows = [json.loads(line) for line in watch.stdout]
    assert watch.wait(PATIENCE) == 0
    assert [row["output"] for row in rows if row["state"] == "Succeed"] == [data.decode(), "x"]


def test_logs_of_a_session_and_of_a_task(session, running_once):
    assert running_once.flmctl("logs", session.id).out == ""
    for word in (b"print:first", b"print:second"):
        assert session.run(word).result(PATIENCE) == word
    text = running_once.flmctl("logs", session.id).out
    assert text.startswith("==> executor ") and "out first\n" in text and "err second\n" in text
    (log,) = running_once.flmctl("logs", f"{session.id}/2", "-o", "json").json
    assert "out second\n" in log["text"] and "first" not in log["text"] and log["running"]


def test_an_application_and_common_data_are_updated_in_use(session, running_once, tmp_path):
    assert session.run(b"variable:WHO").result(PATIENCE) == b""
    changes = tmp_path / "changes.yaml"
    changes.write_text("environments: {WHO: two}\n")
    done = running_once.flmctl("update", "talker", "-f", changes, "max_attempts=2")
    assert (done.code, done.out) == (0, "Application <talker> was updated.\n"), done
    assert session.run(b"variable:WHO").result(PATIENCE) == b"two"
    view = running_once.flmctl("view", "application", "talker", "-o", "json").json
    assert (view["environments"], view["max_attempts"]) == ({"WHO": "two"}, 2)
    for words, code, why in (
        (("colour=red",), 1, "colour"),
        (("max_attempts",), 2, "is no FIELD=VALUE"),
        ((), 2, "what changes?"),
    ):
        done = running_once.flmctl("update", "talker", *words)
        assert done.code == code and why in done.err, done
    data = tmp_path / "common"
    data.write_text("other data")
    done = running_once.flmctl("update", "session", session.id, "--common-data", data)
    assert done.out == f"Session <{session.id}>: common data is version 2.\n", done
    assert session.run(b"common").result(PATIENCE) == b"other data"


REFUSES = """
import os, sys, flamepy

class Refuses(flamepy.FlameService):
    def on_session_enter(self, context):
        if not os.path.exists(sys.argv[1]):
            raise RuntimeError("not today")

    def on_task_invoke(self, task):
        return task.input

flamepy.run(Refuses())
"""


def test_what_a_service_refuses_is_an_event_of_the_session(shared, running_once, tmp_path):
    """And it is tried again: this one takes the session once the file is there."""
    program = tmp_path / "refuses.py"
    program.write_text(REFUSES)
    allowed = tmp_path / "allowed"
    command = {"command": sys.executable, "arguments": [str(program), str(allowed)]}
    shared.register_application("refusing", command)
    with shared.create_session("refusing") as session:
        future = session.run(b"x")
        wait_until(lambda: any(e.code == 1001 for e in session.events), "the session says so")
        (event, *_) = [event for event in session.events if event.code == 1001]
        assert "not today" in event.message and event.creation_time is not None
        assert "not today" in running_once.flmctl("view", session.id).out
        allowed.touch()
        assert future.result(PATIENCE) == b"x"
        events = session.get_task(1).events
        assert [event.code for event in events] == [1, 2]
        assert events[0].creation_time <= events[1].creation_time
