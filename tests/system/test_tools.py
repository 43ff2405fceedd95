# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flmctl's session verbs, flmping and flmexec as a person uses them."""

import json
import os
import pathlib
import re
import signal
import subprocess

import pytest
import yaml
from conftest import needs_grpc, wait_until

MANIFEST = """
metadata: {name: upper}
spec: {shim: shell, command: /usr/bin/tr, arguments: [a-z, A-Z]}
---
metadata: {name: broken}
spec: {shim: shell, command: /bin/sh, arguments: [-c, "echo no luck >&2; exit 7"]}
"""


def test_a_session_from_register_to_delete(running, tmp_path):
    manifest = tmp_path / "app.yaml"
    manifest.write_text(MANIFEST)
    done = running.flmctl("register", "-f", manifest)
    assert done.out == (
        "Application <upper> was registered.\n" "Application <broken> was registered.\n"
    ), done
    session = running.flmctl("create", "-a", "upper", "--name", "up-1").out.strip()
    assert session == "up-1"
    assert running.flmctl("submit", session, "one", "two").out == "1-2\n"
    assert running.flmctl("submit", "last", stdin="three\nfour\n").out == "3-4\n"
    done = running.flmctl("wait", "up-1", "--timeout", "20s")
    assert (done.code, done.out) == (0, "Session <up-1>: 4 succeed, 0 failed, 0 cancelled.\n"), done
    lines = running.flmctl("results", "up-1", "-o", "json").out.splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["id"]: row["output"] for row in rows} == {1: "ONE", 2: "TWO", 3: "THREE", 4: "FOUR"}
    assert running.flmctl("delete", "up-1").code == 1
    assert running.flmctl("close", "up-1").out == "Session <up-1> was closed.\n"
    assert running.flmctl("submit", "up-1", "five").code == 1
    assert running.flmctl("delete", "last").out == "Session <up-1> was deleted.\n"
    assert running.flmctl("view", "up-1").code == 3
    assert running.flmctl("unregister", "upper").code == 0


def test_an_application_is_named_in_full_where_that_is_kept_and_the_nearest_is_shown(running):
    viewed = running.flmctl("view", "application", "ech", "-o", "json")
    assert json.loads(viewed.out)["name"] == "echo"
    for words in (["create", "-a", "ech"], ["unregister", "ech"], ["update", "-a", "ech", "x=1"]):
        done = running.flmctl(*words)
        assert done.code == 3 and "no application 'ech'; did you mean 'echo'?" in done.err, done
    done = running.flmctl("unregister", "zzzzzzz")
    assert done.code == 3 and done.err.count("flmctl list application") == 1, done
    done = running.flmctl("unregister")
    assert done.code == 2 and "which application? Give its name; flmctl list" in done.err, done


def test_cancel_by_ranges_and_what_runs(running):
    session = running.flmctl("create", "-a", "flmexec").out.strip()

    def counters():
        row = json.loads(running.flmctl("view", session, "-o", "json").out)
        return {name: row[name] for name in ("pending", "running", "succeed", "cancelled")}

    running.flmctl("submit", session, *["exec sleep 600"] * 7)
    wait_until(lambda: counters()["running"] == 2, "two tasks to run")
    said = f"Session <{session}>: {{}} pending and {{}} running tasks were cancelled.\n"
    assert running.flmctl("cancel", session, "1-2").out == said.format(0, 0)
    assert running.flmctl("cancel", session, "4-5", "5", "1").out == said.format(2, 0)
    assert running.flmctl("cancel", session, "7", "-o", "json").out.split() == (
        ["{", '"pending":', "1,", '"running":', "0", "}"]
    )
    done = running.flmctl("cancel", session, "7-8")
    assert done.code == 3 and "has no tasks 7-8; its last one is 7" in done.err, done
    assert running.flmctl("cancel", session, "x").code == 2
    assert running.flmctl("cancel", session, "--running").out == said.format(2, 2)
    assert counters() == {"pending": 0, "running": 0, "succeed": 0, "cancelled": 7}
    # The scripts ended at SIGTERM: their slots are free long before the grace is over.
    done = running.flmctl("submit", session, "echo free", "--wait")
    assert done.code == 0 and "free" in done.out, done
    lines = running.flmctl("results", session, "-o", "json").out.splitlines()
    rows = [json.loads(line) for line in lines]
    assert sorted(row["id"] for row in rows) == list(range(1, 9))
    assert {row["state"] for row in rows if row["id"] < 8} == {"Cancelled"}


