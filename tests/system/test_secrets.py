# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The password of Redis goes from the environment of `flmctl up` to the broker, and no further."""

import pathlib
import random
import subprocess
import sys

import pytest
from conftest import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kill"))

from world import free_port  # noqa: E402

PASSWORD = "Kq7-not-for-services"
ANOTHER = "Zb3-nor-this-one"


class LockedRedis:
    """Told its password on stdin: no command line has it."""

    def __init__(self, folder):
        folder.mkdir()
        self.socket, self.port = folder / "sock", free_port(random.Random())
        self.process = subprocess.Popen(
            ["redis-server", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self.process.stdin.write(
            f"port {self.port}\nbind 127.0.0.1\nunixsocket {self.socket}\ndir {folder}\n"
            f"appendonly yes\nsave ''\nrequirepass {PASSWORD}\n"
        )
        self.process.stdin.close()

    @property
    def shown(self):
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def url(self):
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def tell(self, password, commands):
        """On stdin, too."""
        subprocess.run(
            ["redis-cli", "-s", str(self.socket)],
            env={"REDISCLI_AUTH": password, "PATH": "/usr/bin:/bin"},
            input=commands,
            text=True,
            capture_output=True,
            check=True,
            timeout=30,
        )


@pytest.fixture
def locked(tmp_path):
    redis = LockedRedis(tmp_path / "theirs")
    wait_until(redis.socket.exists, "their Redis listens")
    yield redis
    redis.process.terminate()
    redis.process.wait(20)


def read(path):
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


def processes_with(secret, file):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and secret.encode() in read(entry / file):
            found.append(f"{entry.name} {read(entry / 'comm').decode()}")
    return found


def files_with(secret, folder):
    return [
        path for path in folder.rglob("*") if path.is_file() and secret.encode() in read(path)
    ]


def below(pid):
    """Its children and theirs."""
    found = []
    for child in read(pathlib.Path(f"/proc/{pid}/task/{pid}/children")).split():
        found += [int(child), *below(int(child))]
    return found


def in_no_place(cluster):
    assert processes_with(PASSWORD, "cmdline") == []
    # Of the broker only what it was started with, and that is wiped out.
    assert processes_with(PASSWORD, "environ") == []
    assert files_with(PASSWORD, cluster.data) == []


def test_the_password_of_redis_stays_with_the_broker(cluster, locked):
    shown = [cluster.up("--slots", 2, "--redis", locked.shown, FLAME_REDIS_URL=locked.url)]
    assert cluster.file["redis"] == locked.shown
    # A native service that stays, and a task that says what it was given.
    shown.append(cluster.run("flmping", "-t", "50", "-o", "json"))
    assert shown[-1].json["succeeded"] == 50
    told = cluster.run("flmexec", "-t", "1", "-c", "tr '\\0' '\\n' </proc/self/environ")
    assert told.code == 0 and "FLAME_TASK_ID=1" in told.out, told
    assert "REDIS" not in told.out and PASSWORD not in told.out
    services = below(cluster.file["pids"]["executor-1"])
    assert services, "no service is there to look at"
    for pid in [cluster.file["pids"]["executor-1"], *services]:
        assert b"FLAME_REDIS_URL" not in read(pathlib.Path(f"/proc/{pid}/environ"))
    in_no_place(cluster)

    # What goes wrong is said without it.
    locked.tell(PASSWORD, f"CONFIG SET requirepass {ANOTHER}\n")
    locked.tell(ANOTHER, "CLIENT KILL TYPE normal SKIPME yes\n")
    log = cluster.data / "logs" / "broker.log"
    wait_until(lambda: b"correct the user or the password" in read(log), "the log says it")
    shown.append(cluster.flmctl("status", "--data", cluster.data))
    shown.append(cluster.flmctl("create", "-a", "echo", "--timeout", "2s"))
    assert "correct the user or the password" in shown[-1].err, shown
    in_no_place(cluster)
    locked.tell(ANOTHER, f"CONFIG SET requirepass {PASSWORD}\n")
    cluster.wait_running()
    # A broker that is started again has it from the supervisor.
    cluster.kill("broker")
    wait_until(lambda: cluster.process("broker")["restarts"] == 1, "it was started again")
    cluster.wait_running()
    in_no_place(cluster)
    shown.append(cluster.down())
    assert not any(PASSWORD in each.out + each.err for each in shown)
    assert files_with(PASSWORD, cluster.data) == []


@pytest.mark.parametrize("way", ["file", "config"])
def test_a_broker_by_hand_has_the_password_from_a_file(cluster, locked, tmp_path, way):
    secret, ready = tmp_path / "secret", tmp_path / "ready"
    if way == "file":
        secret.write_text(PASSWORD + "\n")
        words, env = ["--redis-password-file", secret], {"FLAME_REDIS_URL": locked.shown}
    else:
        secret.write_text(f"redis-url: {locked.url}\n")
        words, env = ["--config", secret], {}
    words = ["flame-broker", "--listen", "127.0.0.1:0", "--ready-file", ready, *words]
    words += ["--ring-dir", tmp_path, "--takeover-grace", "0"]
    if way == "file":
        secret.chmod(0o640)
        done = cluster.run(*words, **env)
        assert done.code == 1 and f"{secret} is readable by others; chmod 600 it" in done.err, done
    secret.chmod(0o600)
    log = (tmp_path / "log").open("w+")
    broker = subprocess.Popen([*map(str, words)], env=cluster.env | env, stderr=log)
    try:
        wait_until(ready.exists, "it serves")
        assert processes_with(PASSWORD, "cmdline") == processes_with(PASSWORD, "environ") == []
    finally:
        broker.terminate()
        assert broker.wait(30) == 0
        log.seek(0)
        assert PASSWORD not in log.read()


def descriptors_of(pid):
    return sorted(int(fd.name) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir())


def test_a_service_gets_no_descriptor_of_its_executor(running):
    running.run("flmping", "-t", "10")
    # Beside the services it has a guard, itself forked, that outlives it to end them.
    children = below(running.file["pids"]["executor-1"])
    comm = {pid: read(pathlib.Path(f"/proc/{pid}/comm")) for pid in children}
    services = [pid for pid in children if comm[pid] != b"flame-guard\n"]
    assert services, "no service is there to look at"
    for pid in services:
        # One that still starts has a library or a file of /proc open for a moment.
        wait_until(
            # Of the native shim two more: the socket, and the pipe that tells of cancels.
            lambda pid=pid: descriptors_of(pid) in ([0, 1, 2], [0, 1, 2, 3, 4]),
            f"no more than its own: {pid} has {descriptors_of(pid)}",
        )
    # A task of the shell shim: stdin, stdout, stderr, and what `ls` itself opens.
    told = running.run("flmexec", "-t", "1", "-c", "ls /proc/self/fd")
    assert told.out.split() == ["0", "1", "2", "3"], told
