# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The measurements that fit in ten minutes, one function per row or group of rows."""

import json
import statistics
import subprocess
import time

from harness import processes
from harness.ceiling import Ceiling
from harness.cluster import Cluster, Failed, wait_for
from harness.pairs import Pairs, median_cpu
from harness.report import Row

MILLION = 1_000_000
PAIRS = 5


def rate(report):
    return report["tasks_per_second"]


def in_millions(value):
    return f"{value / 1e6:.2f} M/s"


def per_second(value):
    return in_millions(value) if value >= 100_000 else f"{value:,.0f} /s"


def warm(bin_folder, **flags):
    """A cluster whose services run already, as a ceiling's do."""
    cluster = Cluster(bin_folder, **flags)
    cluster.__enter__()
    try:
        cluster.flmping("-t", 100_000)
    except BaseException:
        cluster.__exit__()
        raise
    return cluster


def throughput(bench, what, appendfsync, least):
    row = Row(what, f"≥ {least:,} tasks/s, or ≥ 0.5 of the bare loop")
    yield row
    with_tcp = {"tasks": MILLION, "appendfsync": appendfsync}
    cluster = warm(bench.bin, appendfsync=appendfsync)
    try:
        pairs = Pairs(bench.bin, lambda: cluster.flmping("-t", MILLION), PAIRS, **with_tcp)
    finally:
        cluster.__exit__()
    with Ceiling(bench.bin, appendfsync=appendfsync, tcp=False) as bare:
        bare.run(2000)
        unix = rate(bare.run(MILLION))
        redis = bare.redis_costs(MILLION + 2000)
    ours, ratio = pairs.median(rate), pairs.ratio(rate)
    row.measured = in_millions(ours)
    tcp = in_millions(pairs.median(rate, "ceilings"))
    row.ceiling = f"{ratio:.2f} (of {tcp} over TCP; {in_millions(unix)} over unix)"
    row.good = ours >= least or ratio >= 0.5
    row.numbers = pairs.numbers(
        ratio=ratio, tasks_per_second=ours, ceiling_unix=unix, redis_us_per_task=redis
    )


def no_op_everysec(bench):
    yield from throughput(bench, "1,000,000 no-op tasks, 64 B, one client", "everysec", MILLION)


