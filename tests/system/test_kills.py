# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Nothing acknowledged is lost, one result per task, whoever is killed. A failing run prints its
seed; the same again: tests/kill/kill.py --kills N --seed N --fsync WHEN, or recover.py (moments
differ from run to run, targets do not)."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kill"))

import kill  # noqa: E402
import recover  # noqa: E402
from check import Journal  # noqa: E402
from resp import Redis  # noqa: E402
from strike import forget_tasks, strike_one, wait_for_looks  # noqa: E402
from world import BIN, SESSION, World, state_of  # noqa: E402

# At least 20 kills in all; FLAME_KILLS multiplies them.
TIMES = int(os.environ.get("FLAME_KILLS", "1"))


@pytest.mark.parametrize("fsync, kills", [("everysec", 8), ("slow", 6), ("always", 6)])
def test_kills_cost_time_and_never_a_task(fsync, kills):
    numbers = kill.run(kills * TIMES, int(time.time()) % 100_000, fsync, tasks=35_000)
    print(numbers)
    assert numbers["kills"] >= kills * TIMES
    assert fsync != "slow" or numbers["proved_forgotten"] > 0


def test_kills_between_the_steps_of_recovery_cost_time_and_never_a_task():
    numbers = recover.run(14 * TIMES, int(time.time()) % 100_000, tasks=20_000)
    print(numbers)
    assert numbers["kills_in_recovery"] >= 14 * TIMES
    assert numbers["answered_batches_replayed"] > 0


@pytest.fixture
def world(request):
    """Made by the test with request.param's arguments; stopped and removed whatever happens."""
    made = World(**{"seed": 1, "client": False} | request.param)
    yield made
    made.stop()


@pytest.mark.parametrize("world", [{"executors": 1, "slots": 2}], indirect=True)
def test_a_kill_that_would_prove_nothing_is_not_made(world):
    world.start()
    pids = {name: world.pid_of(name) for name in ("executor-1", "broker", "redis")}
    assert [strike_one(world, name) for name in pids] == [None] * 3, "nothing waits, nothing runs"
    world.create("busy")
    world.flmctl("submit", "busy", *[f"1.{place}.20" for place in range(2000)])
    assert strike_one(world, "redis", forget=True) is None, "its file has all that it answered"
    for name, pid in pids.items():
        assert world.pid_of(name) == pid
        world.wait(lambda pid=pid: state_of(pid) in "RS", f"{name} goes on")


def stands_still(world):
    """Redis is inside an fsync that its next answer waits for."""
    try:
        with Redis(world.socket, timeout=0.3) as redis:
            redis("PING")
        return False
    except OSError:
        return True


def appendfsync(world):
    with world.redis() as redis:
        return redis("CONFIG", "GET", "appendfsync")[1]


@pytest.mark.parametrize("world", [{"fsync": "slow", "executors": 0}], indirect=True)
def test_a_broker_killed_while_it_forces_its_epoch_to_disk_leaves_appendfsync_as_it_was(world):
    world.processes["redis"].start()
    world.wait(world.redis_answers, "redis answers")
    world.processes["broker"].start()
    world.wait(lambda: stands_still(world), "each write waits for its fsync")
    world.kill("broker", restart=None)
    world.wait(world.redis_answers, "redis answers again")
    assert appendfsync(world) == b"always", "the kill came too late to show anything"
    world.processes["broker"].start()
    world.wait(lambda: world.http("/readyz")[0] == 200, "the next broker is ready")
    assert appendfsync(world) == b"everysec"
    assert "set back" in world.processes["broker"].log.read_text()


def lose_the_ring(world):
    """Broker and Redis die together, and the ring with them: nobody can say what is missing."""
    world.kill("redis", restart=None)
    world.kill("broker", restart=None)
    for ring in (world.folder / "ring").glob("*.ring"):
        ring.unlink()
    world.processes["redis"].start()
    world.processes["broker"].start()


def all_is_written(world):
    """On a slow disk Redis holds back for up to 2 s what it has answered."""
    with world.redis() as redis:
        world.wait(
            lambda: b"aof_buffer_length:0\r" in redis("INFO", "persistence"), "Redis wrote it all"
        )


def on_disk(world):
    return b"".join(path.read_bytes() for path in (world.folder / "redis").rglob("*.incr.aof"))


def lineage(world):
    with world.redis() as redis:
        return redis.fields("flame:meta")["lineage"]


@pytest.mark.parametrize("world", [{"executors": 1, "slots": 2}], indirect=True)
def test_without_its_ring_a_broker_serves_reads_only_until_a_person_accepts_the_loss(world):
    world.start()
    made = world.create("lossy")
    assert made.returncode == 0, made
    done = world.flmctl("submit", "lossy", "1.0.0", "1.1.0", "--wait")
    assert done.returncode == 0, done
    before = lineage(world)
    all_is_written(world)
    lose_the_ring(world)
    world.wait(
        lambda: "may be missing" in world.http("/readyz")[1], "the broker says what is missing"
    )
    assert world.http("/readyz")[0] == 503
    listed = world.flmctl("list", "-o", "json")
    assert listed.returncode == 0 and "lossy" in listed.stdout, listed
    results = world.flmctl("results", "lossy")
    assert results.returncode == 0 and "1.1.0=ok" in results.stdout, results
    refused = world.flmctl("create", "-a", "kill")
    assert refused.returncode != 0 and "may be missing" in refused.stderr, refused
    unsure = world.flmctl("recover")
    assert unsure.returncode != 0 and "--accept-loss" in unsure.stderr, unsure
    assert lineage(world) == before
    accepted = world.flmctl("recover", "--accept-loss")
    assert accepted.returncode == 0, accepted
    world.wait(lambda: world.http("/readyz")[0] == 200, "the broker serves again")
    assert lineage(world) != before
    again = world.flmctl("submit", "lossy", "2.0.0", "--wait")
    assert again.returncode == 0 and "2.0.0=ok" in again.stdout, again
    every = world.flmctl("results", "lossy").stdout
    assert [text in every for text in ("1.0.0=ok", "1.1.0=ok", "2.0.0=ok")] == [True] * 3, every


