# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The table of the peers: no-op tasks in Python, two workers, one client, on this machine.

    run.py PYTHON_OF_THE_PEERS [peer ...]      tools/bench_peers calls it

It is kept in bench/results unless some are named."""

import contextlib
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import report  # noqa: E402  the folder must be on the path first
from harness.cluster import Cluster, wait_for  # noqa: E402

ROOT = report.ROOT
TIMEOUT = 300
MEMORY = "none: in memory"

# Name: what it is, tasks, round trips, durability, settings.
PEERS = {
    "flamepy_map": (
        "flamepy, `Executor.map`",
        1_000_000,
        500,
        "input and result in Redis (AOF everysec, and a ring against kill -9) before they count",
        "default; chunksize 1, each item is a task",
    ),
    "flamepy_submit": (
        "flamepy, `Executor.submit`",
        200_000,
        500,
        "the same",
        "default",
    ),
    "process_pool": (
        "ProcessPoolExecutor, chunksize 1",
        50_000,
        500,
        MEMORY,
        "`map`, the local limit",
    ),
    "process_pool_chunks": (
        "ProcessPoolExecutor, chunksize 1000",
        1_000_000,
        500,
        MEMORY,
        "`map` in chunks: 1,000 items are one task",
    ),
    "celery": (
        "Celery",
        5_000,
        200,
        "tasks and results in Redis (AOF everysec); a task is acknowledged before it runs",
        "prefork, prefetch 256, JSON, no events, no gossip; `group` and `join_native`",
    ),
    "dask": (
        "Dask distributed",
        10_000,
        100,
        MEMORY,
        "two worker processes of one thread, `map(batch_size=1000, pure=False)`, `gather`",
    ),
    "ray_tasks": ("Ray, tasks", 10_000, 200, MEMORY, "`ray.get` of a list of futures"),
    "ray_actors": ("Ray, calls of two actors", 10_000, 200, MEMORY, "the same"),
}


@contextlib.contextmanager
def redis():
    """As the one of `flmctl up`: appendonly, everysec, a unix socket."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/redis.sock"
        words = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", folder]
        words += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: os.path.exists(path), "Redis listens")
            yield f"redis+socket://{path}"
        finally:
            server.terminate()
            server.wait()


@contextlib.contextmanager
def celery_workers(python, environment):
    words = [python, "-m", "celery", "-A", "celery_app", "worker", "--concurrency", "2"]
    words += ["--pool", "prefork", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    words += ["--loglevel", "ERROR"]
    workers = subprocess.Popen(
        words,
        cwd=HERE,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(workers.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            workers.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(workers.pid, signal.SIGKILL)
        workers.wait()


def run_peer(python, name, environment):
    _, count, round_trips, *_ = PEERS[name]
    words = [python, HERE / "peer.py", name, count, round_trips]
    # A session of its own: what it started ends with it.
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {TIMEOUT} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        return {"failed": (err.strip().splitlines() or ["no output"])[-1][:200]}
    return json.loads(out.strip().splitlines()[-1])


def measure(python, name):
    environment = dict(os.environ)
    if name.startswith("flamepy"):
        binaries = os.environ.get("FLAME_BIN", ROOT / "build/release/bin")
        cluster = Cluster(pathlib.Path(binaries).resolve())
        cluster.env["PYTHONPATH"] = str(ROOT / "client/python/src")
        with cluster:
            return run_peer("/usr/bin/python3", name, cluster.env)
    if name == "celery":
        with redis() as url:
            environment["PEER_REDIS"] = url
            with celery_workers(python, environment):
                return run_peer(python, name, environment)
    return run_peer(python, name, environment)


def table(results):
    lines = [
        "| what | version | no-op tasks | one at a time, p50 | durability | settings |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        what, *_, durability, settings = PEERS[name]
        cells = [found.get("failed", "failed"), "–", "–"]
        if "failed" not in found:
            rate = f"{found['tasks_per_second']:,.0f}/s ({found['tasks']:,})"
            cells = [found["version"], rate, f"{found['p50_ms']:.2f} ms"]
        lines.append("| " + " | ".join([what, *cells, durability, settings]) + " |")
    return "\n".join(lines)


def keep(results, about, seconds):
    now = datetime.datetime.now(datetime.timezone.utc)
    at = report.commit()
    path = ROOT / f"bench/results/{now:%Y-%m-%d}-{at.rstrip('+')}-peers.md"
    path.write_text(
        f"# Peers beside {at}, {now:%Y-%m-%d %H:%M} UTC\n\n"
        f"`make bench-peers` in {seconds:.0f} s on {about['cores']} cores of {about['cpu']}, "
        f"{about['memory_mib']} MiB, Linux {about['kernel']}, Redis {about['redis']}; load before "
        f"it began {about['load_before']:.1f}. One client and two workers each, a function that "
        f"returns its argument.\n\n{table(results)}\n"
    )
    return path.relative_to(ROOT)


def main():
    python, *wanted = sys.argv[1:]
    about = report.machine()
    began = time.monotonic()
    results = {}
    for name in wanted or PEERS:
        results[name] = measure(str(pathlib.Path(python).absolute()), name)
        print(f"{name}: {results[name]}", file=sys.stderr, flush=True)
    print(table(results))
    if not wanted:
        print(f"kept in {keep(results, about, time.monotonic() - began)}")


if __name__ == "__main__":
    main()
