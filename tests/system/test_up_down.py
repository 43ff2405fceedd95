# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flmctl up, down and status: what a person sees of the supervisor."""

import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess

import pytest

from conftest import PATIENCE, Cluster, alive, wait_until


def test_up_starts_everything_and_says_where(cluster):
    done = cluster.up("--executors", 2, "--slots", 3)
    for name in ("redis", "broker", "executor-1", "executor-2"):
        assert re.search(rf"{name} +pid {cluster.pid(name)}\b", done.out)
        assert alive(cluster.pid(name))
    assert cluster.file["endpoint"] in done.out
    assert "flmping" in done.out
    assert cluster.state == "running"


def test_the_folder_is_private_and_complete(running):
    data = running.data
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for part in (
        "redis.sock",
        "redis",
        "logs",
        "run/redis.pid",
        "run/broker.pid",
        "run/executor-1.pid",
        "work/executor-1",
    ):
        assert (data / part).exists()
    assert pathlib.Path(running.file["ring"]).stat().st_size > 0
    file = running.file
    assert file["endpoint"].startswith("tcp://127.0.0.1:")
    assert file["http"].startswith("http://127.0.0.1:")
    assert file["redis"] == f"unix://{data}/redis.sock"
    assert file["pids"]["broker"] == running.pid("broker")


def test_up_again_changes_nothing_and_prints_the_same(cluster):
    first = cluster.up()
    pids = cluster.file["pids"]
    second = cluster.up()
    assert second.out == first.out
    assert cluster.file["pids"] == pids


def test_up_again_starts_what_is_missing_at_once(running):
    # Many deaths in a row: the wait would be seconds by now.
    for _ in range(5):
        before = running.process("executor-1")["restarts"]
        running.kill("executor-1")
        wait_until(
            lambda: running.process("executor-1")["restarts"] > before
            and running.process("executor-1")["pid"],
            "it was started again",
        )
    running.up()
    assert running.process("executor-1")["state"] == "running"


def test_another_flag_on_a_running_cluster_names_both_values(running):
    done = running.up("--slots", 5, expect=1)
    assert "--slots 5" in done.err and " 2" in done.err
    done = running.up("--appendfsync", "always", expect=1)
    assert "always" in done.err and "everysec" in done.err
    assert running.state == "running"


def test_executors_are_added_and_drained(running):
    running.up("--executors", 3)
    assert running.names() == ["redis", "broker", "executor-1", "executor-2", "executor-3"]
    third = running.pid("executor-3")
    running.up("--executors", 1)
    assert running.names() == ["redis", "broker", "executor-1"]
    assert not alive(third)
    assert not (running.data / "run/executor-3.pid").exists()
    listed = running.flmctl("list", "executor", "-o", "json").json
    assert [row["id"] for row in listed] == ["executor-1"]
    listed = running.flmctl("list", "executor", "--all", "-o", "json").json
    states = {row["id"]: row["state"] for row in listed}
    assert states == {"executor-1": "Connected", "executor-2": "Left", "executor-3": "Left"}


def test_down_stops_everything_and_again_is_fine(running):
    pids = running.file["pids"].values()
    running.down()
    assert not any(alive(pid) for pid in pids)
    assert not (running.data / "cluster.json").exists()
    assert list((running.data / "run").glob("*.pid")) == []
    running.down()
    assert running.state == "stopped"


def test_down_where_nothing_ever_ran(cluster):
    done = cluster.down()
    assert "Nothing runs" in done.out
    assert not cluster.data.exists()


def test_two_clusters_side_by_side(make_cluster):
    one, two = make_cluster("one"), make_cluster("two")
    one.up()
    two.up()
    assert one.file["endpoint"] != two.file["endpoint"]
    one.down()
    assert one.state == "stopped"
    assert two.state == "running"


def test_ctrl_c_stops_all_in_order(cluster):
    process = cluster.up_in_foreground()
    pids = cluster.file["pids"].values()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out
    assert "Stopped" in out
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("name", ["redis", "broker", "executor-1"])
def test_a_child_that_dies_is_named_and_started_again(cluster, name):
    process = cluster.up_in_foreground()
    old = cluster.kill(name)
    wait_until(lambda: cluster.process(name)["restarts"] == 1, f"{name} was started again")
    cluster.wait_running()
    assert cluster.pid(name) != old
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert f"{name} (pid {old}) was killed by signal 9 (SIGKILL); it starts again in" in out
    assert f"{name} runs again" in out


