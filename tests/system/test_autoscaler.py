# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flmctl up --autoscale with real processes: executors come with the tasks and go when they are
idle, nothing is lost, a busy one is never chosen, and what cannot be read freezes everything."""

import os
import signal
import subprocess
import threading

from conftest import alive, wait_until

MAX = 4


def scaled(cluster):
    """Their processes, by name."""
    return {p["name"]: p for p in cluster.status["processes"] if p["application"]}


def rows(cluster):
    done = cluster.flmctl("scale", "-o", "json")
    return {row["application"]: row for row in done.json} if done.code == 0 else {}


def explain(cluster, application="flmping"):
    done = cluster.flmctl("scale", "explain", application, "-o", "json")
    assert done.code == 0, done
    return done.json


def reasons(cluster):
    return [decision["reason"] for decision in explain(cluster)]


# The policy's waiting times, short enough for a test. The environment of `up` reaches it.
SOON = {"FLAME_IDLE_AFTER": "3s", "FLAME_STABILIZATION": "3s"}


def autoscaled(cluster, *flags, **env):
    cluster.up("--slots", 2, "--autoscale", "--max-executors", MAX, *flags, **(env or SOON))
    wait_until(lambda: "flmping" in rows(cluster), "the autoscaler looks")
    return cluster


class Watch:
    """Looks at the processes as long as a block runs: how many there were at most."""

    def __init__(self, cluster):
        self.cluster, self.most, self.stop = cluster, 0, threading.Event()

    def look(self):
        while not self.stop.is_set():
            self.most = max(self.most, len(scaled(self.cluster)))

    def __enter__(self):
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.thread.join()


def test_executors_come_with_the_tasks_and_go_to_zero_when_idle(cluster):
    autoscaled(cluster, FLAME_LOG_LEVEL="info")  # with the defaults of the policy
    assert scaled(cluster) == {}
    with Watch(cluster) as watch:
        done = cluster.run("flmping", "-t", 100, "-d", 200)
        assert done.code == 0, done
        assert "<100> tasks was completed" in done.out
        wait_until(lambda: not scaled(cluster), "all of them are gone", 60)
    assert 1 < watch.most <= MAX
    assert cluster.state == "running", "what comes and goes makes nobody degraded"
    wait_until(
        lambda: (
            [rows(cluster)["flmping"][k] for k in ("wanted", "asked", "registered", "busy")]
            == [0, 0, 0, 0]
        ),
        "and it says so",
    )
    kinds = reasons(cluster)
    assert "shrink" in kinds and ("grow" in kinds or "limited" in kinds)
    text = cluster.flmctl("scale", "explain", "flmping").out
    assert "more are asked for" in text and "let go as idle: scaled-" in text
    # Nothing died: they were asked, and left by themselves.
    assert "starts again" not in (cluster.data / "logs/supervisor.log").read_text()
    session = cluster.sessions()[-1]
    assert (session["succeed"], session["failed"], session["cancelled"]) == (100, 0, 0)


def test_the_executors_of_up_stay_and_count_as_capacity(cluster):
    # A drain so long that one slot is enough, however slowly this machine runs the tasks, and no
    # second for each of them until the first has been measured.
    patient = SOON | {"FLAME_TARGET_DRAIN": "1h", "FLAME_PRIOR_RUN": "10ms"}
    autoscaled(cluster, "--executors", 1, **patient)
    with Watch(cluster) as watch:
        ping = subprocess.Popen(
            ["flmping", "-t", "40", "-d", "200"],
            env=cluster.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: rows(cluster)["flmping"]["busy"] > 0, "the autoscaler sees them run")
        assert ping.wait(60) == 0
    assert watch.most == 0, "short tasks want nothing beyond the first executor"
    assert cluster.process("executor-1")["state"] == "running"


def test_a_busy_executor_is_never_let_go(cluster):
    """One long task holds one of several executors for longer than all waiting times."""
    autoscaled(cluster)
    long = subprocess.Popen(
        ["flmping", "-t", "1", "-d", "25000"], env=cluster.env, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: rows(cluster)["flmping"]["busy"] == 1, "the long task runs")
    holder = next(
        row["id"]
        for row in cluster.flmctl("list", "executor", "-o", "json").json
        if row["tasks"] > 0
    )
    pid = scaled(cluster)[holder]["pid"]
    assert cluster.run("flmping", "-t", 60, "-d", 200).code == 0
    wait_until(lambda: list(scaled(cluster)) == [holder], "only the busy one is left", 60)
    assert long.poll() is None and alive(pid)
    assert long.wait(60) == 0, "it was finished"
    assert "<1> tasks was completed" in long.stdout.read()
    long.stdout.close()
    assert cluster.sessions()[0]["failed"] == 0
    wait_until(lambda: not scaled(cluster), "now it goes as well", 60)


def test_executors_that_always_work_rest_where_fewer_would_do(cluster, tmp_path):
    """Two sessions with a task at all times, each on an executor for two: one of them goes, also
    where the autoscaler is killed in between."""
    manifest = tmp_path / "nap.yaml"
    manifest.write_text(
        "metadata: {name: nap}\nspec: {shim: shell, command: sleep, arguments: ['0.3']}\n"
    )
    autoscaled(cluster)
    assert cluster.flmctl("register", "-f", manifest).code == 0

    def session():
        name = cluster.flmctl("create", "-a", "nap", "--max-instances", 1).out.strip()
        assert cluster.flmctl("submit", name, *["x"] * 400).code == 0
        return name

    def at_work():
        """Executors that serve somebody, with whom."""
        found = cluster.flmctl("list", "executor", "-o", "json").json
        return {e["id"]: sorted(e["sessions"]) for e in found if e["sessions"]}

    def held():
        found = cluster.flmctl("list", "executor", "-o", "json").json
        return [e["id"] for e in found if e["hold"] == "resting" and e["state"] == "Connected"]

    sessions = [session() for _ in range(3)]
    wait_until(lambda: sorted(map(len, at_work().values())) == [1, 2], "three of them on two")
    shared = next(names for names in at_work().values() if len(names) == 2)
    assert cluster.flmctl("close", shared[0]).code == 0
    sessions.remove(shared[0])
    wait_until(lambda: sorted(at_work().values()) == sorted([n] for n in sessions), "one on each")
    [resting] = wait_until(held, "one rests", 60)
    cluster.kill("autoscaler")
    decision = next(d for d in explain(cluster, "nap") if d["reason"] == "cordon")
    assert f"the least busy take nothing new: {resting}" in decision["text"]
    wait_until(lambda: list(at_work().values()) == [sorted(sessions)], "both are on the other one")
    wait_until(lambda: resting not in scaled(cluster), "and it goes", 60)
    assert len(scaled(cluster)) == 1
    by_id = {row["id"]: row for row in cluster.sessions()}
    for name in sessions:
        assert by_id[name]["failed"] == 0 and by_id[name]["pending"] > 0, "they always worked"
        view = cluster.flmctl("view", name, "-o", "json").json
        assert not [e for e in view["events"] if "was lost" in str(e)], view["events"]
        assert cluster.flmctl("close", name).code == 0
    wait_until(lambda: not scaled(cluster), "in the end all of them go", 60)


def test_the_minimum_of_the_cluster_is_there_and_said(cluster):
    autoscaled(cluster, FLAME_MIN_EXECUTORS="2", **SOON)
    wait_until(lambda: len(scaled(cluster)) == 2, "without any work")
    holders = {p["application"] for p in scaled(cluster).values()}
    assert len(holders) == 2, "poured like water: one each"
    text = cluster.flmctl("scale", "explain", sorted(holders)[0]).out
    assert "1 only for the cluster's minimum" in text and "1 more is asked for" in text
    wait_until(lambda: {rows(cluster)[a]["reason"] for a in holders} == {"minimum"}, "kept")
    assert cluster.run("flmping", "-t", 60, "-d", 200).code == 0
    wait_until(lambda: len(scaled(cluster)) == 2, "no fewer are left", 60)
    wait_until(lambda: rows(cluster)["flmping"]["reason"] in ("minimum", "steady"), "at rest")


def test_the_state_can_be_watched(cluster):
    autoscaled(cluster)
    command = ["flmctl", "scale", "-w"]
    watch = subprocess.Popen(command, env=cluster.env, stdout=subprocess.PIPE, text=True)
    try:
        assert cluster.run("flmping", "-t", 20, "-d", 200).code == 0
        seen = (line.split() for line in watch.stdout)
        grown = next(words for words in seen if words[:1] == ["flmping"] and words[3] != "0")
        assert int(grown[3]) >= 1, "registered"
        assert next(words for words in seen if words[:1] == ["flmping"] and words[3] == "0")
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()


def test_without_redis_nothing_is_done_and_it_is_said(cluster):
    autoscaled(cluster)
    assert cluster.run("flmping", "-t", 40, "-d", 200).code == 0
    before = {name: p["pid"] for name, p in scaled(cluster).items()}
    assert before
    os.kill(cluster.pid("redis"), signal.SIGSTOP)
    try:
        log = cluster.data / "logs/autoscaler.log"
        wait_until(lambda: "frozen, nothing is started or stopped" in log.read_text(), "it says so")
        # Longer than they would have to be idle.
        end = wait_until(lambda: now_after(cluster, 7), "time passes", 60)
        assert end and {name: p["pid"] for name, p in scaled(cluster).items()} == before
    finally:
        os.kill(cluster.pid("redis"), signal.SIGCONT)
    wait_until(lambda: "frozen" in reasons(cluster), "it is in the history")
    wait_until(lambda: not scaled(cluster), "they go when the figures are good again", 60)


def test_it_serves_the_cluster_that_it_is_told(cluster):
    autoscaled(cluster, **SOON, FLAME_CLUSTER="green")  # that of `up` has its own name all the same
    assert cluster.run("flmping", "-t", 4, "-d", 100).code == 0
    wait_until(lambda: not scaled(cluster), "the broker let them go", 60)


def test_another_clusters_redis_is_neither_believed_nor_written(cluster):
    cluster.up("--executors", 0, "--slots", 2)
    words = ["flame-autoscaler", "--control", cluster.data / "control.sock", "--cluster", "green"]
    env = cluster.env | {"FLAME_REDIS_URL": cluster.file["redis"]}
    autoscaler = subprocess.Popen(words, env=env, text=True, stderr=subprocess.PIPE)
    try:
        said = next(line for line in autoscaler.stderr if "another cluster's Redis" in line)
        assert "cluster 'local', not to 'green'" in said, said
        assert rows(cluster) == {}
    finally:
        autoscaler.kill()
        autoscaler.communicate()


def now_after(cluster, seconds, begun={}):
    """True when so many seconds have passed by the cluster's own clock since the first call."""
    now = cluster.status["now_ms"]
    return now - begun.setdefault(cluster.data, now) > seconds * 1000