def no_op_always(bench):
    yield from throughput(bench, "the same with `appendfsync always`", "always", MILLION // 2)


def many_sessions(bench):
    rows = {
        count: Row(
            f"1,000,000 tasks over {count} sessions at once",
            "≥ 600,000 tasks/s" if count == 100 else "–",
        )
        for count in (100, 10)
    }
    yield from rows.values()
    cluster = warm(bench.bin)
    try:
        for count, row in rows.items():
            reports = [cluster.load("--sessions", count, "-t", MILLION) for _ in range(3)]
            ours = statistics.median(map(rate, reports))
            row.measured = in_millions(ours)
            row.good = ours >= 600_000 if count == 100 else None
            row.numbers = {
                "runs": [rate(report) for report in reports],
                "cpu_us": {"ours": median_cpu(reports)},
            }
    finally:
        cluster.__exit__()


def later_issues(bench):
    yield Row(
        "the same through the `library` shim", "≥ 1,200,000 tasks/s", "not there yet: a later issue"
    )
    yield Row(
        "Python client and service, `map`", "≥ 300,000 tasks/s", "not there yet: a later issue"
    )


def round_trip(bench):
    row = Row("round trip of one task, TCP", "p50 ≤ 1.3 ×, p99 ≤ 1.6 × the bare loop")
    yield row
    count = 3000
    cluster = warm(bench.bin)
    try:
        pairs = Pairs(
            bench.bin,
            lambda: cluster.flmping("--latency", "-t", count),
            PAIRS,
            tasks=count,
            latency=True,
        )
    finally:
        cluster.__exit__()
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
            cold.append(from_create(cluster.flmping("-t", 1)))
            cluster.flmping("-t", 10_000)
            again += [from_create(cluster.flmping("-t", 1)) for _ in range(10)]
    for row, values, most in ((warm_row, again, 10), (cold_row, cold, 60)):
        row.measured = (
            f"median {statistics.median(values):.1f} ms, worst {max(values):.1f} of {len(values)}"
        )
        row.good = max(values) <= most
        row.numbers = {"ms": [round(value, 2) for value in values]}


def small_behind_large(bench):
    row = Row(
        "10 tasks in a session opened behind another's million",
        "≤ 100 ms, the other loses ≤ its fair share",
    )
    yield row
    cluster = warm(bench.bin)
    try:
        alone = rate(cluster.flmping("-t", 3 * MILLION))
        large = subprocess.Popen(
            [cluster.bin / "flmping", "-o", "json", "-t", str(6 * MILLION)],
            env=cluster.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            before = cluster.metric("flame_tasks_submitted_total")
            wait_for(
                lambda: cluster.metric("flame_tasks_submitted_total") > before + 100_000,
                "the large session runs",
            )
            times = []
            while large.poll() is None and len(times) < 20:
                times.append(from_create(cluster.flmping("-t", 10)))
            if large.poll() is not None:
                times.pop()  # the large one was over meanwhile
            out = large.communicate(timeout=120)[0]
        finally:
            if large.poll() is None:
                large.kill()
                large.wait()
    finally:
        cluster.__exit__()
    if not times:
        raise Failed("the large session was over before a small one")
    beside = json.loads(out)["tasks_per_second"]
    row.measured = (
        f"median {statistics.median(times):.0f} ms, worst {max(times):.0f} of {len(times)}; "
        f"the large one {beside / alone:.2f} of its rate alone"
    )
    row.good = max(times) <= 100 and beside >= alone / 2
    row.numbers = {"ms": [round(value, 1) for value in times], "alone": alone, "beside": beside}


def payloads(bench):
    sizes = {"1 KiB": (100_000, 1 << 10), "64 KiB": (3_000, 1 << 16), "1 MiB": (200, 1 << 20)}
    rows = {
        name: Row(f"{count:,} tasks of {name} in and out", "–")
        for name, (count, _) in sizes.items()
    }
    yield from rows.values()
    with Cluster(bench.bin) as cluster:
        for name, (count, size) in sizes.items():
            words = ("-t", count, "--input-size", size, "--output-size", size)
            cluster.flmping(*words)  # the buffers of this size exist now
            pairs = Pairs(
                bench.bin,
                lambda: cluster.flmping(*words),
                3,
                tasks=count,
                input_size=size,
                batch=max(1, min(1024, (256 << 10) // (size + 5))),
            )
            each = pairs.median(rate)
            rows[name].measured = f"{per_second(each)}, {each * size / 2**20:,.0f} MiB/s each way"
            rows[name].ceiling = (
                f"{pairs.ratio(rate):.2f} (of {per_second(pairs.median(rate, 'ceilings'))})"
            )
            rows[name].numbers = pairs.numbers(ratio=pairs.ratio(rate))


def busy_slots(bench):
    row = Row("64 slots of 10 ms tasks: busy time / (slots × wall)", "≥ 0.97")
    yield row
    with Cluster(bench.bin, slots=64) as cluster:
        cluster.flmping("-t", 640, "-d", 10)  # all 64 services run now
        report = cluster.flmping("-t", 64 * 400, "-d", 10)
    busy = report["tasks"] * 0.010 / (64 * report["seconds"])
    row.measured = f"{busy:.3f}"
    row.good = busy >= 0.97
    row.numbers = {
        "busy": busy,
        "seconds": report["seconds"],
        "cpu_us": {"ours": median_cpu([report])},
    }


def idle_executors(bench):
    count, seconds = 10_000, 10
    row = Row(f"{count:,} connected executors, idle", "≤ 10 % of a core, Redis included")
    yield row
    with Cluster(bench.bin) as cluster:
        host, port = cluster.file["executors_endpoint"].removeprefix("tcp://").split(":")
        crowd = subprocess.Popen(
            [bench.bin / "flame-bench-idle", host, port, str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:

            def connected():
                if crowd.poll() is not None:
                    raise Failed(f"the crowd ended: {crowd.stderr.read()[-200:]}")
                return cluster.metric('flame_executors{state="connected"}') > count

            wait_for(connected, f"{count} executors are connected", 60, 0.1)
            time.sleep(2)  # what connecting left behind (rows in flame:executors) is written now
            pids = {
                name: pids for name, pids in cluster.pids().items() if name in ("broker", "redis")
            }
            began = time.monotonic()
            with processes.CpuWatch(lambda: pids) as watch:
                time.sleep(seconds)
            took = time.monotonic() - began
            left = cluster.metric('flame_executors{state="connected"}')
        finally:
            crowd.terminate()
            said = crowd.communicate(timeout=30)[0]
    share = {name: 100 * value / took for name, value in watch.seconds.items()}
    row.measured = (
        f"{sum(share.values()):.1f} % (broker {share['broker']:.1f}, Redis {share['redis']:.1f})"
    )
    row.good = sum(share.values()) <= 10
    row.numbers = {"percent": share, "crowd": said.splitlines()[-1] if said else ""}
    if left <= count:
        row.good, row.measured = (
            False,
            row.measured + f"; {count + 1 - left:.0f} were lost meanwhile",
        )


SHORT = (
    no_op_everysec,
    no_op_always,
    many_sessions,
    later_issues,
    round_trip,
    first_task,
    small_behind_large,
    payloads,
    busy_slots,
    idle_executors,
)
