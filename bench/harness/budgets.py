# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The measurements that fit in ten minutes, one function per row or group of rows."""

import contextlib
import json
import statistics
import time

from harness import processes
from harness.ceiling import Ceiling
from harness.cluster import Cluster, Failed, wait_for
from harness.crowd import Crowd
from harness.grpc import grpc_shim
from harness.pairs import Pairs, median_cpu
from harness.python import python_memory, python_rates, python_round_trip
from harness.report import Row

MILLION = 1_000_000
PAIRS = 5


def rate(report):
    return report["tasks_per_second"]


def in_millions(value):
    return f"{value / 1e6:.2f} M/s"


def per_second(value):
    return in_millions(value) if value >= 100_000 else f"{value:,.0f} /s"


@contextlib.contextmanager
def warm(bin_folder, **flags):
    """A cluster whose services run already, as a ceiling's do."""
    with Cluster(bin_folder, **flags) as cluster:
        cluster.flmping("-t", 100_000)
        yield cluster


def costs_of(cluster, run, tasks):
    """What each command costs Redis per task while `run()` runs."""
    with cluster.redis() as redis:
        redis.ask("CONFIG", "RESETSTAT")
        run()
        return redis.costs(tasks)


def throughput(bench, what, appendfsync, least):
    row = Row(what, f"≥ {least:,} tasks/s, or ≥ 0.5 of the bare loop")
    yield row
    count = bench.scaled(MILLION)
    with warm(bench.bin, appendfsync=appendfsync) as cluster:
        pairs = Pairs(
            bench.bin,
            lambda: cluster.flmping("-t", count),
            PAIRS,
            tasks=count,
            appendfsync=appendfsync,
        )
        ours_in_redis = costs_of(cluster, lambda: cluster.flmping("-t", count), count)
    with Ceiling(bench.bin, appendfsync=appendfsync, tcp=False) as bare:
        bare.run(2000)
        unix = rate(bare.run(count))
        redis = bare.redis_costs(count + 2000)
    ours, ratio = pairs.median(rate), pairs.ratio(rate)
    row.measured = in_millions(ours)
    tcp = in_millions(pairs.median(rate, "ceilings"))
    row.ceiling = f"{ratio:.2f} (of {tcp} over TCP; {in_millions(unix)} over unix)"
    row.good = ours >= least or ratio >= 0.5
    row.numbers = pairs.numbers(
        ratio=ratio,
        tasks_per_second=ours,
        ceiling_unix=unix,
        redis_commands={"ours": ours_in_redis, "the ceiling": redis},
    )


def no_op_everysec(bench):
    yield from throughput(bench, "1,000,000 no-op tasks, 64 B, one client", "everysec", MILLION)


