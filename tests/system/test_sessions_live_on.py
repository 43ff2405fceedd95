# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a person finds again after the cluster was stopped, killed or changed under a session."""

import contextlib
import subprocess
import threading

import pytest

from conftest import Cluster, PATIENCE, wait_until


def ping(cluster, tasks, *flags):
    done = cluster.run("flmping", "-t", tasks, "-o", "json", *flags)
    assert done.code == 0, f"{done}\n{cluster.logs()}"
    return done.json


def ping_in_background(cluster, tasks, *flags):
    words = ["flmping", "-t", str(tasks), "-o", "json", *map(str, flags)]
    return subprocess.Popen(
        words, env=cluster.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finished(cluster, process):
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, f"{out}\n{err}\n{cluster.logs()}"
    return out


def wait_for_results(cluster, least):
    """A session with at least so many results and some tasks still to come."""

    def found():
        return next(
            (
                row
                for row in cluster.sessions()
                if row["succeed"] >= least and row["pending"] + row["running"] > 0
            ),
            None,
        )

    return wait_until(found, f"a session is in the middle of its tasks\n{cluster.logs()}")


def without_trims(rows):
    """What was read is dropped up to 50 ms later: done_first may still rise by itself."""
    return [{name: value for name, value in row.items() if name != "done_first"} for row in rows]


def test_every_session_is_there_after_down_and_up(running):
    first, second = ping(running, 1000), ping(running, 500)
    before = running.sessions()
    assert [row["id"] for row in before] == [first["session"], second["session"]]
    running.down()
    running.up()
    after = running.sessions()
    assert without_trims(after) == without_trims(before)
    assert [(row["state"], row["succeed"]) for row in after] == [("Closed", 1000), ("Closed", 500)]


def test_every_session_is_there_after_everything_was_killed(running):
    ping(running, 1000)
    before = running.sessions()
    pids = running.file["pids"]
    # The supervisor first, else it would start the others again.
    for name in ("supervisor", "redis", "broker", "executor-1"):
        running.kill(name)
    wait_until(lambda: running.state == "stopped", f"all of {pids} are gone")
    running.up()
    assert without_trims(running.sessions()) == without_trims(before)


def test_a_session_whose_first_letters_are_dropped_has_its_numbers_after_everything_was_killed(
    running,
):
    tasks = 1_048_576 + 500  # a segment, and what begins the next one
    session = ping(running, tasks)["session"]

    def key(kind):
        return f"flame:{{{session}}}:{kind}"

    wait_until(lambda: running.redis("EXISTS", key("state:0")) == "0", "the letters are dropped")
    assert running.redis("HGET", key("session"), "first_segment") == "1"
    assert running.redis("STRLEN", key("state:1")) == "500"
    before = running.sessions()
    for name in ("supervisor", "redis", "broker", "executor-1"):
        running.kill(name)
    wait_until(lambda: running.state == "stopped", "all are gone")
    running.up()
    assert without_trims(running.sessions()) == without_trims(before)
    assert before[-1]["succeed"] == tasks
    found = running.flmctl("list", "task", session, "-o", "json")
    assert found.code == 0, found
    assert found.json[0]["id"] == 1_048_577
    gone = running.flmctl("view", "task", session, 7)
    assert gone.code != 0, gone
    assert f"session {session} has no task 7" in gone.err, gone


def test_a_session_runs_on_while_each_part_is_killed(running):
    with ping_in_background(running, 3000, "-d", 3) as client:
        for name in ("executor-1", "broker", "redis"):
            wait_for_results(running, 1)
            before = running.process(name)["restarts"]
            running.kill(name)
            wait_until(lambda: running.process(name)["restarts"] > before, f"{name} was restarted")
            running.wait_running()
        finished(running, client)
    row = running.sessions()[-1]
    assert (row["state"], row["succeed"], row["failed"]) == ("Closed", 3000, 0)


@contextlib.contextmanager
def submitting(cluster, session):
    """Somebody submits all the time, so that tasks are under way whatever happens meanwhile. Gives
    a list of the ids that were acknowledged."""
    ids, over, errors = [], threading.Event(), []

    def submit():
        lines = "".join(f"line {i}\n" for i in range(500))
        while not over.is_set() and not errors:
            done = cluster.flmctl("submit", session, stdin=lines)
            if done.code == 0:
                ids.append(done.out.strip())
            else:
                errors.append(done)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join()
    assert not errors, errors


def test_a_session_runs_on_while_executors_come_and_go(running):
    session = running.flmctl("create", "-a", "echo").out.strip()

    def more():
        counted = running.sessions()[-1]["succeed"]
        wait_until(lambda: running.sessions()[-1]["succeed"] > counted + 500, "results go on")

    with submitting(running, session) as ids:
        more()
        running.up("--executors", 3)
        more()
        running.up("--executors", 1)
        more()
    done = running.flmctl("wait", session)
    assert done.code == 0, done
    row = running.sessions()[-1]
    assert (row["tasks"], row["succeed"], row["failed"]) == (500 * len(ids), 500 * len(ids), 0)
    assert ids[-1].endswith(f"-{500 * len(ids)}")


def test_what_is_pending_when_the_cluster_stops_runs_after_the_next_start(cluster):
    cluster.up("--executors", 0)
    done = cluster.flmctl("create", "-a", "echo")
    session = done.out.strip()
    assert done.code == 0 and session, done
    done = cluster.flmctl("submit", session, stdin="".join(f"line {i}\n" for i in range(300)))
    assert done.code == 0, done
    cluster.down()
    cluster.up("--executors", 0)
    assert cluster.sessions()[-1]["pending"] == 300
    cluster.up("--executors", 1)
    done = cluster.flmctl("wait", session)
    assert done.code == 0, done
    row = cluster.sessions()[-1]
    assert (row["id"], row["succeed"], row["failed"]) == (session, 300, 0)


def test_clusters_do_not_see_each_other(make_cluster):
    one, two = make_cluster("one"), make_cluster("two")
    one.up()
    # As `up` of the first one says: export FLAME_ENDPOINT=...
    two.up(FLAME_ENDPOINT=one.file["endpoint"])
    mine = ping(one, 10)
    assert [row["id"] for row in one.sessions()] == [mine["session"]]
    assert two.sessions() == []
    told = two.run("flmexec", "-t", 1, "-c", "echo $FLAME_ENDPOINT")
    assert told.out.strip() == two.file["endpoint"], told


def test_a_broker_of_another_cluster_is_refused(cluster):
    cluster.up("--executors", 1, FLAME_CLUSTER="green")  # it has its own name all the same
    for tool in (["flmctl", "list"], ["flmping", "-t", 1], ["flmexec", "-t", 1, "-c", "true"]):
        for done in (cluster.run(*tool), cluster.run(*tool, "--cluster", "local")):
            assert done.code == 0, done
        done = cluster.run(*tool, FLAME_CLUSTER="green")
        said = f"{tool[0]}: this broker serves cluster 'local', not 'green'\n"
        assert (done.code, done.err) == (1, said), done
    told = cluster.run("flmexec", "-t", 1, "-c", "echo $FLAME_CLUSTER")
    assert told.out.strip() == "local", told


def test_an_executor_of_another_cluster_is_refused(cluster):
    cluster.up("--executors", 0)
    port = int(cluster.file["endpoint"].rsplit(":", 1)[1]) + 1
    words = ["flame-executor", "--broker", f"tcp://127.0.0.1:{port}", "--cluster", "green"]
    executor = subprocess.Popen(words, env=cluster.env, text=True, stderr=subprocess.PIPE)
    try:
        said = next(line for line in executor.stderr if "refuses this executor" in line)
        assert "cluster 'local', not 'green'" in said, said
        assert cluster.flmctl("list", "executor", "-o", "json").json == []
    finally:
        executor.kill()
        executor.communicate()


def test_without_a_cluster_the_tools_say_how_to_start_one(cluster):
    done = cluster.run("flmping", "-t", 1, FLAME_ENDPOINT="tcp://127.0.0.1:9")
    assert done.code == 5
    assert "flmctl up" in done.err


def test_the_tools_find_the_default_cluster(tmp_path):
    cluster = Cluster(tmp_path / ".local/state/flame/default", tmp_path)
    done = cluster.flmctl("up", "--detach", "--port", "0")
    try:
        assert done.code == 0, done
        assert cluster.run("flmping", "-t", 5).code == 0
        assert len(cluster.sessions()) == 1
        # `up` takes no folder that depends on where it is called.
        assert cluster.flmctl("list", XDG_STATE_HOME="relative").code == 0
    finally:
        cluster.down()
