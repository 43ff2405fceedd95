# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The bare loop as four processes with a Redis of their own, set as `flmctl up` sets it."""

import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from harness import processes
from harness.redis import Redis

REDIS_SETTINGS = (
    "--port",
    "0",
    "--appendonly",
    "yes",
    "--save",
    "",
    "--maxmemory-policy",
    "noeviction",
    "--auto-aof-rewrite-min-size",
    "4gb",
    "--auto-aof-rewrite-percentage",
    "200",
    "--no-appendfsync-on-rewrite",
    "no",
)


def free_ports(count):
    """Free a moment ago: the bench is alone on the loopback that it uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Ceiling:
    """A fresh one for every run: it has one session and no recovery."""

    def __init__(self, bin_folder, appendfsync="everysec", tcp=True, credit=8192, spin_us=0):
        self.program = pathlib.Path(bin_folder) / "flame-ceiling"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="flame-ceiling-"))
        self.appendfsync, self.credit, self.spin_us = appendfsync, credit, spin_us
        if tcp:
            self.clients, self.executors = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        else:
            self.clients, self.executors = (
                f"ipc://{self.folder}/{name}" for name in ("clients", "executors")
            )
        self.children = {}

    @property
    def socket(self):
        return self.folder / "redis.sock"

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        self._spawn(
            "redis",
            "redis-server",
            *REDIS_SETTINGS,
            "--appendfsync",
            self.appendfsync,
            "--unixsocket",
            self.socket,
            "--dir",
            self.folder,
        )
        self._wait_for(self.socket.exists, "redis")
        self._spawn(
            "broker",
            self.program,
            "broker",
            "--redis",
            self.socket,
            "--clients",
            self.clients,
            "--executors",
            self.executors,
            "--spin-us",
            self.spin_us,
        )
        # DEALER sockets connect as soon as somebody listens; the first run waits for both.
        self._spawn(
            "executor",
            self.program,
            "executor",
            "--executors",
            self.executors,
            "--credit",
            self.credit,
        )
        self._wait_for(lambda: processes.descendants(self.children["executor"].pid), "executor")

    def _spawn(self, name, *command):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.children[name] = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _wait_for(self, condition, name):
        end = time.monotonic() + 10
        while not condition():
            if self.children[name].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the ceiling's {name} does not start: {self._log(name)}")
            time.sleep(0.005)

    def _log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-500:]

    def __exit__(self, *error):
        for child in reversed(list(self.children.values())):
            child.kill()
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        found = {name: [child.pid] for name, child in self.children.items()}
        found["service"] = processes.descendants(self.children["executor"].pid)
        return found

    def redis_costs(self, tasks):
        """What each command cost Redis: calls and microseconds per task."""
        with Redis(self.socket) as redis:
            return redis.costs(tasks)

    def run(self, tasks, batch=1024, window=100_000, latency=False, input_size=64):
        """The client's report with CPU seconds per process added."""
        words = [
            self.program,
            "client",
            "--clients",
            self.clients,
            "--tasks",
            tasks,
            "--batch",
            batch,
            "--window",
            window,
            "--input-size",
            input_size,
            *(["--latency"] if latency else []),
        ]
        with processes.CpuWatch(self.pids) as watch:
            code, out, err, client_seconds = processes.run_timed(words, timeout=120)
        if code != 0:
            raise RuntimeError(f"the ceiling's client failed: {err.strip()} {self._log('broker')}")
        return json.loads(out) | {"cpu": {"client": client_seconds} | watch.seconds}
