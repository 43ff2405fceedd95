# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""cordon, uncordon and drain with real executors: what they have is finished, nothing new comes,
and it lasts as long as it is said to."""

import os
import signal
import subprocess

import pytest
from conftest import PATIENCE, alive, wait_until


@pytest.fixture
def by_hand(cluster):
    """Executors that nobody starts again, by id."""
    cluster.up("--executors", 0)
    running = {}

    def start(name, *flags, **env):
        port = int(cluster.file["endpoint"].rsplit(":", 1)[1]) + 1
        words = ["flame-executor", "--broker", f"tcp://127.0.0.1:{port}", "--id", name, "--slots"]
        words += ["2", *flags]
        running[name] = subprocess.Popen(words, env=cluster.env | env, stderr=subprocess.DEVNULL)
        wait_until(lambda: row(cluster, name), f"{name} is there")
        return running[name]

    yield start
    for process in running.values():
        process.kill()
        process.wait()


def row(cluster, name):
    done = cluster.flmctl("list", "executor", "-o", "json")
    rows = done.json if done.code == 0 else []  # the broker may be away
    return next((row for row in rows if row["id"] == name), None)


def where_tasks_run(cluster):
    """Twenty tasks in a session of their own: the executors that had them."""
    session = cluster.flmctl("create", "-a", "echo").out.strip()
    words = [str(number) for number in range(20)]
    assert cluster.flmctl("submit", session, "--wait", *words).code == 0
    rows = cluster.flmctl("list", "task", session, "-o", "json").json
    assert len(rows) == 20
    assert cluster.flmctl("close", session).code == 0
    return {row["executor"] for row in rows}


def session_with(cluster, tasks, milliseconds):
    """Tasks of the application that comes with flmping; the id of their session."""
    command = ["flmping", "-t", str(tasks), "-d", str(milliseconds)]
    ping = subprocess.Popen(command, env=cluster.env, stdout=subprocess.PIPE, text=True)
    return ping, wait_until(
        lambda: next((s["id"] for s in cluster.sessions() if s["state"] == "Open"), None),
        "its session",
    )


def test_a_cordoned_executor_finishes_what_it_has_and_takes_nothing_new(cluster, by_hand):
    by_hand("one")
    by_hand("two")
    ping, session = session_with(cluster, 4, 1500)
    wait_until(lambda: (row(cluster, "one") or {})["tasks"] > 0, "it works")
    done = cluster.flmctl("cordon", "one")
    assert done.code == 0 and "<one> is cordoned: it takes nothing new" in done.out, done
    assert ping.wait(PATIENCE) == 0, "what it had is finished there"
    ping.stdout.close()
    [of_session] = [s for s in cluster.sessions() if s["id"] == session]
    assert (of_session["succeed"], of_session["failed"]) == (4, 0)
    table = cluster.flmctl("list", "executor").out
    assert "Cordoned" in table and "Connected" in table, table
    assert where_tasks_run(cluster) == {"two"}
    assert "<one> takes tasks again" in cluster.flmctl("uncordon", "one").out
    assert cluster.flmctl("cordon", "two").code == 0
    assert where_tasks_run(cluster) == {"one"}


def test_a_cordon_outlives_executor_and_broker(cluster, by_hand):
    first = by_hand("one")
    cluster.flmctl("cordon", "one")
    cluster.kill("broker")
    wait_until(lambda: (row(cluster, "one") or {}).get("state") == "Connected", "it is back")
    assert row(cluster, "one")["hold"] == "cordoned"
    first.kill()
    first.wait()
    by_hand("one")
    wait_until(lambda: row(cluster, "one")["provider"] != f"process {first.pid}", "the new one")
    assert row(cluster, "one")["hold"] == "cordoned"


def test_a_drained_process_finishes_and_leaves(cluster, by_hand):
    process = by_hand("one")
    ping, session = session_with(cluster, 2, 1500)
    wait_until(lambda: row(cluster, "one")["tasks"] == 2, "it works")
    done = cluster.flmctl("drain", "one")
    assert "has 2 tasks in hand; it leaves when it is idle" in done.out, done
    assert alive(process.pid)
    again = cluster.flmctl("uncordon", "one")
    assert again.code == 1 and "is leaving already and cannot be kept" in again.err, again
    assert ping.wait(PATIENCE) == 0
    ping.stdout.close()
    assert process.wait(PATIENCE) == 0
    [of_session] = [s for s in cluster.sessions() if s["id"] == session]
    assert (of_session["succeed"], of_session["failed"]) == (2, 0)
    # Another process of that name is not concerned.
    by_hand("one")
    assert row(cluster, "one")["hold"] == ""


def test_a_drained_pod_stays_and_takes_nothing_also_after_a_restart_of_its_container(
    cluster, by_hand
):
    pod = {"FLAME_POD_NAMESPACE": "jobs", "FLAME_POD_NAME": "one", "FLAME_POD_UID": "0b1c-2d"}
    process = by_hand("one", **pod)
    wide = cluster.flmctl("list", "executor", "-o", "wide").out
    assert "pod jobs/one 0b1c-2d" in wide, wide
    assert "its pod can be deleted once it is idle" in cluster.flmctl("drain", "one").out
    process.kill()  # as if it crashed: the kubelet starts it again
    process.wait()
    by_hand("one", **pod)
    wait_until(lambda: row(cluster, "one")["state"] == "Connected", "it is back")
    assert row(cluster, "one")["hold"] == "drained"
    ping, session = session_with(cluster, 1, 0)
    view = wait_until(
        lambda: "every executor is cordoned" in cluster.flmctl("view", session).out, "why it waits"
    )
    assert view and ping.poll() is None
    assert "takes tasks again" in cluster.flmctl("uncordon", "one").out
    assert ping.wait(PATIENCE) == 0
    ping.stdout.close()


def test_mistakes_are_named(cluster, by_hand):
    process = by_hand("one")
    done = cluster.flmctl("cordon", "two")
    assert done.code == 3 and "no executor 'two'" in done.err, done
    assert cluster.flmctl("cordon", "-e", "on").code == 0, "a unique prefix is enough"
    assert row(cluster, "one")["hold"] == "cordoned"
    done = cluster.flmctl("drain")
    assert done.code == 2 and "which executor?" in done.err, done
    os.kill(process.pid, signal.SIGTERM)
    process.wait()
    done = cluster.flmctl("drain", "one")
    assert done.code == 1 and "is not connected: it is Left" in done.err, done


def test_a_drained_executor_of_up_stays_away_until_up_is_asked_for_it(cluster):
    cluster.up("--executors", 2)
    assert cluster.flmctl("drain", "executor-1").code == 0
    wait_until(lambda: cluster.process("executor-1")["state"] == "left", "it has left")
    assert cluster.state == "running", "it was meant"
    assert "it was drained and stays away" in (cluster.data / "logs/supervisor.log").read_text()
    assert cluster.run("flmping", "-t", 20).code == 0
    cluster.up("--executors", 2, port=None)
    wait_until(lambda: (row(cluster, "executor-1") or {}).get("state") == "Connected", "it is back")
    assert row(cluster, "executor-1")["hold"] == ""