def test_a_cancel_of_a_million_tasks_is_written_as_ranges(cluster):
    cluster.up("--executors", 0)
    tasks, segments = 1_100_000, 2
    loaded = cluster.run("flame-bench-load", "--queue", "-t", tasks)
    assert loaded.code == 0, loaded
    session = loaded.json["session"]
    cluster.redis("CONFIG", "RESETSTAT")
    assert cluster.flmctl("cancel", session, "-o", "json").json == {"pending": tasks, "running": 0}
    calls = {
        name: int(count)
        for name, count in re.findall(
            r"cmdstat_(\w+):calls=(\d+)", cluster.redis("INFO", "commandstats")
        )
    }
    # What is written whatever happens (demand, the rows of executors) is a handful of HSET.
    few = {"rpush": segments, "setrange": segments, "xadd": 1, "hset": 20, "hdel": 2 * segments}
    for name, most in few.items():
        assert calls.get(name, 0) <= most, calls
    assert sum(calls.values()) < 100, calls
    # A run of cancelled tasks is one entry, with one output, and no input is left.
    key = f"flame:{{{session}}}"
    assert cluster.redis("LRANGE", f"{key}:done", 0, -1).split() == [
        f"1-{2**20}",
        f"{2**20 + 1}-{tasks}",
    ]
    assert {cluster.redis("HLEN", f"{key}:output:{k}") for k in range(segments)} == {"1"}
    assert {cluster.redis("EXISTS", f"{key}:input:{k}") for k in range(segments)} == {"0"}


def test_results_go_on_from_a_cursor(running):
    session = running.flmctl("create", "-a", "echo").out.strip()
    running.flmctl("submit", session, "a", "b", "--wait")
    cursor = running.flmctl("results", session).err.split("--after ")[1].strip()
    running.flmctl("submit", session, "c", "--wait")
    done = running.flmctl("results", session, "--after", cursor)
    assert done.out == "3\tSucceed\tc\n", done
    old_form, of = cursor.split("@")
    assert of.startswith(session + "#"), cursor
    assert running.flmctl("results", session, "--after", old_form).out == done.out
    other = running.flmctl("create", "-a", "echo").out.strip()
    done = running.flmctl("results", other, "--after", cursor)
    assert done.code == 1 and done.out == "" and of in done.err and f"{other}#" in done.err, done
    done = running.flmctl("results", session, "--after", "0123456789abcdef:0")
    assert done.code == 1 and done.out == "", done


def test_failures_are_shown_with_their_stderr(running, tmp_path):
    manifest = tmp_path / "app.yaml"
    manifest.write_text(MANIFEST)
    running.flmctl("register", manifest)
    session = running.flmctl("create", "-a", "broken").out.strip()
    done = running.flmctl("submit", session, "x", "y", "--wait")
    assert done.code == 4 and "2 x task_failed" in done.err and "no luck" in done.err, done
    done = running.flmctl("wait", session)
    assert done.code == 4 and "exit code 7" in done.err, done


def test_lists_and_views_are_data(running):
    session = running.flmctl("create", "-a", "echo").out.strip()
    running.flmctl("submit", session, "x", "--wait")
    row = running.sessions()[0]
    assert (row["id"], row["state"], row["succeed"]) == (session, "Open", 1)
    view = running.flmctl("view", session, "-o", "json").json
    assert view["id"] == session and view["events"], view
    assert [a["name"] for a in running.flmctl("list", "-a", "-o", "json").json].count("echo") == 1
    assert running.flmctl("list", "executor", "-o", "json").json[0]["slots"] == 2
    assert running.flmctl("view", "task", f"{session}/1", "-o", "json").json["output"] == "x"
    assert running.flmctl("list", "-o", "name").out == session + "\n"
    assert running.flmctl("list", "--all", "-o", "yaml").out.startswith("- id: ")