def test_a_killed_supervisor_leaves_a_cluster_that_the_next_up_adopts(running):
    pids = running.file["pids"]
    running.kill("supervisor")
    wait_until(lambda: not alive(pids["supervisor"]), "the supervisor is gone")
    assert running.state == "unsupervised"
    os.kill(pids["executor-1"], signal.SIGKILL)
    running.up()
    after = running.file["pids"]
    assert (after["redis"], after["broker"]) == (pids["redis"], pids["broker"])
    assert after["executor-1"] != pids["executor-1"] and after["supervisor"] != pids["supervisor"]
    # Adopted ones are watched like its own.
    running.kill("broker")
    wait_until(lambda: running.process("broker")["restarts"] == 1, "the adopted one started again")
    running.wait_running()


def test_down_stops_what_a_killed_supervisor_left(running):
    pids = running.file["pids"]
    running.kill("supervisor")
    wait_until(lambda: not alive(pids["supervisor"]), "the supervisor is gone")
    running.down()
    assert not any(alive(pid) for pid in pids.values())


def test_a_reused_pid_is_not_taken_for_ours(running):
    """cluster.json of before a reboot names pids that belong to others now."""
    saved = (running.data / "cluster.json").read_text()
    running.down()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        text = re.sub(r'"pid": \d+', f'"pid": {stranger.pid}', saved)
        (running.data / "cluster.json").write_text(text)
        running.down()
        assert stranger.poll() is None
        (running.data / "cluster.json").write_text(text)
        running.up()
        running.down()
        assert stranger.poll() is None
        stranger.kill()


def test_a_taken_port_is_an_error_that_names_the_next_free_one(cluster):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cluster.up(port=port, expect=1)
    named = re.search(rf"port {port} \(clients\) is taken; the next free one is (\d+)", done.err)
    assert named and int(named[1]) > port
    assert cluster.leftovers() == []


def test_the_http_port_counts_too(cluster):
    for _ in range(20):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            said = cluster.up(port=port - 80, expect=1).err
        # The two ports below may be somebody else's.
        if "(clients) is taken" not in said and "(executors) is taken" not in said:
            break
    assert f"port {port} (HTTP) is taken" in said


def test_a_path_too_long_for_a_socket(make_cluster):
    cluster = make_cluster("x" * 120)
    cluster.up()
    path = pathlib.Path(cluster.file["redis"].removeprefix("unix://"))
    assert len(str(path)) < 108 and path.is_socket()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert str(path) in cluster.flmctl("status", "--data", cluster.data).out
    cluster.down()
    assert not path.parent.exists()


def test_a_start_that_fails_shows_the_log_and_leaves_nothing(cluster):
    cluster.up()
    cluster.down()
    (cluster.data / "redis/appendonlydir/appendonly.aof.manifest").write_text("nonsense\n")
    done = cluster.up(expect=1)
    assert "redis" in done.err and "redis.log" in done.err
    assert "AOF" in done.err or "manifest" in done.err
    assert re.search(r"    \(pid \d+\) exited with code 1\n", done.err), done
    assert cluster.leftovers() == []


def test_a_broker_that_waits_for_a_decision_is_left_running(cluster):
    """A copy that was made while the cluster ran lacks what came after it."""
    cluster.up()
    session = cluster.flmctl("create", "-a", "echo").out.strip()
    cluster.flmctl("submit", session, "one", "--wait")
    copy = cluster.data.parent / "copy"
    shutil.copytree(cluster.data / "redis", copy)
    cluster.flmctl("submit", session, "two", "--wait")
    cluster.down()
    shutil.rmtree(cluster.data / "redis")
    shutil.move(copy, cluster.data / "redis")
    done = cluster.up(expect=1)
    assert "runs and does not serve" in done.err and "may be missing" in done.err, done
    assert "flmctl recover --accept-loss goes on" in done.err, done
    cluster.env["FLAME_ENDPOINT"] = cluster.file["endpoint"]
    assert [row["id"] for row in cluster.sessions()] == [session]
    assert cluster.flmctl("recover", "--accept-loss").code == 0
    cluster.up()
    assert cluster.flmctl("submit", session, "again", "--wait").code == 0