def test_redis_that_was_killed_is_waited_for(cluster):
    autoscaled(cluster)
    assert cluster.run("flmping", "-t", 40, "-d", 100).code == 0
    before = {name: p["pid"] for name, p in scaled(cluster).items()}
    cluster.kill("redis")
    wait_until(
        lambda: "no Redis, nothing is scaled" in (cluster.data / "logs/autoscaler.log").read_text(),
        "it noticed",
    )
    assert {name: p["pid"] for name, p in scaled(cluster).items()} == before
    done = cluster.run("flmping", "-t", 40, "-d", 100)
    assert done.code == 0, done
    wait_until(lambda: not scaled(cluster), "it goes on", 60)


def test_an_autoscaler_that_was_killed_goes_on(cluster):
    """Its executors outlive it, are found again, and none is started twice."""
    autoscaled(cluster)
    flmping = subprocess.Popen(
        ["flmping", "-t", "120", "-d", "500"], env=cluster.env, stdout=subprocess.DEVNULL
    )
    wait_until(lambda: rows(cluster)["flmping"]["registered"] == MAX, "all are there")
    before = {name: p["pid"] for name, p in scaled(cluster).items()}
    cluster.kill("autoscaler")
    wait_until(
        lambda: (
            cluster.process("autoscaler")["restarts"] == 1
            and cluster.process("autoscaler")["state"] == "running"
        ),
        "it runs again",
    )
    with Watch(cluster) as watch:
        assert flmping.wait(60) == 0
    assert watch.most == MAX
    assert {name: p["pid"] for name, p in scaled(cluster).items()} == before
    wait_until(lambda: not scaled(cluster), "it shrinks", 60)