def objects(text):
    """One after the other, on a line or on several."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_every_verb_answers_in_the_format_that_was_asked_for(running, tmp_path):
    manifest = tmp_path / "app.yaml"
    manifest.write_text(MANIFEST)

    def documents(form, *words):
        done = running.flmctl(*words, "-o", form)
        assert done.code == 0, (words, done)
        return list(yaml.safe_load_all(done.out)) if form == "yaml" else objects(done.out)

    for form in ("json", "yaml"):
        (made,) = documents(form, "create", "-a", "echo")
        assert len(documents(form, "register", "-f", manifest)) == 2
        for words, shown in (
            (["submit", "last", "a"], {"session": made["id"], "tasks": 1, "ids": ["1"]}),
            (["wait", "last"], {"id": made["id"], "state": "Open", "succeed": 1}),
            (["results", "last"], {"id": 1, "state": "Succeed", "output": "a"}),
            (["watch", "last/1"], {"id": 1, "state": "Succeed"}),
            (["cancel", "last"], {"pending": 0, "running": 0}),
            (["update", "session", "last", "-c", manifest], {"message": None}),
            (["close", "last"], {"id": made["id"], "state": "Closed", "tasks": 1}),
            (["delete", "last"], {"message": f"Session <{made['id']}> was deleted."}),
            (["update", "echo", "max_attempts=4"], {"message": None}),
            (["cordon", "executor-1"], {"message": None}),
            (["uncordon", "executor-1"], {"message": None}),
            (["unregister", "upper"], {"message": None}),
            (["recover"], {"message": None}),
        ):
            (row,) = documents(form, *words)
            for name, value in shown.items():
                assert row[name] == value or value is None and row[name], (words, row)


def test_wrong_questions_have_clear_answers(running):
    for words, code, text in (
        (["view", "nothing"], 3, "no session 'nothing'"),
        (["create", "-a", "nothing"], 3, "nothing"),
        (["create"], 2, "which application?"),
        (["create", "-a", "echo", "--name", "a/b"], 1, "a/b"),
        (["create", "-a", "echo", "--durability", "solid"], 2, "solid"),
        (["results", "last", "--after", "x:y"], 1, "x:y"),
        (["clsoe", "x"], 2, "did you mean 'close'?"),
        (["list", "--endpont", "x"], 2, "--endpoint"),
        (["list", "-o", "xml"], 2, "xml"),
        (["recover"], 0, ""),
    ):
        done = running.flmctl(*words)
        assert done.code == code and text in done.err, (words, done)


def test_no_broker_is_exit_5_and_says_what_to_do(running):
    for command in (["flmctl", "list"], ["flmping", "-t", "1"], ["flmexec", "-c", "true"]):
        done = running.run(*command, FLAME_ENDPOINT="tcp://127.0.0.1:1")
        assert done.code == 5, done
        assert "No broker at tcp://127.0.0.1:1. Start one: flmctl up" in done.err, done


def test_an_endpoint_without_a_scheme_is_tcp(running):
    place = running.env["FLAME_ENDPOINT"].removeprefix("tcp://")
    assert running.run("flmctl", "list", FLAME_ENDPOINT=place).code == 0
    assert running.flmctl("list", "--endpoint", place).code == 0


CONTEXTS = """current-context: {0}
contexts:
  - {{name: elsewhere, cluster: {{endpoint: "tcp://127.0.0.1:1"}}}}
  - {{name: here, cluster: {{endpoint: "{1}"}}}}
  - {{name: blue, cluster: {{endpoint: "{1}", name: local}}}}
  - {{name: green, cluster: {{endpoint: "{1}", name: green}}}}
  - {{name: list, cluster: {{endpoint: "{1}", name: [green]}}}}
  - {{name: original, cluster: {{endpoint: "http://127.0.0.1:8080"}}}}
  - {{name: safe, cluster: {{tls: {{ca_file: ca.pem}}}}}}
  - {{name: empty}}
