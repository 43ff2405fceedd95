# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a real Redis can refuse, while a client submits without a pause and at the broker's start:
/readyz, /metrics, the log and whoever asks name the reason and the next step; nothing acknowledged
is lost, and all goes on by itself when Redis does. What dies is the matter of test_kills.py."""

import json
import pathlib
import re
import resource
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kill"))

from check import Journal, check  # noqa: E402
from kill import finish  # noqa: E402
from resp import Redis, RedisError  # noqa: E402
from strike import replays, wait_for_looks  # noqa: E402
from world import BIN, World  # noqa: E402

PASSWORD = "open-sesame-7"
LEASE = 3  # seconds; docs/protocol.md, lease_ms
# Keys that make a restarted Redis load for some seconds, each for SLOW_LOAD's microseconds.
FOREIGN_KEYS = 4000
FILL = "for i = 1, ARGV[1] do redis.call('SET', 'foreign' .. i, 'x') end"
SLOW_LOAD = "--key-load-delay 1000 --loading-process-events-interval-bytes 1024"


@pytest.fixture
def world(request):
    made = World(**{"seed": int(time.time()) % 100_000, "executors": 2} | request.param)
    made.script = None
    yield made
    if made.script:
        made.script.close()
    made.stop()


def ask(world, *words):
    with world.redis() as redis:
        return redis(*words)


def config(world, name, value):
    assert ask(world, "CONFIG", "SET", name, value) == b"OK"


def persistence(world):
    lines = ask(world, "INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


# ---- what breaks, and how it is mended


def fill_up(world):
    config(world, "maxmemory", "1mb")


def give_memory(world):
    config(world, "maxmemory", "0")


def break_the_disk(world):
    in_the_way = world.folder / "redis" / "dump.rdb" / "in-the-way"
    in_the_way.mkdir(parents=True)
    config(world, "save", "3600 1000000")
    ask(world, "BGSAVE")
    world.wait(lambda: persistence(world)["rdb_last_bgsave_status"] == "err", "a save has failed")


def mend_the_disk(world):
    (world.folder / "redis" / "dump.rdb" / "in-the-way").rmdir()
    (world.folder / "redis" / "dump.rdb").rmdir()
    ask(world, "BGSAVE")


def fill_the_disk(world):
    """The file may grow no more: the batch that was just answered stays out of it."""
    size = max(path.stat().st_size for path in (world.folder / "redis").rglob("*.incr.aof"))
    pid = world.processes["redis"].pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    status = "aof_last_write_status"
    world.wait(lambda: persistence(world)[status] == "err", "a write to the file has failed")


def free_the_disk(world):
    free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(world.processes["redis"].pid, resource.RLIMIT_FSIZE, free)


def make_it_a_replica(world):
    ask(world, "REPLICAOF", "127.0.0.1", "1")


def promote_it(world):
    ask(world, "REPLICAOF", "NO", "ONE")


def run_a_long_script(world):
    config(world, "busy-reply-threshold", "50")
    world.script = Redis(world.socket)
    world.script.socket.sendall(b"EVAL 'while true do end' 0\r\n")


def end_the_script(world):
    ask(world, "SCRIPT", "KILL")


def cut_connections(world):
    """And nobody new gets in."""
    world.script = Redis(world.socket)
    world.script("CONFIG", "SET", "maxclients", "1")
    world.script("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def allow_connections(world):
    world.script("CONFIG", "SET", "maxclients", "100")


def change_the_password(world):
    config(world, "requirepass", "another-one-8")
    world.password = "another-one-8"
    ask(world, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def change_it_back(world):
    config(world, "requirepass", PASSWORD)
    world.password = PASSWORD


def stop_redis(world):
    assert world.kill("redis", restart=None)


def start_redis(world):
    world.processes["redis"].start()


def restart_it_with_much_to_load(world):
    ask(world, "EVAL", FILL, "0", FOREIGN_KEYS)
    ask(world, "BGREWRITEAOF")
    world.wait(
        lambda: persistence(world)["aof_rewrite_in_progress"] == "0"
        and persistence(world)["aof_rewrite_scheduled"] == "0",
        "the file is rewritten",
    )
    stop_redis(world)
    redis = world.processes["redis"]
    redis.argv += SLOW_LOAD.split()
    redis.start()


def nothing(world):
    pass


def let_it_evict(world):
    config(world, "maxmemory-policy", "allkeys-lru")


def let_it_keep(world):
    config(world, "maxmemory-policy", "noeviction")


def switch_the_file_off(world):
    config(world, "appendonly", "no")


def switch_the_file_on(world):
    config(world, "appendonly", "yes")


# name: what breaks it, the reason and the next step that must be named, what mends it.
WHILE_RUNNING = {
    "OOM": (fill_up, "is full (maxmemory); raise it", give_memory),
    "MISCONF": (break_the_disk, "cannot write to its disk; free space there", mend_the_disk),
    "ENOSPC": (fill_the_disk, "cannot write to its disk; free space there", free_the_disk),
    "READONLY": (make_it_a_replica, "is a replica; point the broker at the primary", promote_it),
    "BUSY": (run_a_long_script, "end it with SCRIPT KILL", end_the_script),
    "maxclients": (cut_connections, "raise its maxclients", allow_connections),
    "WRONGPASS": (change_the_password, "correct the user or the password", change_it_back),
    "absent": (stop_redis, "it is tried again until it works", start_redis),
    "LOADING": (restart_it_with_much_to_load, "is still loading its data", nothing),
    "eviction": (let_it_evict, "set it to noeviction", let_it_keep),
    "no AOF": (switch_the_file_off, "set appendonly yes", switch_the_file_on),
}


def refused_with(world, reason):
    status, text = world.http("/readyz")
    return status == 503 and reason in text


def create(world, *more):
    return world.flmctl("create", "-a", "kill", "-c", world.folder / "common", *more)


@pytest.mark.parametrize(
    "name, world",
    [
        (name, {"tasks": 3_000, "password": PASSWORD if name == "WRONGPASS" else ""})
        for name in WHILE_RUNNING
    ],
    indirect=["world"],
)
def test_what_redis_refuses_is_named_costs_nothing_and_ends_by_itself(name, world):
    breaks, reason, mends = WHILE_RUNNING[name]
    world.start()
    (world.folder / "common").write_text(str(world.ran))
    world.wait(world.busy, "tasks wait and run")
    breaks(world)
    world.wait(lambda: refused_with(world, reason), f"/readyz says: {reason}")
    assert world.metrics()["flame_redis_up"] == 0
    assert reason in world.processes["broker"].log.read_text()
    if mends is not nothing:  # a Redis that loads may be ready before anybody has asked
        refused = create(world, "--timeout", "2s")
        assert refused.returncode == 1 and reason in refused.stderr, refused
        assert "flmctl: waiting: " in refused.stderr and PASSWORD not in refused.stderr, refused
    known = len(Journal(world.journal).acknowledged)
    mends(world)
    world.wait(lambda: world.http("/readyz")[0] == 200, "the broker is ready again")
    world.wait(
        lambda: len(Journal(world.journal).acknowledged) > known, "submits are acknowledged again"
    )
    finish(world)
    numbers = check(world)
    print(numbers)
    assert numbers["tasks"] >= 3_000 and numbers["failed"] == 0


@pytest.mark.parametrize("world", [{"tasks": 3_000}], indirect=True)
def test_a_full_redis_takes_what_gives_memory_back_also_after_a_restart_of_the_broker(world):
    world.start()
    (world.folder / "common").write_text(str(world.ran))
    world.wait(world.busy, "tasks wait and run")
    for name in ("closed-1", "closed-2", "open-1", "open-2"):
        assert world.create(name).returncode == 0
    for name in ("closed-1", "closed-2"):
        assert world.flmctl("close", name).returncode == 0

    def goes_through(*words):
        done = world.flmctl(*words, "--timeout", "30s")
        assert done.returncode == 0, (words, done, world.processes["broker"].tail())

    def all_left():
        return {key.decode() for key in ask(world, "KEYS", "flame:{*}:*")}

    fill_up(world)
    reason = "is full (maxmemory); raise it"
    world.wait(lambda: refused_with(world, reason), f"/readyz says: {reason}")
    goes_through("delete", "closed-1")
    goes_through("close", "open-1")
    goes_through("delete", "open-2", "--force")
    goes_through("unregister", "flmping-shell")
    assert world.kill("broker")
    world.wait(lambda: refused_with(world, reason), f"/readyz says: {reason}")
    rows = json.loads(world.flmctl("list", "-o", "json").stdout)
    states = {row["id"]: row["state"] for row in rows}
    assert states == {"kill-test": "Open", "closed-2": "Closed", "open-1": "Closed"}
    goes_through("delete", "closed-2")
    goes_through("delete", "open-1")
    assert {key for key in all_left() if "kill-test" not in key} == set()
    refused = world.create("one-more", "--timeout", "2s")
    assert refused.returncode == 1 and reason in refused.stderr, refused
    give_memory(world)
    finish(world)
    numbers = check(world)
    assert numbers["tasks"] >= 3_000 and numbers["failed"] == 0


@pytest.mark.parametrize("world", [{"tasks": 3_000}], indirect=True)
def test_a_batch_that_a_full_disk_kept_out_of_the_file_comes_back_from_the_ring(world):
    world.start()
    (world.folder / "common").write_text(str(world.ran))
    world.wait(world.busy, "tasks wait and run")
    fill_the_disk(world)
    wait_for_looks(world, 4)  # far enough apart for "it is on disk by now"
    said = len(replays(world))
    world.kill("redis", restart=None)
    world.processes["redis"].start()
    world.wait(lambda: len(replays(world)) > said, "what the file lacks comes from the ring")
    assert replays(world)[-1][2] >= 1, replays(world)  # answered ones among them
    finish(world)
    numbers = check(world)
    assert numbers["tasks"] >= 3_000 and numbers["failed"] == 0


@pytest.mark.parametrize("world", [{"client": False, "executors": 0}], indirect=True)
def test_a_request_that_was_taken_just_before_redis_fills_up_is_answered_with_that_reason(world):
    world.start()
    (world.folder / "common").write_text(str(world.ran))
    sessions = 'flame_sessions{app="kill",state="open"}'
    ask(world, "CLIENT", "PAUSE", "60000", "WRITE")
    words = ["create", "-a", "kill", "-c", world.folder / "common", "--timeout", "8s"]
    creating = subprocess.Popen(
        [BIN / "flmctl", *words, "--endpoint", world.endpoint], stderr=subprocess.PIPE, text=True
    )
    try:
        world.wait(lambda: world.metrics().get(sessions) == 1, "the broker has taken it")
        fill_up(world)
        ask(world, "CLIENT", "UNPAUSE")
        said = creating.communicate(timeout=60)[1]
    finally:
        creating.kill()
    reason = "is full (maxmemory); raise it"
    assert creating.returncode == 1 and said.count(reason) == 2, said  # waiting, and the end
    assert "may still take effect" in said, said
    give_memory(world)
    world.wait(lambda: len(json.loads(world.flmctl("list", "-o", "json").stdout)) == 1, "it did")


def another_schema(world):
    ask(world, "HSET", "flame:meta", "schema", "99")


def forget_the_schema(world):
    ask(world, "DEL", "flame:meta")


def ask_for_a_password(world):
    config(world, "requirepass", "another-one-8")
    world.password = "another-one-8"


def ask_for_none(world):
    config(world, "requirepass", "")
    world.password = ""


LOCKED = {"password": PASSWORD}
EVICTING = {"redis_flags": "--maxmemory-policy allkeys-lru"}
CLUSTERED = {"redis_flags": "--cluster-enabled yes"}
WITHOUT_AOF = {"redis_flags": "--appendonly no"}
# name: how Redis starts, what is done to it, the reason and the next step, what mends it.
AT_START = {
    "eviction": (EVICTING, nothing, "set it to noeviction", let_it_keep),
    "no AOF": (WITHOUT_AOF, nothing, "set appendonly yes", switch_the_file_on),
    "cluster": (CLUSTERED, nothing, "Use a plain Redis with replicas", None),
    "schema": ({}, another_schema, "schema '99'", forget_the_schema),
    "WRONGPASS": (LOCKED, change_the_password, "correct the user or the password", change_it_back),
    "NOAUTH": ({}, ask_for_a_password, "wants a password; give it with", ask_for_none),
    "READONLY": ({}, make_it_a_replica, "point the broker at the primary", promote_it),
    "BUSY": ({}, run_a_long_script, "end it with SCRIPT KILL", end_the_script),
    "absent": ({}, stop_redis, "it is tried again until it works", start_redis),
    "LOADING": ({}, restart_it_with_much_to_load, "is still loading its data", nothing),
}


@pytest.mark.parametrize(
    "name, world",
    [(name, {"client": False, "executors": 0} | row[0]) for name, row in AT_START.items()],
    indirect=["world"],
)
def test_a_broker_waits_for_a_redis_that_it_must_not_use_and_says_why(name, world):
    _, breaks, reason, mends = AT_START[name]
    world.processes["redis"].start()
    world.wait(world.redis_answers, "redis answers")
    breaks(world)
    broker = world.processes["broker"]
    broker.start()
    world.wait(lambda: refused_with(world, reason), f"/readyz says: {reason}")
    assert world.metrics()["flame_redis_up"] == 0
    assert reason in broker.log.read_text() and PASSWORD not in broker.log.read_text()
    if mends is not nothing:
        refused = world.flmctl("list")
        assert refused.returncode == 1, refused
        assert re.search(f"waiting: .*{re.escape(reason)}", refused.stderr), refused
    if mends is None:
        return
    mends(world)
    world.wait(lambda: world.http("/readyz")[0] == 200, "the broker is ready")
    assert world.metrics()["flame_redis_up"] == 1 and broker.alive() and broker.starts == 1
    assert world.flmctl("create", "-a", "echo").returncode == 0


@pytest.mark.parametrize("world", [{"client": False, "executors": 0}], indirect=True)
def test_every_tool_says_what_it_waits_for_and_json_stays_json(world):
    world.processes["broker"].start()  # and no Redis
    world.wait(lambda: world.http("/readyz")[0] == 503, "the broker is there")
    for words in (["flmping", "-t", "1", "-o", "json"], ["flmexec", "-t", "1", "-c", "true"]):
        done = subprocess.run(
            [BIN / words[0], *words[1:], "--endpoint", world.endpoint],
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1 and done.stdout == "", done
        said = f"{words[0]}: waiting: The broker at {world.endpoint} does not serve yet: "
        assert done.stderr.count(said) == 1 and "it is tried again until it works" in done.stderr


@pytest.mark.parametrize("world", [{"client": False, "slots": 4}], indirect=True)
def test_an_outage_longer_than_a_lease_loses_no_executor_and_charges_no_attempt(world):
    """The results that cannot be recorded fill the broker: it reads its executors no more, and must
    not take that for their silence."""
    world.start()
    words = ["flmping", "-t", "4000", "--output-size", "128KiB", "-o", "json"]
    with open(world.folder / "ping.json", "wb") as out:
        ping = subprocess.Popen(
            [BIN / words[0], *words[1:], "--endpoint", world.endpoint], stdout=out
        )
        try:
            done = 'flame_tasks_finished_total{result="succeed"}'
            world.wait(lambda: world.metrics().get(done, 0) > 100, "results come")
            stop_redis(world)
            world.sleep(2 * LEASE)
            assert ping.poll() is None, "it was over too early to show anything"
            assert world.metrics()['flame_executors{state="connected"}'] == 2
            start_redis(world)
            # However slow sanitizers make it: each wait is for more results or the end.
            while ping.poll() is None:
                before = world.metrics().get(done, 0)
                world.wait(
                    lambda before=before: ping.poll() is not None
                    or world.metrics().get(done, 0) > before,
                    f"more than {before:.0f} results, or the end",
                )
            assert ping.returncode == 0
        finally:
            ping.kill()
    told = json.loads((world.folder / "ping.json").read_text())
    assert (told["succeeded"], told["retried"], told["duplicates"]) == (4000, 0, 0), told
    assert "Lost" not in world.processes["broker"].log.read_text()
