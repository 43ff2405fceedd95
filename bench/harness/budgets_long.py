# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What takes minutes: ten million queued tasks, a restart that has to read them, a long stream; and
the autoscaler."""

import os
import signal
import statistics
import time

from harness import processes
from harness.autoscaler import autoscaler
from harness.budgets import in_millions, rate, warm
from harness.cluster import Cluster, wait_for
from harness.pairs import median_cpu
from harness.report import Row

TEN_MILLION = 10_000_000


def queued(cluster, run, count):
    """Many tasks in one session that nobody runs. One submit a batch, or they are joined."""
    return cluster.load("--queue", "--alone", "--run", run, "-t", count, timeout=1800)


def memory(cluster, before, count):
    kinds = processes.memory_bytes(cluster.pid("broker"))
    with cluster.redis() as redis:
        return kinds["own"], kinds["RssShmem"], (redis.info("used_memory") - before) / count


def ten_million_queued(bench):
    rows = {
        run: Row(
            f"10,000,000 queued, runs of {run}: broker; Redis per task",
            "≤ 400 MB without the ring; ≤ 84 bytes",
        )
        for run in (64, 256, 1024)
    }
    restart = {
        run: Row(
            f"restart of the broker, 10,000,000 queued in runs of {run}",
            "< 2 s until dispatching again",
        )
        for run in (64, 1024)
    }
    yield from rows.values()
    yield from restart.values()
    count = bench.scaled(TEN_MILLION, least=2_000_000)
    for run, row in rows.items():
        with row.filled(), Cluster(bench.bin, executors=0) as cluster:
            session = queued_row(cluster, run, count, row)
            if run in restart:
                with restart[run].filled():
                    restart_row(cluster, session, restart[run])


def queued_row(cluster, run, count, row):
    with cluster.redis() as redis:
        before = redis.info("used_memory")
    report = queued(cluster, run, count)
    time.sleep(5)  # the ring is given back once Redis has the batches on disk
    own, ring, per_task = memory(cluster, before, count)
    queued_at = in_millions(rate(report))
    row.measured = f"{own / 1e6:.0f} MB; {per_task:.1f} bytes (queued at {queued_at})"
    row.good = own <= 400e6 and per_task <= 84
    row.numbers = {
        "broker_bytes": own,
        "ring_bytes": ring,
        "redis_bytes_per_task": per_task,
        "tasks_per_second": rate(report),
    }
    return report["session"]


def restart_row(cluster, session, row):
    """From the start of the new process to the first result of a task that it dispatched."""
    cluster.add_executor()
    times, from_kill = [], []
    with cluster.redis() as redis:

        def finished():
            return int(redis.ask("HGET", f"flame:{{{session}}}:session", "succeed") or 0)

        wait_for(lambda: finished() > 10_000, "the executor runs tasks", 60)
        for _ in range(3):
            old = cluster.pid("broker")
            os.kill(old, signal.SIGKILL)
            killed = time.monotonic()
            wait_for(lambda: not processes.alive(old), "the broker is dead")
            stands = finished()
            # More than an executor can have had in hand: these were dispatched by the new one.
            wait_for(lambda: finished() > stands + 20_000, "tasks are dispatched again", 120)
            now = time.monotonic()
            times.append(now - processes.started_at(cluster.pid("broker")))
            from_kill.append(now - killed)
    row.measured = (
        f"median {statistics.median(times):.2f} s, worst {max(times):.2f} "
        f"(from the kill, with the supervisor's wait: {max(from_kill):.2f})"
    )
    row.good = max(times) < 2
    row.numbers = {"seconds": times, "from_kill": from_kill}


def long_stream(bench):
    row = Row("10,000,000 no-op tasks in one go", "–")
    yield row
    with warm(bench.bin) as cluster:
        report = cluster.flmping("-t", bench.scaled(TEN_MILLION))
        kinds = processes.memory_bytes(cluster.pid("broker"))
    row.measured = f"{in_millions(rate(report))}; broker then {kinds['own'] / 1e6:.0f} MB"
    row.numbers = {"tasks_per_second": rate(report), "cpu_us": {"ours": median_cpu([report])}}


LONG = (ten_million_queued, long_stream, autoscaler)
