# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A cluster of its own, started with `flmctl up`, and what the bench asks of it."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request

from harness import processes
from harness.redis import Redis


class Failed(RuntimeError):
    """The reason stands in the row of the table."""


def wait_for(condition, what, seconds=30.0, every=0.002):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"after {seconds:.0f} s still not: {what}")
        time.sleep(every)


class Cluster:
    def __init__(self, bin_folder, slots=2, executors=1, appendfsync="everysec", more=()):
        self.bin = pathlib.Path(bin_folder)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="flame-bench-"))
        self.data = self.folder / "data"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FLAME_")}
        # A default cluster of whoever runs the bench must not be touched.
        self.env = clean | {"HOME": str(self.folder), "PATH": f"{self.bin}:{clean.get('PATH', '')}"}
        self.env.pop("XDG_STATE_HOME", None)
        self.flags = ["--slots", slots, "--executors", executors, "--appendfsync", appendfsync]
        self.flags += more

    def __enter__(self):
        try:
            self.flmctl("up", "--detach", "--port", 0, "--data", self.data, *self.flags)
            self.env["FLAME_ENDPOINT"] = self.file["endpoint"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        subprocess.run(
            [self.bin / "flmctl", "down", "--data", self.data],
            env=self.env,
            check=False,
            capture_output=True,
            timeout=120,
        )
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words, timeout=600):
        code, out, err, cpu = processes.run_timed(words, env=self.env, timeout=timeout)
        if code != 0:
            raise Failed(
                f"{pathlib.Path(str(words[0])).name} ended with {code}: "
                + " ".join((err or out).split())[-300:]
                + f"; the broker's log: {self.last_log('broker')}"
            )
        return out, cpu

    def flmctl(self, *words):
        return self.run(self.bin / "flmctl", *words)[0]

    @property
    def file(self):
        return json.loads((self.data / "cluster.json").read_text())

    def pid(self, name):
        return self.file["pids"].get(name, 0)

    def pids(self):
        known = self.file["pids"]
        executors = [pid for name, pid in known.items() if name.startswith("executor")]
        return {
            "redis": [known["redis"]],
            "broker": [known["broker"]],
            "executor": executors,
            "service": [pid for executor in executors for pid in processes.descendants(executor)],
        }

    def redis(self):
        return Redis(self.file["redis"].removeprefix("unix://"))

    def measured(self, *words, timeout=600):
        """JSON of a tool, with CPU seconds per process. Checked: each task once."""
        with processes.CpuWatch(self.pids) as watch:
            out, client_seconds = self.run(*words, timeout=timeout)
        report = json.loads(out) | {"cpu": {"client": client_seconds} | watch.seconds}
        if report.get("failed") or report.get("duplicates") or report.get("lost"):
            raise Failed(f"failed, duplicate or lost tasks: {out}")
        return report

    def flmping(self, *words, timeout=600):
        return self.measured(self.bin / "flmping", "-o", "json", *words, timeout=timeout)

    def load(self, *words, timeout=600):
        return self.measured(self.bin / "flame-bench-load", *words, timeout=timeout)

    def add_executor(self):
        self.flmctl("up", "--detach", "--data", self.data, "--executors", 1)

    def last_log(self, name):
        """The last line that a process of the cluster has written, for an error text."""
        try:
            lines = (self.data / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return "none"
        return lines[-1][-200:] if lines else "empty"

    def metrics(self, name):
        """The lines of /metrics that begin so, without comments."""
        with urllib.request.urlopen(self.file["http"] + "/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return [line for line in lines if line.startswith(name)]

    def metric(self, name):
        lines = self.metrics(name)
        if not lines:
            raise Failed(f"no metric {name}")
        return float(lines[0].rsplit(" ", 1)[1])

    def is_ready(self):
        try:
            with urllib.request.urlopen(self.file["http"] + "/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False