"""


TOOLS = (("flmctl", "list"), ("flmping", "-t", 1), ("flmexec", "-c", "true"))


@pytest.fixture
def ask(running, tmp_path):
    """Runs a tool of somebody whose context file has CONTEXTS and says which is current."""
    home = tmp_path / "context-home"
    (home / ".flame").mkdir(parents=True)

    def run(current, tool=TOOLS[0], **env):
        text = CONTEXTS.format(current, running.env["FLAME_ENDPOINT"])
        (home / ".flame/flame.yaml").write_text(text)
        return running.run(*tool, **({"HOME": str(home), "FLAME_ENDPOINT": ""} | env))

    return run


def test_the_broker_of_the_context_file(running, ask):
    endpoint = running.env["FLAME_ENDPOINT"]
    for tool in TOOLS:
        assert ask("here", tool).code == 0
        assert "No broker at tcp://127.0.0.1:1" in ask("elsewhere", tool).err
    assert ask("elsewhere", FLAME_ENDPOINT=endpoint).code == 0
    assert ask("elsewhere", ("flmctl", "list", "--endpoint", endpoint)).code == 0
    # Without one it is the local cluster, which this home does not have.
    assert "No broker at tcp://127.0.0.1:7700" in ask("empty").err
    for current, why in (
        ("original", "'http://127.0.0.1:8080', which is no address of one"),
        ("safe", "asks for TLS, which is not there yet"),
        ("list", "has a cluster whose name is no text"),
        ("missing", "has no context 'missing', which current-context names"),
        ("[", "is no YAML"),
    ):
        done = ask(current)
        assert done.code == 1 and why in done.err and "/.flame/flame.yaml " in done.err, done
        assert "set FLAME_ENDPOINT" in done.err


def test_the_cluster_of_the_context_file(running, ask):
    endpoint = running.env["FLAME_ENDPOINT"]
    for tool in TOOLS:
        assert ask("blue", tool).code == 0
        done = ask("green", tool)
        said = f"{tool[0]}: this broker serves cluster 'local', not 'green'\n"
        assert (done.code, done.err) == (1, said), done
        assert ask("green", (*tool, "--cluster", "local")).code == 0
    assert ask("green", FLAME_CLUSTER="local").code == 0
    assert ask("blue", FLAME_CLUSTER="green").code == 1
    # It is what the context's address leads to; one that is given may lead elsewhere.
    assert ask("green", FLAME_ENDPOINT=endpoint).code == 0
    assert ask("green", ("flmctl", "list", "--endpoint", endpoint)).code == 0


PING_KEYS = {
    "session",
    "tasks",
    "succeeded",
    "failed",
    "duplicates",
    "retried",
    "seconds",
    "setup_seconds",
    "tasks_per_second",
    "in_tasks_seconds",
    "latency_ms",
    "input_size",
    "output_size",
    "shim",
    "durability",
    "executors",
    "slots",
    "stages",
    "version",
}


def test_flmping_reports_one_object(running):
    done = running.run("flmping", "-t", 20_000, "-o", "json")
    assert done.code == 0, done
    report = done.json
    assert PING_KEYS <= set(report)
    assert (report["succeeded"], report["failed"], report["duplicates"]) == (20_000, 0, 0)
    assert (report["executors"], report["slots"]) == (1, 2)
    assert set(report["latency_ms"]) == {"p50", "p90", "p99", "max"}
    stages = {"client", "broker", "stored", "dispatched", "service", "delivered"}
    assert stages <= set(report["stages"])
    session = running.sessions()[0]
    assert (session["state"], session["tasks"]) == ("Closed", 20_000)


def test_flmping_in_its_other_forms(running):
    done = running.run("flmping", "-t", 10)
    first, last = done.out.splitlines()
    assert first.startswith("Session <flmping-")
    assert first.endswith("start to run <10> tasks in the session:")
    assert last.startswith("<10> tasks was completed in <")
    assert running.run("flmping", "-t", 50, "--latency", "-o", "json").json["succeeded"] == 50
    done = running.run("flmping", "-t", 20, "--shim", "shell", "-o", "json")
    assert (done.json["succeeded"], done.json["shim"]) == (20, "shell"), done
    # Kept with the session and given to the service, to which it says nothing.
    said = running.run("flmping", "-t", 3, "-c", "two\nlines", "--timeout", "20s", "-o", "json")
    assert said.json["succeeded"] == 3, said
    large = running.run(
        "flmping", "-t", 8, "--input-size", "1MiB", "--output-size", "2MiB", "-o", "json"
    )
    assert (large.json["input_size"], large.json["output_size"]) == (1 << 20, 2 << 20), large
    assert large.json["succeeded"] == 8
    slow = ("flmping", "-t", 40, "-d", 5)
    report = running.run(*slow, "-o", "json").json
    assert 0.2 <= report["in_tasks_seconds"] <= 2 * report["seconds"], report
    assert "> slots were busy <" in running.run(*slow).out
    assert "Throughput:" in running.run("flmping", "-t", 1000, "-p").out


@needs_grpc
def test_flmping_with_a_service_behind_grpc(running):
    done = running.run("flmping", "-t", 20, "--shim", "grpc", "-d", 1, "-o", "json")
    assert (done.json["succeeded"], done.json["shim"]) == (20, "grpc"), done


def test_flmping_gives_up_without_progress(cluster):
    cluster.up("--executors", 0)
    done = cluster.run("flmping", "-t", 10, "--timeout", "300ms")
    assert done.code == 124 and "is closed" in done.err, done


def test_a_signal_closes_flmpings_session(running):
    process = subprocess.Popen(
        ["flmping", "-t", "1000", "-d", "50"],
        env=running.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: any(s["succeed"] > 0 for s in running.sessions()), "a task is done")
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in err, (out, err)
    wait_until(lambda: running.sessions()[0]["state"] == "Closed", "the session is closed")


def test_results_that_do_not_come_are_given_up_after_the_timeout(running):
    # More than the client's and the broker's windows hold: the last ones have not left the broker.
    count = 48
    session = running.flmctl("create", "-a", "echo").out.strip()
    line = "x" * (1 << 20) + "\n"
    assert running.flmctl("submit", session, stdin=line * count).code == 0
    assert running.flmctl("wait", session, "--timeout", "60s").code == 0
    process = subprocess.Popen(
        ["flmctl", "results", session, "--timeout", "6s"],
        env=running.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert "xxx" in process.stdout.readline()
    running.kill("broker", signal.SIGSTOP)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        running.kill("broker", signal.SIGCONT)
    assert process.returncode == 124 and "flmctl: no further result in time" in err, err
    assert 0 < out.count("\n") < count - 1
    done = running.flmctl("results", session, "--timeout", "60s")
    assert done.code == 0 and done.out.count("\n") == count, done.err


def submitting(cluster, session):
    return subprocess.Popen(
        ["flmctl", "submit", session],
        env=cluster.env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def tasks_of(cluster, session):
    return next(row["tasks"] for row in cluster.sessions() if row["id"] == session)


def two_lines_taken(cluster):
    """A session, and the submit from stdin that goes on."""
    session = cluster.flmctl("create", "-a", "echo").out.strip()
    process = submitting(cluster, session)
    process.stdin.write("one\ntwo\n")
    process.stdin.flush()
    wait_until(lambda: tasks_of(cluster, session) == 2, "they are taken")
    return session, process


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_submit_that_is_interrupted_says_what_was_taken(running, number, code):
    session = running.flmctl("create", "-a", "echo").out.strip()
    process = submitting(running, session)
    process.stdin.write("".join(f"line {i}\n" for i in range(3000)) + "half a li")
    process.stdin.flush()
    wait_until(lambda: tasks_of(running, session) == 3000, "all whole lines are taken")
    process.send_signal(number)
    process.wait(30)  # before communicate(), which closes stdin: half a line would be a whole one
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "1-3000\n"), (out, err)
    assert err == "flmctl: interrupted: 3,000 lines were taken\n"
    assert tasks_of(running, session) == 3000


def unread_bytes(cluster):
    """Of a connection to the broker's port, as the kernel holds them: the most."""
    port = f":{int(cluster.file['endpoint'].rsplit(':', 1)[1]):04X}"
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return max(int(f[4].split(":")[1], 16) for f in fields if f[1].endswith(port))