def test_how_long_starts_take_is_known_after_a_kill(cluster):
    autoscaled(cluster)
    assert rows(cluster)["flmping"]["cold_start_us"] == 0
    assert cluster.run("flmping", "-t", 4, "-d", 100).code == 0
    wait_until(lambda: rows(cluster)["flmping"]["cold_start_us"] > 0, "it is measured")
    wait_until(lambda: not scaled(cluster), "no start can be measured", 60)
    measured = rows(cluster)["flmping"]["cold_start_us"]
    cluster.kill("autoscaler")
    wait_until(lambda: cluster.process("autoscaler")["restarts"] == 1, "it runs again")
    written = rows(cluster)["flmping"]["updated"]
    wait_until(lambda: rows(cluster)["flmping"]["updated"] > written, "it looks")
    assert rows(cluster)["flmping"]["cold_start_us"] == measured
    assert explain(cluster)[-1]["cold_start_us"] == measured


def test_executors_outlive_a_killed_supervisor_and_are_adopted(cluster):
    autoscaled(cluster)
    assert cluster.run("flmping", "-t", 40, "-d", 100).code == 0
    before = {name: p["pid"] for name, p in scaled(cluster).items()}
    assert before
    cluster.kill("supervisor")
    wait_until(lambda: cluster.state == "unsupervised", "nobody supervises")
    cluster.up(port=None, **SOON)
    after = {name: p["pid"] for name, p in scaled(cluster).items()}
    assert set(after.items()) <= set(before.items())
    wait_until(lambda: not scaled(cluster), "they go as before", 60)


