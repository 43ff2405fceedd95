# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a person can get wrong with the tools: each mistake has an answer that names it and what to
do, and harms nobody else. Wrong frames on the sockets are the matter of tests/fuzz."""

import pytest
from conftest import wait_until

LONG = "x" * 10_000
CONTROL = "a\x1b[2J\nb"


def printable(text):
    return all(c == "\n" or 32 <= ord(c) < 127 for c in text)


def test_names_that_are_none(running):
    for words, code, named in (
        (["create", "-a", "echo", "--name", "a/b"], 1, "session name 'a/b' has a character"),
        (["create", "-a", "echo", "--name", ".."], 1, "starts with '.'"),
        (["create", "-a", "echo", "--name", LONG], 1, "has 10000 characters; at most 128"),
        (["create", "-a", "echo", "--name", CONTROL], 1, "a\\x1b[2J\\x0ab"),
        (["create", "-a", "no/such"], 1, "application name 'no/such' has a character outside"),
        (["create", "-a", LONG], 1, "application name 'xxx"),
        (["view", LONG], 3, "no session 'xxx"),
        (["view", "-a", CONTROL], 3, "no application 'a\\x1b[2J\\x0ab'"),
        (["submit", "../../etc", "x"], 3, "no session '../../etc'"),
        (["delete", CONTROL], 3, "no session"),
        (["unregister", LONG], 3, "flmctl list application"),
    ):
        done = running.flmctl(*words)
        assert done.code == code and named in done.err and done.out == "", (words, done)
        # Neither a flood nor an escape sequence reaches the terminal.
        assert len(done.err) < 400 and printable(done.err), (words, done)
    assert running.sessions() == []


def test_what_does_not_exist_is_named_with_the_next_step(running):
    running.flmctl("create", "-a", "echo", "--name", "one")
    for words, code, named in (
        (["create", "-a", "nothing"], 3, "no application 'nothing'; flmctl list application"),
        (["submit", "nothing", "x"], 3, "no session 'nothing'; flmctl list session"),
        (["wait", "nothing"], 3, "no session 'nothing'; flmctl list session"),
        (["results", "nothing"], 3, "no session 'nothing'; flmctl list session"),
        (["close", "nothing"], 3, "no session 'nothing'; flmctl list session"),
        (["view", "-e", "nothing"], 3, "no executor 'nothing'; flmctl list executor"),
        (["view", "task", "one/1"], 3, "session one has no tasks yet; flmctl submit one"),
        (["view", "task", "one/first"], 2, "which task?"),
        (["list", "task"], 2, "of which session?"),
        (["view", "one", "more"], 2, "unexpected 'more'"),
        (["close", "application", "echo"], 2, "close takes one session, not one application"),
        (["close", "-t", "1"], 2, "unknown option '-t'"),
    ):
        done = running.flmctl(*words)
        assert done.code == code and named in done.err, (words, done)
    done = running.flmctl("list", "sesions")
    assert "no session begins with 'sesions'" in done.err, done


def test_a_closed_session_takes_no_tasks(running):
    session = running.flmctl("create", "-a", "echo").out.strip()
    running.flmctl("close", session)
    done = running.flmctl("submit", session, "x")
    assert done.code == 1 and f"'{session}' is Closed and takes no tasks; flmctl create" in done.err


def test_an_id_that_is_taken(running):
    assert running.flmctl("create", "-a", "echo", "--name", "dup").code == 0
    done = running.flmctl("create", "-a", "echo", "--name", "dup")
    assert done.code == 1 and "exists already; open it, or leave the id out" in done.err, done
    again = ["create", "-a", "echo", "--name", "dup", "--open-or-create"]
    assert running.flmctl(*again).out == "dup\n"
    done = running.flmctl(*again, "--max-instances", 3)
    assert done.code == 1 and "exists with max_instances 0; ask for the same" in done.err, done


@pytest.mark.parametrize(
    "text, named",
    [
        ("just text", "is no manifest: it must be a map with metadata and spec"),
        ("- a\n- b\n", "is no manifest"),
        ("a: [1", "is not YAML"),
        ("", "holds no manifest"),
        ("spec: {command: x}", "a manifest needs metadata.name"),
        ("metadata: {name: ab}", "a manifest needs a map named spec"),
        ("metadata: {name: ab}\nspec: text", "a manifest needs a map named spec"),
        ("metadata: {name: ../x}\nspec: {command: x}", "application name '../x'"),
        ("metadata: {name: ab}\nspec: {comand: x}", "did you mean 'command'?"),
        ("metadata: {name: ab}\nspec: {}", "'command' must be set"),
        ("metadata: {name: ab}\nspec: {command: x, max_attempts: many}", "'max_attempts' must be"),
        ("metadata: {name: ab}\nspec: {command: x, shim: stdio}", "shim 'stdio' is not in this"),
        ("metadata: {name: ab}\nspec: {command: x}\nmore: 1", "unknown manifest field 'more'"),
        ("metadata: {name: ok}\nspec: {command: x}\n---\nspec: {}", "(document 2)"),
        ("\0\1\2", "is no manifest"),
        ("[" * 1000 + "]" * 1000, "app.yaml"),
        ("x" * (2 << 20), "is larger than"),
    ],
)
def test_files_that_are_no_manifest(running_once, tmp_path, text, named):
    manifest = tmp_path / "app.yaml"
    manifest.write_text(text)
    done = running_once.flmctl("register", "-f", manifest)
    assert done.code == 1 and done.out == "", done
    assert str(manifest) in done.err and named in done.err, done
    assert len(done.err) < 600 and printable(done.err), done
    names = running_once.flmctl("list", "application", "-o", "name").out.split()
    builtins = ["echo", "flmexec", "flmping", "flmping-grpc", "flmping-shell"]
    assert names == builtins  # nothing of it, not even `ok`


def test_files_that_cannot_be_read(running_once, tmp_path):
    done = running_once.flmctl("register", tmp_path / "none.yaml")
    assert done.code == 1 and "No such file" in done.err, done
    done = running_once.flmctl("register", tmp_path)
    assert done.code == 1 and "Is a directory" in done.err, done
    done = running_once.flmctl("create", "-a", "echo", "-c", tmp_path / "none")
    assert done.code == 1 and "No such file" in done.err, done


DYING = """
metadata: {name: dying}
spec: {command: /bin/sh, arguments: [-c, "echo no licence found >&2; exit 3"]}
---
metadata: {name: missing}
spec: {command: /no/such/service}
"""


@pytest.mark.parametrize(
    "application, reason", [("dying", "no licence found"), ("missing", "/no/such/service")]
)
def test_a_service_that_dies_at_start_is_shown_and_harms_nobody(
    running_once, tmp_path, application, reason
):
    (tmp_path / "app.yaml").write_text(DYING)
    running_once.flmctl("register", tmp_path / "app.yaml")
    session = running_once.flmctl("create", "-a", application).out.strip()
    running_once.flmctl("submit", session, "x")
    done = running_once.flmctl("wait", session, "--timeout", "2s")
    assert done.code == 124 and f"flmctl view session {session}" in done.err, done
    view = running_once.flmctl("view", session)
    assert reason in view.out, view
    done = running_once.run("flmping", "-t", 100, "-o", "json")
    assert done.code == 0 and done.json["succeeded"] == 100, done
    assert running_once.flmctl("close", session).code == 0


def test_settings_that_do_not_exist_are_named_with_the_nearest(cluster, tmp_path):
    settings = tmp_path / "broker.yaml"
    for text, named in (
        ("ring-dir: /dev/shm\nrign-size: 1MiB\n", f"{settings}:2: unknown key 'rign-size'"),
        ("ring-size: many\n", "ring-size"),
        ("- a list\n", "broker.yaml"),
    ):
        settings.write_text(text)
        done = cluster.run("flame-broker", "--config", settings)
        assert done.code == 2 and named in done.err and done.out == "", done
    settings.write_text("rign-size: 1MiB\n")
    assert "did you mean 'ring-size'?" in cluster.run("flame-broker", "--config", settings).err
    for program, flag, nearest in (
        ("flame-broker", "--lisen", "--listen"),
        ("flame-executor", "--solts", "--slots"),
        ("flmping", "--task-mum", "--task-num"),
        ("flmexec", "--langauge", "--language"),
    ):
        done = cluster.run(program, flag, "1")
        assert done.code == 2 and f"did you mean '{nearest}'?" in done.err, done


def test_an_address_beyond_loopback_must_be_asked_for(cluster):
    for address in ("0.0.0.0", "10.0.0.1", "*", "somewhere.example"):
        done = cluster.run("flame-broker", "--listen", f"{address}:0", "--ring-size", "0")
        assert done.code == 1 and done.out == "", done
        assert f"--listen {address} reaches beyond this machine" in done.err, done
        assert "say --insecure" in done.err, done


def test_a_broker_whose_port_is_taken_names_it(running):
    taken = int(running.file["endpoint"].rsplit(":", 1)[1])
    for port in (taken, taken - 1, taken - 80):  # for clients, for executors, for HTTP
        done = running.run("flame-broker", "--listen", f"127.0.0.1:{port}", "--ring-size", "0")
        assert done.code == 1 and f"127.0.0.1:{taken}" in done.err, done


def test_a_redis_that_is_not_there_is_named_by_up(cluster, tmp_path):
    done = cluster.up("--redis", f"unix://{tmp_path}/none", expect=1)
    assert f"{tmp_path}/none" in done.err and "No such file" in done.err, done
    cluster.down()


def test_tasks_are_listed_with_what_is_known_of_them(running):
    session = running.flmctl("create", "-a", "flmexec").out.strip()
    running.flmctl("submit", session, *["read forever </dev/zero"] * 2, "true", "true")

    def states(*words):
        rows = running.flmctl("list", "task", session, "-o", "json", *words).json
        return [(row["id"], row["state"]) for row in rows]

    wait_until(lambda: states("--state", "running") == [(1, "Running"), (2, "Running")], "two run")
    assert states() == [(1, "Running"), (2, "Running"), (3, "Pending"), (4, "Pending")]
    assert states("--state", "pending,failed", "--limit", 1) == [(3, "Pending")]
    view = running.flmctl("view", "task", "-s", session, "-t", 4, "-o", "json").json
    assert (view["state"], view["input"], view["why"]) == ("Pending", "true", "running on 2 slots")
    view = running.flmctl("view", "task", f"{session}/1", "-o", "json").json
    assert (view["executor"], view["attempt"]) == ("executor-1", 1) and view["dispatched"] > 0, view
    done = running.flmctl("list", "task", session, "--limit", 3)
    assert "only the first 3; --limit N shows more" in done.err, done
    assert running.flmctl("list", "task", session, "--state", "done").code == 2
    running.flmctl("close", session)
    assert states("--state", "cancelled") == [(3, "Cancelled"), (4, "Cancelled")]
    view = running.flmctl("view", "task", f"{session}/4", "-o", "json").json
    assert (view["state"], view["code"]) == ("Cancelled", "task_cancelled"), view
    running.flmctl("delete", session, "--force")


def test_a_failed_task_is_found_among_many(running):
    session = running.flmctl("create", "-a", "flmexec").out.strip()
    commands = ["true"] * 300 + ["echo why >&2; exit 3"] + ["true"] * 300
    running.flmctl("submit", session, "--wait", *commands)
    rows = running.flmctl("list", "task", session, "--state", "failed", "-o", "json").json
    assert [row["id"] for row in rows] == [301] and "why" in rows[0]["reason"], rows
    view = running.flmctl("view", "task", f"{session}/301", "-o", "json").json
    assert view["input"] == "echo why >&2; exit 3" and view["ended"] >= view["started"] > 0, view


def test_dropped_results_are_told_from_missing_ones(running_once):
    session = running_once.run("flmping", "-t", 50, "-o", "json").json["session"]  # retention read
    done = running_once.flmctl("view", "task", f"{session}/7", "-o", "json")
    assert done.json["state"] == "Succeed" and "dropped" in done.json["why"], done