def test_many_ups_at_once_make_one_cluster(cluster):
    words = ["flmctl", "up", "--detach", "--data", str(cluster.data), "--port", "0"]
    ups = [
        subprocess.Popen(
            words, env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(5)
    ]
    outs = [up.communicate(timeout=PATIENCE)[0] for up in ups]
    assert [up.returncode for up in ups] == [0] * 5, outs
    assert len(set(outs)) == 1


def test_redis_never_throws_away_and_rarely_rewrites(running):
    def setting(name):
        return running.redis("CONFIG", "GET", name).split("\n")[-1]

    assert setting("appendonly") == "yes"
    assert setting("appendfsync") == "everysec"
    assert setting("maxmemory-policy") == "noeviction"
    assert setting("no-appendfsync-on-rewrite") == "no"
    assert int(setting("auto-aof-rewrite-min-size")) >= 256 << 20
    memory = re.search(r"MemTotal: +(\d+)", pathlib.Path("/proc/meminfo").read_text())
    assert 0 < int(setting("maxmemory")) <= int(memory[1]) * 1024 * 0.61
    assert setting("port") == "0"


def test_status_shows_memory_aof_and_disk(running):
    status = running.status
    assert status["redis_memory_bytes"] > 0
    assert status["redis_memory_max_bytes"] > status["redis_memory_bytes"]
    assert status["aof_bytes"] > 0 and status["disk_free_bytes"] > 0
    text = running.flmctl("status", "--data", running.data).out
    for word in ("memory", "AOF", "disk", "broker", "running"):
        assert word in text


def test_status_says_why_a_running_cluster_serves_nobody(running):
    assert running.status["ready"] is True and running.status["ready_text"] == "ok"
    config = ["redis-cli", "-s", running.data / "redis.sock", "CONFIG", "SET", "maxmemory-policy"]
    subprocess.run([*config, "allkeys-lru"], check=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: not running.status["ready"], "status says that it is not ready")
    done = running.flmctl("status", "--data", running.data)
    assert done.code == 0 and "  running, not ready\n" in done.out, done
    assert "set it to noeviction" in done.out and running.status["state"] == "running", done
    subprocess.run([*config, "noeviction"], check=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: running.status["ready"], "status says that it is ready again")
    os.kill(running.pid("broker"), signal.SIGSTOP)
    try:
        wait_until(lambda: not running.status["ready"], "status says that it does not answer")
        done = running.flmctl("status", "--data", running.data)
        assert "not ready\n" in done.out and "broker: no answer at http://" in done.out, done
    finally:
        os.kill(running.pid("broker"), signal.SIGCONT)


def test_logs_are_bounded_under_their_writers(running):
    log = running.data / "logs/executor-1.log"
    with log.open("a") as file:
        file.write(("x" * 99 + "\n") * 180_000)
    old = running.data / "logs/executor-1.log.1"
    wait_until(lambda: old.exists() and log.stat().st_size < 1 << 20, "the log begins anew")
    assert old.stat().st_size == 16 << 20
    # Whoever writes it goes on, and its last lines are still found.
    running.kill("executor-1")
    wait_until(lambda: running.process("executor-1")["restarts"] == 1, "it was started again")
    running.wait_running()
    wait_until(lambda: "executor" in log.read_text(), "it writes there again")
    assert log.stat().st_size < 1 << 20


def test_the_redis_of_somebody_else_is_used_and_left_alone(cluster, tmp_path):
    path = tmp_path / "their.sock"
    words = [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        str(path),
        "--appendonly",
        "yes",
        "--dir",
        str(tmp_path),
        "--save",
        "",
    ]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as theirs:
        wait_until(path.exists, "their Redis listens")
        cluster.up("--redis", f"unix://{path}")
        assert cluster.names() == ["broker", "executor-1"]
        assert cluster.file["redis"] == f"unix://{path}"
        assert "FLAME_REDIS_URL" not in environment(cluster.pid("executor-1"))
        cluster.down()
        assert theirs.poll() is None
        theirs.terminate()


@pytest.fixture
def shared_redis(tmp_path):
    """Its URL: a Redis that belongs to no cluster."""
    path = tmp_path / "shared.sock"
    words = ["redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path)]
    words += ["--appendonly", "yes", "--save", ""]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as theirs:
        wait_until(path.exists, "it listens")
        yield f"unix://{path}"
        theirs.terminate()


def test_two_clusters_on_one_redis_do_not_take_it_from_each_other_for_ever(
    make_cluster, shared_redis
):
    first, second = make_cluster("first"), make_cluster("second")
    first.up("--redis", shared_redis)
    session = first.flmctl("create", "-a", "echo").out.strip()
    second.up("--redis", shared_redis)
    wait_until(lambda: first.process("broker")["state"] == "replaced", "the first one gives way")
    status = first.status
    assert status["state"] == "replaced" and status["ready"] is False
    taker = f"127.0.0.1:{second.file['endpoint'].split(':')[-1]}, pid {second.pid('broker')} on "
    for text in (
        status["ready_text"],
        first.process("broker")["last_exit"],
        first.flmctl("status", "--data", first.data).out,
        (first.data / "logs/supervisor.log").read_text(),
    ):
        assert taker in text and "took this Redis over" in text, text
        assert f"flmctl up --data {first.data} takes it back" in text, text
    # Neither by itself nor for another executor: only a person who asks for the cluster.
    assert first.process("broker")["restarts"] == 0
    before = second.pid("broker")
    for _ in range(3):
        second.kill("executor-1")
        wait_until(lambda: second.state == "degraded", "its death is seen")
        second.wait_running()
    assert second.pid("broker") == before and first.state == "replaced"
    assert [row["id"] for row in second.sessions()] == [session]
    # Asked for, it takes the Redis back, and the other one gives way.
    first.up()
    assert [row["id"] for row in first.sessions()] == [session]
    wait_until(lambda: second.state == "replaced", "the second one gives way")
    assert first.flmctl("submit", session, "one", "--wait").code == 0
    assert first.state == "running" and first.status["ready"] is True


def test_a_broker_that_was_adopted_and_then_replaced_stays_away_too(make_cluster, shared_redis):
    first, second = make_cluster("first"), make_cluster("second")
    first.up("--redis", shared_redis)
    broker = first.pid("broker")
    first.kill("supervisor")
    wait_until(lambda: first.state == "unsupervised", "its supervisor is gone")
    first.up()
    assert first.pid("broker") == broker
    second.up("--redis", shared_redis)
    wait_until(lambda: first.state == "replaced", "the first one gives way")
    assert second.state == "running"


def test_a_password_on_the_command_line_is_refused(cluster):
    done = cluster.up("--redis", "redis://:secret@127.0.0.1:6379/0", expect=2)
    assert "FLAME_REDIS_URL" in done.err and "secret" not in done.err


@pytest.mark.parametrize(
    "flags, named",
    [
        (["--executers", "2"], "--executors"),
        (["--slots", "0"], "--slots"),
        (["--port", "99999"], "--port"),
        (["--appendfsync", "never"], "everysec"),
        (["more"], "more"),
    ],
)
def test_a_mistyped_command_line_says_what_is_right(cluster, flags, named):
    done = cluster.flmctl("up", "--data", cluster.data, *flags)
    assert done.code == 2 and named in done.err
    assert not cluster.data.exists()


@pytest.mark.parametrize("verb", ["down", "status"])
def test_a_folder_without_its_flag_is_not_taken_for_the_default_one(running, verb):
    done = running.flmctl(verb, "elsewhere", FLAME_DATA=str(running.data))
    assert done.code == 2 and "unexpected 'elsewhere'; --data DIR" in done.err, done
    assert running.state == "running"


def environment(pid):
    return pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")


def test_the_default_folder_follows_xdg(tmp_path):
    cluster = Cluster(tmp_path / "state/flame/default", tmp_path)
    done = cluster.flmctl("up", "--detach", "--port", "0", XDG_STATE_HOME=str(tmp_path / "state"))
    try:
        assert done.code == 0, done
        assert (tmp_path / "state/flame/default/cluster.json").exists()
    finally:
        cluster.down()
