# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The installed flamepy, and the same real clusters as the system tests."""

import fcntl
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

import flamepy

ROOT = pathlib.Path(__file__).resolve().parents[2]
VECTORS = ROOT / "proto" / "vectors"
SERVICES = ROOT / "tests" / "python" / "services"

_path = ROOT / "tests/system/conftest.py"
_spec = importlib.util.spec_from_file_location("system_fixtures", _path)
system = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(system)

PATIENCE = system.PATIENCE
wait_until = system.wait_until
make_cluster, cluster, running = system.make_cluster, system.cluster, system.running
running_once = system.running_once
needs_grpc = system.needs_grpc
pytest_runtest_makereport = system.pytest_runtest_makereport

# Enough to cross every limit of a run and of a window; a million by hand.
TASKS = int(os.environ.get("FLAME_PYTHON_TASKS", 200_000))


def register(connection, name, *arguments, **attributes):
    """A service of tests/python/services, run by the interpreter of the tests."""
    command = {"command": sys.executable, "arguments": [str(SERVICES / f"{name}.py"), *arguments]}
    connection.register_application(name, command | attributes)
    return name


@pytest.fixture
def client(running):
    """Connected to a cluster of its own, which the test may kill."""
    with flamepy.connect(running.env["FLAME_ENDPOINT"]) as connection:
        yield connection


@pytest.fixture
def shared(running_once):
    """Connected to the cluster that the tests of a file share."""
    with flamepy.connect(running_once.env["FLAME_ENDPOINT"]) as connection:
        yield connection


# What works with flamepy where it is installed, and is no dependency of it.
EXTRAS = [
    "tqdm>=4.60,<5",
    "rich>=13,<16",
    "markdown-it-py",
    "mdurl",
    "pygments",
    "typing_extensions",
    "joblib>=1.3,<2",
]


@pytest.fixture(scope="session")
def extras():
    """A folder for PYTHONPATH that holds EXTRAS, fetched once; skips where none can be fetched."""
    return fetched("python-extras", EXTRAS)


def fetched(name, packages):
    folder = ROOT / "build" / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    folder.parent.mkdir(exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="utf-8") as lock:  # another worker may want it too
        fcntl.flock(lock, fcntl.LOCK_EX)
        fetch(folder, packages)
    return folder


def fetch(folder, packages):
    if not (folder / "complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps"]
        command = [*pip, "--retries", "1", "--target", folder, *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            pytest.skip(f"{packages[0]} and others cannot be fetched here: {reason}")
        (folder / "complete").touch()


UNREACHABLE = re.compile(
    "NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|getaddrinfo|name resolution"
    "|Name or service not known|Network is unreachable|SSLError"
)


# It says that it is for 3.9 and is installed there, but uses `X | Y` of types as 3.10 has it.
ORIGINAL_RUNS_HERE = sys.version_info >= (3, 10)


@pytest.fixture(scope="session")
def original():
    """The interpreter of an environment with flamepy 0.6.0, fetched once: of the Python of the
    tests, or of Debian's where the original does not run under that."""
    words = [ROOT / "tools/original_flamepy"] + ORIGINAL_RUNS_HERE * [sys.executable]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode and UNREACHABLE.search(done.stderr):
        reason = done.stderr.strip().splitlines()[-1]
        pytest.skip(f"flamepy 0.6.0 cannot be fetched, no package index is reachable: {reason}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
