# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The Python client and Python services: with each other, and each with its C++ counterpart. The
package is that of the source tree, run by Debian's interpreter."""

import contextlib
import statistics

from harness.cluster import Cluster
from harness.pairs import median_cpu
from harness.report import ROOT, Row

RUNS = 3
PAIRS = 5
ROUND_TRIP_PAIRS = 11  # short and many: one pair says 1.2, the next 1.8
CLIENT = ROOT / "bench/load/python_client.py"
SERVICE = ROOT / "bench/load/python_service.py"
MILLION = 1_000_000


@contextlib.contextmanager
def cluster_with_python(bench, **flags):
    cluster = Cluster(bench.bin, **flags)
    cluster.env["PYTHONPATH"] = str(ROOT / "client/python/src")
    with cluster:
        manifest = cluster.folder / "python.yaml"
        manifest.write_text(f"metadata: {{name: python}}\nspec:\n  command: {SERVICE}\n")
        cluster.flmctl("register", "-f", manifest)
        yield cluster


def client(cluster, *words):
    return cluster.measured(CLIENT, *words)


def rate_row(row, run, least=None):
    """The median of some runs."""
    reports = [run() for _ in range(RUNS)]
    value = statistics.median(report["tasks_per_second"] for report in reports)
    row.measured = f"{value:,.0f} tasks/s"
    row.good = None if least is None else value >= least
    kept = ("tasks", "seconds", "tasks_per_second")
    row.numbers = {
        "runs": [{name: report[name] for name in kept} for report in reports],
        "cpu_us": {"ours": median_cpu(reports)},
    }


def python_rates(bench):
    count, few = bench.scaled(MILLION), bench.scaled(MILLION // 4)
    rows = {
        ("executor-map", count): ("Python client and service, `Executor.map`", 300_000),
        ("executor-submit", few): ("the same, `Executor.submit` and futures", 100_000),
        ("map", count, "python"): ("Python client and service, 64 B, `Session.map`", None),
        ("submit", few, "python"): ("the same, `Session.run` and futures", None),
        ("map", count, "flmping"): ("Python client, C++ service, `Session.map`", None),
    }
    found = {
        words: (Row(what, f"≥ {least:,} tasks/s" if least else "–"), least)
        for words, (what, least) in rows.items()
    }
    other = Row("C++ client, Python service", "–")
    yield from [row for row, _ in found.values()]
    yield other
    with cluster_with_python(bench) as cluster:
        cluster.flmping("-t", 1000)  # registers its application
        for words, (row, least) in found.items():
            with row.filled():
                rate_row(row, lambda words=words: client(cluster, *words), least)
        with other.filled():
            load = ("--application", "python", "-t")
            cluster.load(*load, bench.scaled(100_000))  # both services run now
            rate_row(other, lambda: cluster.load(*load, count))


def python_round_trip(bench):
    """Both as a program sees it: a thread that submits and sleeps until it has the result."""
    row = Row("round trip of one task, Python client", "p50 ≤ 1.5 × the C++ client's")
    yield row
    count = bench.scaled(1000, least=300)
    with cluster_with_python(bench) as cluster:
        cluster.flmping("-t", 1000)
        pairs = [
            (
                client(cluster, "latency", count, "flmping"),
                cluster.measured(cluster.bin / "flame-bench-client", count, "flmping"),
            )
            for _ in range(ROUND_TRIP_PAIRS)
        ]
    p50s = [[report["latency_ms"]["p50"] for report in pair] for pair in pairs]
    ratio = statistics.median(ours / theirs for ours, theirs in p50s)
    ours, theirs = (statistics.median(values) for values in zip(*p50s))
    row.measured = f"p50 {ours:.3f} ms"
    row.ceiling = f"{ratio:.2f} × (of {theirs:.3f} of the C++ client)"
    row.good = ratio <= 1.5
    row.numbers = {
        "p50_ms": p50s,
        "cpu_us": {
            "Python": median_cpu([python for python, _ in pairs]),
            "C++": median_cpu([plain for _, plain in pairs]),
        },
    }


def python_memory(bench):
    count = bench.scaled(MILLION)
    row = Row(f"{count:,} outstanding futures of the Python client", "≤ 1 GB")
    yield row
    with cluster_with_python(bench, executors=0) as cluster:
        report = client(cluster, "outstanding", count, "python")
    row.measured = f"{report['most_mib']:,.0f} MiB at most, {report['after_mib']:,.0f} then"
    row.good = report["most_mib"] <= 1e9 / 2**20
    row.numbers = {name: value for name, value in report.items() if name != "cpu"}