def test_an_interrupted_submit_tells_what_was_answered_from_what_was_only_sent(running):
    _, process = two_lines_taken(running)
    running.kill("broker", signal.SIGSTOP)
    try:
        process.stdin.write("three" * 5000 + "\n")
        process.stdin.close()  # it waits for the answer only
        wait_until(lambda: unread_bytes(running) > 20_000, "it is sent")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
        process.wait(30)
    finally:
        running.kill("broker", signal.SIGCONT)
    assert (process.returncode, out) == (130, "1-2\n"), (out, err)
    assert "2 lines were taken; 1 more were sent, have no answer, and may be taken too" in err


def test_a_submit_that_is_not_answered_is_given_up_after_its_timeout(running):
    session = running.flmctl("create", "-a", "echo").out.strip()
    used = int(re.search(r"used_memory:(\d+)", running.redis("INFO", "memory"))[1])
    running.redis("CONFIG", "SET", "maxmemory", int(used * 1.1))
    wait_until(lambda: "submits are refused" in running.status["ready_text"], "it is busy")
    try:
        for words, stdin in ((["one"], ""), ([], "one\ntwo\n")):
            words = ["submit", session, *words, "--timeout", "500ms"]
            done = running.flmctl(*words, stdin=stdin, timeout=30)
            assert (done.code, done.out) == (124, ""), done
            assert "1 runs of tasks are not acknowledged yet" in done.err, done
    finally:
        running.redis("CONFIG", "SET", "maxmemory", "0")
    wait_until(lambda: running.status["ready_text"] == "ok", "it takes submits again")
    assert running.flmctl("submit", session, "x", "--wait").code == 0