def no_op_always(bench):
    yield from throughput(bench, "the same with `appendfsync always`", "always", MILLION // 2)


def many_sessions(bench):
    """The ceiling has one session: the ratio says what the others cost."""
    rows = {
        sessions: Row(
            f"1,000,000 tasks over {sessions} sessions at once",
            "≥ 600,000 tasks/s" if sessions == 100 else "–",
        )
        for sessions in (100, 10)
    }
    yield from rows.values()
    count = bench.scaled(MILLION)
    with warm(bench.bin) as cluster:
        for sessions, row in rows.items():
            with row.filled():
                pairs = Pairs(
                    bench.bin,
                    lambda: cluster.load("--sessions", sessions, "-t", count),
                    PAIRS,
                    tasks=count,
                )
                ours = pairs.median(rate)
                row.measured = in_millions(ours)
                bare = in_millions(pairs.median(rate, "ceilings"))
                row.ceiling = f"{pairs.ratio(rate):.2f} (of {bare} in one session)"
                row.good = ours >= 600_000 if sessions == 100 else None
                row.numbers = pairs.numbers(ratio=pairs.ratio(rate), tasks_per_second=ours)


def later_issues(bench):
    yield Row(
        "the same through the `library` shim", "≥ 1,200,000 tasks/s", "not there yet: a later issue"
    )


def round_trip(bench):
    row = Row("round trip of one task, TCP", "p50 ≤ 1.3 ×, p99 ≤ 1.6 × the bare loop")
    yield row
    count = bench.scaled(3000, least=300)
    with warm(bench.bin) as cluster:
        pairs = Pairs(
            bench.bin,
            lambda: cluster.flmping("--latency", "-t", count),
            PAIRS,
            tasks=count,
            latency=True,
        )
    p50, p99 = (lambda report: report["latency_ms"]["p50"]), (
        lambda report: report["latency_ms"]["p99"]
    )
    row.measured = f"p50 {pairs.median(p50):.3f} ms, p99 {pairs.median(p99):.3f} ms"
    row.ceiling = (
        f"p50 {pairs.ratio(p50):.2f} × (of {pairs.median(p50, 'ceilings'):.3f}), "
        f"p99 {pairs.ratio(p99):.2f} × (of {pairs.median(p99, 'ceilings'):.3f})"
    )
    row.good = pairs.ratio(p50) <= 1.3 and pairs.ratio(p99) <= 1.6
    row.numbers = pairs.numbers(p50_ratio=pairs.ratio(p50), p99_ratio=pairs.ratio(p99))


def from_create(report):
    """Milliseconds from the create call to the last result."""
    return (report["setup_seconds"] + report["seconds"]) * 1000


def first_task(bench):
    warm_row = Row("first task of a new session, an idle instance is re-bound", "≤ 10 ms")
    cold_row = Row("first task of a new session, a C++ service must start", "≤ 60 ms")
    yield warm_row
    yield cold_row
    again, cold = [], []
    for _ in range(3):
        with Cluster(bench.bin) as cluster:
            cold.append(cluster.flmping("-t", 1))
            cluster.flmping("-t", 10_000)
            again += [cluster.flmping("-t", 1) for _ in range(10)]
    for row, reports, most in ((warm_row, again, 10), (cold_row, cold, 60)):
        values = [from_create(report) for report in reports]
        worst = max(reports, key=from_create)
        row.measured = (
            f"median {statistics.median(values):.1f} ms, worst {max(values):.1f} of {len(values)}"
        )
        row.good = max(values) <= most
        row.numbers = {
            "ms": [round(value, 2) for value in values],
            "worst": {"setup_ms": worst["setup_seconds"] * 1000, "stages": worst["stages"]},
        }
        if not row.good:
            row.measured += f" ({where_it_went(worst)})"


def where_it_went(report):
    """Of a report with one task: the two longest parts of its time."""
    parts = {"create": report["setup_seconds"] * 1000} | report["stages"]
    longest = sorted(parts, key=parts.get, reverse=True)[:2]
    return ", ".join(f"{name} {parts[name]:.1f}" for name in longest)


def small_behind_large(bench):
    """The large one is queued before anybody runs it and nobody reads it: nothing but the broker
    decides how fast it goes, and what is left of it is known."""
    row = Row(
        "10 tasks in a session opened behind another's million",
        "≤ 100 ms, the other loses ≤ its fair share",
    )
    yield row
    backlog, in_all = bench.scaled(MILLION), bench.scaled(8 * MILLION)
    with Cluster(bench.bin, executors=0) as cluster, cluster.redis() as redis:
        large = cluster.load("--queue", "-t", in_all)["session"]

        def finished():
            return int(redis.ask("HGET", f"flame:{{{large}}}:session", "succeed") or 0)

        cluster.add_executor()
        wait_for(lambda: finished() > bench.scaled(100_000), "the large session runs", 60)
        alone = speed(finished, bench.scaled(MILLION))
        times, left = [], in_all - finished()
        began, stood = time.monotonic(), finished()
        while len(times) < 20:
            took = from_create(cluster.flmping("-t", 10))
            left = in_all - finished()
            if left < backlog:
                break
            times.append(took)
        beside = (finished() - stood) / (time.monotonic() - began)
    if not times:
        raise Failed(f"the large session had {left} tasks left after the first small one")
    share = beside / alone
    row.measured = (
        f"median {statistics.median(times):.0f} ms, worst {max(times):.0f} of {len(times)}; "
        f"the large one {share:.2f} of its rate alone"
    )
    row.good = max(times) <= 100 and share >= 0.5
    row.numbers = {
        "ms": [round(value, 1) for value in times],
        "alone": round(alone),
        "beside": round(beside),
        "left_at_the_last": left,
    }


def speed(finished, tasks):
    """Tasks per second while about so many of them finish."""
    began, stood = time.monotonic(), finished()
    wait_for(lambda: finished() > stood + tasks, f"{tasks} more tasks are done", 60)
    return (finished() - stood) / (time.monotonic() - began)


def cancel_pending(bench):
    """Answered when Redis has it on disk. Timed with the start of the tool that asks."""
    row = Row("cancel of 1,000,000 pending tasks, durable", "≤ 1 s")
    yield row
    count, seconds = bench.scaled(MILLION), []
    with Cluster(bench.bin, executors=0, appendfsync="always") as cluster:
        for _ in range(5):
            session = cluster.load("--queue", "-t", count)["session"]
            began = time.monotonic()
            answer = json.loads(cluster.flmctl("cancel", session, "-o", "json"))
            seconds.append(time.monotonic() - began)
            if answer["pending"] != count:
                raise Failed(f"{answer['pending']} of {count} pending tasks were cancelled")
    row.measured = f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} of 5"
    row.good = max(seconds) <= 1
    row.numbers = {"seconds": [round(value, 3) for value in seconds]}