def test_what_does_not_start_is_given_up_with_its_reason(cluster, tmp_path):
    """An executor that cannot make its folder ends at once, again and again."""
    cluster.data.mkdir()
    (cluster.data / "work").write_text("a file where executors have their folders")
    autoscaled(cluster)
    flmping = subprocess.Popen(
        ["flmping", "-t", "40", "-d", "1000"],
        env=cluster.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: "failing" in reasons(cluster), "it gives up")
    failing = next(d for d in explain(cluster) if d["reason"] == "failing")
    assert "executors do not start" in failing["text"] and "exited with code 1" in failing["text"]
    (cluster.data / "work").unlink()
    assert flmping.wait(90) == 0, "tried again after the wait, and it works"


def test_up_says_what_does_not_fit(cluster):
    done = cluster.flmctl("up", "--data", cluster.data, "--max-executors", 3)
    assert done.code == 2 and "--autoscale" in done.err
    cluster.up("--slots", 1)
    done = cluster.flmctl("up", "--data", cluster.data, "--autoscale", "--detach")
    assert done.code == 1 and "no autoscaler" in done.err
    done = cluster.flmctl("scale")
    assert done.code == 3 and "flmctl up --autoscale" in done.err
    done = cluster.flmctl("scale", "explain", "nothing")
    assert done.code == 3 and "no application 'nothing'" in done.err
    assert cluster.flmctl("scale", "why").code == 2


def test_what_came_is_recorded_and_played_against_other_numbers(cluster, tmp_path):
    autoscaled(cluster)
    assert cluster.run("flmping", "-t", "30", "-d", "50").code == 0
    recorded = cluster.flmctl("scale", "record", "flmping")
    assert recorded.code == 0, recorded
    assert recorded.out.splitlines()[-1].startswith("0.000, 30, "), recorded.out
    trace = tmp_path / "trace.csv"
    trace.write_text(recorded.out)
    played = cluster.flmctl("scale", "simulate", "--trace", trace, "--max", "8", "-o", "json")
    rows_of_policies = {row["policy"]: row for row in played.json}
    assert set(rows_of_policies) == {"flame", "keda, list of 5", "hpa, cpu 80 %", "oracle"}
    assert {row["tasks"] for row in played.json} == {30}
    assert 1 <= rows_of_policies["flame"]["starts"] <= 8
    drawn = cluster.flmctl("scale", "simulate", "--trace", trace, "--svg", tmp_path / "day.svg")
    assert drawn.code == 0 and "|#" in drawn.out.replace(".", "#"), drawn
    assert (tmp_path / "day.svg").read_text().startswith("<svg")
    trace.write_text("0, 1, 1\n7 tasks\n")
    wrong = cluster.flmctl("scale", "simulate", "--trace", trace)
    assert wrong.code == 2 and "line 2" in wrong.err, wrong
    assert cluster.flmctl("scale", "record", "nobody").code == 3