def test_a_refused_submit_still_says_what_was_taken_before(running):
    session, process = two_lines_taken(running)
    running.flmctl("close", session)
    out, err = process.communicate("three\n", timeout=30)
    assert process.returncode == 1 and "1-2" in out and session in err, (out, err)


def test_flmexec_prints_outputs_in_order(running):
    done = running.run("flmexec", "-t", 5, "-c", "echo task $FLAME_TASK_ID: $(cat)", "-i", "it's")
    assert (done.code, done.out) == (0, "".join(f"task {i}: it's\n" for i in range(1, 6))), done
    done = running.run("flmexec", "-t", 2, "-l", "python", "-c", "print('py')")
    assert (done.code, done.out) == (0, "py\npy\n"), done


def test_a_watch_ends_after_its_timeout(running):
    running.up("--executors", 0)
    session = running.flmctl("create", "-a", "echo").out.strip()
    running.flmctl("submit", session, "x")
    for target in (session, f"{session}/1"):
        done = running.flmctl("watch", target, "--timeout", "300ms", timeout=30)
        assert done.code == 124 and "in time" in done.err, done


def test_a_service_may_use_the_tools_like_anybody(running):
    """It has FLAME_APPLICATION, FLAME_SHIM and more, which are not said to the tools."""
    session = running.flmctl("create", "-a", "echo").out.strip()
    script = f"flmctl list -o name; flmctl submit {session} x; flmping -t 2 -o json"
    done = running.run("flmexec", "-t", 1, "-c", script)
    assert done.code == 0, done
    names, _, report = done.out.partition("{")
    assert session in names.split() and names.endswith("\n1\n"), done
    assert json.loads("{" + report)["shim"] == "native"


def test_a_failing_script_is_a_failed_task(running):
    done = running.run("flmexec", "-t", 3, "-c", "echo out; echo sorry >&2; exit 9")
    assert done.code == 4 and done.out == "", done
    assert "3 x task_failed" in done.err and "sorry" in done.err and "exit code 9" in done.err, done


def test_an_output_that_cannot_be_written_is_no_success(running_once):
    running_once.flmctl("create", "-a", "echo", "--name", "full")
    assert running_once.flmctl("submit", "full", "a", "b", "--wait").code == 0
    for words in ("flmctl list", "flmctl results full", "flmping -t 3 -o json"):
        done = running_once.run("sh", "-c", f"{words} >/dev/full")
        assert done.code == 1 and "could not be written" in done.err, (words, done)
        assert "--after" not in done.err, "no cursor behind what was not written"


def test_a_process_without_descriptors_says_so(running_once):
    done = running_once.run("sh", "-c", "ulimit -n 10; flmctl list")
    assert done.code == 1 and "Too many open files" in done.err, done


def test_a_timeout_that_is_none_is_refused(running_once):
    done = running_once.flmctl("list", "--timeout", "abc")
    assert done.code == 2 and "'abc' is not a duration" in done.err, done