def payloads(bench):
    sizes = {"1 KiB": (100_000, 1 << 10), "64 KiB": (3_000, 1 << 16), "1 MiB": (200, 1 << 20)}
    sizes = {name: (bench.scaled(count, least=20), size) for name, (count, size) in sizes.items()}
    rows = {
        name: Row(f"{count:,} tasks of {name} in and out", "–")
        for name, (count, _) in sizes.items()
    }
    yield from rows.values()
    with Cluster(bench.bin) as cluster:
        for name, (count, size) in sizes.items():
            with rows[name].filled() as row:
                payload_row(bench, cluster, row, count, size)


def payload_row(bench, cluster, row, count, size):
    words = ("-t", count, "--input-size", size, "--output-size", size)
    cluster.flmping(*words)  # the buffers of this size exist now
    pairs = Pairs(
        bench.bin,
        lambda: cluster.flmping(*words),
        PAIRS,
        tasks=count,
        input_size=size,
        batch=max(1, min(1024, (256 << 10) // (size + 5))),
    )
    each, ratio = pairs.median(rate), pairs.ratio(rate)
    row.measured = f"{per_second(each)}, {each * size / 2**20:,.0f} MiB/s each way"
    row.ceiling = f"{ratio:.2f} (of {per_second(pairs.median(rate, 'ceilings'))})"
    row.numbers = pairs.numbers(ratio=ratio)


def busy_slots(bench):
    slots = 64
    row = Row("64 slots of 10 ms tasks: busy time / (slots × wall)", "≥ 0.97")
    yield row
    with Cluster(bench.bin, slots=slots) as cluster:
        cluster.flmping("-t", 10 * slots, "-d", 10)  # all 64 services run now
        report = cluster.flmping("-t", slots * bench.scaled(800, least=50), "-d", 10)
    whole = slots * report["seconds"]
    # By the services' clocks, which know how late this machine wakes a sleeper.
    busy = report["in_tasks_seconds"] / whole
    each_ms = report["in_tasks_seconds"] / report["tasks"] * 1000
    nominal = report["tasks"] * 0.010 / whole
    row.measured = f"{busy:.3f} (a sleep of 10 ms took {each_ms:.2f}; {nominal:.3f} of 10 ms each)"
    row.good = busy >= 0.97
    row.numbers = {
        "busy": busy,
        "nominal": nominal,
        "seconds": report["seconds"],
        "stages": report["stages"],
        "cpu_us": {"ours": median_cpu([report])},
    }


def idle_executors(bench):
    count, seconds = bench.scaled(10_000, least=100), 10
    row = Row("10,000 connected executors, idle", "≤ 10 % of a core, Redis included")
    yield row
    with Cluster(bench.bin) as cluster, Crowd(bench.bin, cluster, count) as crowd:
        crowd.wait_connected()
        time.sleep(2)  # what connecting left behind (rows in flame:executors) is written now
        pids = {name: pids for name, pids in cluster.pids().items() if name in ("broker", "redis")}
        began = time.monotonic()
        with processes.CpuWatch(lambda: pids) as watch:
            time.sleep(seconds)
        took = time.monotonic() - began
        missing = count - crowd.connected()
    share = {name: 100 * value / took for name, value in watch.seconds.items()}
    whole = sum(share.values())
    row.measured = f"{whole:.1f} % (broker {share['broker']:.1f}, Redis {share['redis']:.1f})"
    row.good = whole <= 10 and missing <= 0
    row.numbers = {"executors": count, "percent": share, "crowd": crowd.said}
    if missing > 0:
        row.measured += f"; {missing} were lost meanwhile"


SHORT = (
    no_op_everysec,
    no_op_always,
    many_sessions,
    later_issues,
    round_trip,
    first_task,
    small_behind_large,
    cancel_pending,
    payloads,
    busy_slots,
    grpc_shim,
    python_rates,
    python_round_trip,
    python_memory,
    idle_executors,
)
