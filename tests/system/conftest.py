# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Real processes on free ports in a folder of their own. Nothing here sleeps for a guess: every
wait is for a condition, with a bound after which the test fails and shows the logs."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/kube"))
BIN = pathlib.Path(os.environ.get("FLAME_BIN", ROOT / "build/release/bin"))
# How BIN was built; an installed one does not say.
CACHE = BIN.parent / "CMakeCache.txt"
WITHOUT_GRPC = CACHE.exists() and "FLAME_GRPC:BOOL=OFF" in CACHE.read_text()
needs_grpc = pytest.mark.skipif(WITHOUT_GRPC, reason="this Flame was built without gRPC")
# A real control plane, as tools/kube built it; without one, tests of Kubernetes use a fake one.
KUBE = os.environ.get("FLAME_KUBE")
# The sanitizers and a busy machine are slow; a passing test never waits for this.
PATIENCE = float(os.environ.get("FLAME_TEST_PATIENCE", 30))


def pytest_configure(config):
    config.addinivalue_line("markers", "brief: what `make test` runs against a real Kubernetes")


def wait_until(condition, what, seconds=PATIENCE):
    """The first true value of condition(); looks 100 times a second."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.01)


def sanitized():
    """Whether BIN was built with a sanitizer: then a program is another one than users get."""
    lines = CACHE.read_text().splitlines()
    return any(line.startswith("FLAME_SANITIZE:") and not line.endswith("=") for line in lines)


def alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Cluster:
    """What a person with one data folder can do."""

    def __init__(self, data, home):
        self.data = pathlib.Path(data)
        self.foreground = None
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FLAME_")}
        # A default cluster of whoever runs the tests must not be touched.
        self.env = clean | {"HOME": str(home), "PATH": f"{BIN}:{clean['PATH']}"}
        self.env.pop("XDG_STATE_HOME", None)

    def run(self, *command, timeout=120, stdin="", **env):
        done = subprocess.run(
            [str(word) for word in command],
            env=self.env | env,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def flmctl(self, *words, **kwargs):
        return self.run("flmctl", *words, **kwargs)

    def up(self, *flags, port=0, expect=0, **env):
        words = ["up", "--detach", "--data", self.data, *flags]
        if port is not None:
            words += ["--port", port]
        done = self.flmctl(*words, **env)
        assert done.code == expect, f"{done}\n{self.logs()}"
        if expect == 0:
            self.env["FLAME_ENDPOINT"] = self.file["endpoint"]
        return done

    def up_in_foreground(self, *flags):
        """Its process; stdout is read by the caller."""
        words = ["flmctl", "up", "--data", str(self.data), "--port", "0", *map(str, flags)]
        self.foreground = subprocess.Popen(
            words,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until(lambda: self.state == "running", "the cluster runs")
        self.env["FLAME_ENDPOINT"] = self.file["endpoint"]
        return self.foreground

    def down(self):
        done = self.flmctl("down", "--data", self.data)
        assert done.code == 0, done
        return done

    @property
    def status(self):
        done = self.flmctl("status", "--data", self.data, "-o", "json")
        assert done.code in (0, 3), done
        return done.json

    @property
    def state(self):
        return self.status["state"]

    @property
    def file(self):
        return json.loads((self.data / "cluster.json").read_text())

    def process(self, name):
        return next(p for p in self.status["processes"] if p["name"] == name)

    def names(self):
        return [p["name"] for p in self.status["processes"]]

    def pid(self, name):
        return int((self.data / "run" / f"{name}.pid").read_text())

    def kill(self, name, number=signal.SIGKILL):
        """Proved to have hit a living process; returns its pid."""
        pid = self.file["pids"][name]
        assert alive(pid)
        os.kill(pid, number)
        return pid

    def wait_running(self):
        wait_until(lambda: self.state == "running", f"the cluster runs again\n{self.logs()}")

    def sessions(self):
        done = self.flmctl("list", "-o", "json")
        assert done.code == 0, done
        return done.json

    def redis(self, *words):
        socket = self.file["redis"].removeprefix("unix://")
        return self.run("redis-cli", "-s", socket, *words).out.strip()

    def logs(self):
        parts = []
        for log in sorted((self.data / "logs").glob("*.log")):
            parts.append(f"--- {log.name}\n" + log.read_text(errors="replace")[-2000:])
        return "\n".join(parts)

    def leftovers(self):
        """Processes that still have this folder or one of its sockets in their command line."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or not alive(int(entry.name)):
                continue
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(self.data) in command and int(entry.name) != os.getpid():
                found.append(command.replace("\0", " "))
        return found


@pytest.fixture
def make_cluster(tmp_path):
    made = []

    def make(name="cluster"):
        cluster = Cluster(tmp_path / name, tmp_path / "home")
        (tmp_path / "home").mkdir(exist_ok=True)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        if cluster.foreground and cluster.foreground.poll() is None:
            cluster.foreground.send_signal(signal.SIGINT)
            cluster.foreground.wait(PATIENCE)
        if cluster.foreground:
            cluster.foreground.stdout.close()
        cluster.down()
        assert cluster.leftovers() == []


@pytest.fixture
def cluster(make_cluster):
    return make_cluster()


@pytest.fixture
def running(cluster):
    """One executor with two slots."""
    cluster.up("--slots", 2)
    return cluster


@pytest.fixture(scope="module")
def running_once(tmp_path_factory):
    """One cluster for the tests of a file that leave nothing behind that another would see."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "home").mkdir()
    cluster = Cluster(folder / "cluster", folder / "home")
    cluster.up("--slots", 2)
    yield cluster
    cluster.down()
    assert cluster.leftovers() == []


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    """A real Kubernetes; one for all tests, each has a namespace of its own."""
    from control_plane import ControlPlane

    plane = ControlPlane(tmp_path_factory.mktemp("kubernetes"), KUBE)
    yield plane
    plane.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for value in item.funcargs.values():
            if isinstance(value, Cluster):
                report.sections.append(("cluster logs", value.logs()))