WAITING = "waiting: .*may be missing.*flmctl recover --accept-loss"


@pytest.mark.parametrize("world", [{"executors": 1, "slots": 2}], indirect=True)
def test_a_submit_that_waits_for_a_person_says_so_and_is_run_when_the_person_has_decided(world):
    world.start()
    assert world.create("held").returncode == 0
    all_is_written(world)
    lose_the_ring(world)
    world.wait(
        lambda: "may be missing" in world.http("/readyz")[1], "the broker says what is missing"
    )
    log = world.folder / "logs" / "submit.log"
    with open(log, "wb") as stderr, open(world.folder / "ids", "wb") as stdout:
        words = ["submit", "held", "1.0.0", "-o", "json", "--endpoint", world.endpoint]
        submit = subprocess.Popen([BIN / "flmctl", *words], stdout=stdout, stderr=stderr)
        try:
            world.wait(lambda: re.search(WAITING, log.read_text()), "the submit says why it waits")
            assert submit.poll() is None and (world.folder / "ids").read_text() == ""
            assert world.flmctl("recover", "--accept-loss").returncode == 0
            assert submit.wait(60) == 0, log.read_text()
        finally:
            submit.kill()
    assert json.loads((world.folder / "ids").read_text())["ids"] == ["1"]
    assert len(re.findall(WAITING, log.read_text())) == 1, log.read_text()
    world.wait(lambda: "1.0.0=ok" in world.flmctl("results", "held").stdout, "the task has run")


LOSSY = {"fsync": "slow", "executors": 1, "slots": 4, "client": True, "loss": True, "tasks": 10**9}


@pytest.mark.parametrize("world", [LOSSY], indirect=True)
def test_a_client_that_is_still_there_is_told_by_id_what_a_store_without_ring_lost(world):
    world.start()
    world.wait(world.busy, "tasks wait and run")
    world.wait(lambda: SESSION.encode() in on_disk(world), "the session is on disk")
    world.wait(lambda: forget_tasks(world), "Redis dies with acknowledged tasks only in its memory")
    links = Journal(world.journal).links
    lose_the_ring(world)
    world.wait(
        lambda: "may be missing" in world.http("/readyz")[1], "the broker says what is missing"
    )
    with world.redis() as redis:
        kept = int(redis("HGET", f"flame:{{{SESSION}}}:session", "tasks") or 0)
    acknowledged = Journal(world.journal).acknowledged
    lost = {task for ids in acknowledged.values() for task in ids if task > kept}
    assert lost, "Redis forgot nothing: the test shows nothing"
    world.wait(lambda: Journal(world.journal).links > links, "the client is back")
    assert world.flmctl("view", "session", SESSION).returncode == 0
    told = Journal(world.journal)
    assert not told.lost and not told.wrong, "nobody has decided yet that it is lost"
    assert world.flmctl("recover", "--accept-loss").returncode == 0
    world.wait(lambda: world.http("/readyz")[0] == 200, "the broker serves again")
    world.wait(lambda: Journal(world.journal).lost, "the client is told")
    known = len(Journal(world.journal).received)
    world.wait(lambda: len(Journal(world.journal).received) > known + 50, "results come again")
    journal = Journal(world.journal)
    assert {task for ids in journal.lost for task in ids} == lost
    assert journal.wrong == [] and len(journal.lineages) == 2


@pytest.mark.parametrize("world", [{"executors": 1, "slots": 2}], indirect=True)
def test_a_redis_that_lost_its_volume_under_a_living_broker_is_noticed_and_named(world):
    world.start()
    assert world.create("gone").returncode == 0
    assert world.flmctl("submit", "gone", "1.0.0", "1.1.0", "--wait").returncode == 0
    world.wait(lambda: not list(world.redis()("KEYS", "flame:{gone}:input:*")), "all is recorded")
    wait_for_looks(world, 4)  # the ring has let go of what is on disk by now
    world.flmctl("submit", "gone", "2.0.5000")
    world.kill("redis", restart=None)
    for path in (world.folder / "redis").rglob("*.*"):
        if path.is_file():
            path.unlink()
    world.processes["redis"].start()
    world.wait(
        lambda: "were confirmed" in world.http("/readyz")[1], "the broker says what is missing"
    )
    refused = world.flmctl("create", "-a", "kill")
    assert refused.returncode != 0 and "were confirmed" in refused.stderr, refused
    assert world.flmctl("recover", "--accept-loss").returncode == 0
    world.wait(lambda: world.http("/readyz")[0] == 200, "the broker serves again")
    missing = world.flmctl("submit", "gone", "4.0.0")
    assert missing.returncode == 3 and "no session" in missing.stderr, missing
    world.register()
    assert world.create("gone").returncode == 0
    again = world.flmctl("submit", "gone", "1.0.0", "--wait")
    assert again.returncode == 0 and "1.0.0=ok" in again.stdout, again
