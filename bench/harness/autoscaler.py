# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The autoscaler of a local cluster: how soon it decides about a new backlog, and what it costs
while nothing happens."""

import json
import statistics
import time

from harness import processes
from harness.cluster import Cluster, Failed, wait_for
from harness.report import Row

BACKLOGS = 10
IDLE_SECONDS = 30


def autoscaler(bench):
    reaction = Row("a new backlog until the autoscaler's decision", "< 1 s")
    idle = Row("an idle autoscaler: of a core; memory", "< 1 %; < 30 MB")
    yield reaction
    yield idle
    flags = ["--autoscale", "--max-executors", BACKLOGS]
    with Cluster(bench.bin, slots=1, executors=0, more=flags) as cluster:
        wait_for(lambda: told(cluster), "the autoscaler looks")
        idle_row(cluster, idle)
        reaction_row(cluster, reaction)


def told(cluster, *words):
    """What flmctl scale says; nothing where nothing was written yet."""
    try:
        return json.loads(cluster.flmctl("scale", *words, "-o", "json"))
    except Failed:
        return []


def idle_row(cluster, row):
    pid = cluster.pid("autoscaler")
    before, begun = processes.cpu_seconds(pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    share = (processes.cpu_seconds(pid) - before) / (time.monotonic() - begun)
    kinds = processes.memory_bytes(pid)
    memory = kinds["RssAnon"] + kinds["RssFile"]
    row.measured = f"{share * 100:.2f} %; {memory / 1e6:.1f} MB"
    row.good = share < 0.01 and memory < 30e6
    row.numbers = {"share": share, "bytes": memory}


def reaction_row(cluster, row):
    """From before the tool that submits is started, to the time that the decision itself says. Each
    for an application of its own, so that it begins with no executor."""
    seconds = []
    for number in range(BACKLOGS):
        name = f"backlog-{number}"
        manifest = cluster.folder / f"{name}.yaml"
        manifest.write_text(f"metadata: {{name: {name}}}\nspec: {{shim: shell, command: cat}}\n")
        cluster.flmctl("register", "-f", manifest)
        session = cluster.flmctl("create", "-a", name).strip()
        wait_for(lambda name=name: knows(cluster, name), "the autoscaler knows it")
        begun = time.time()
        cluster.flmctl("submit", session, "x")
        grown = wait_for(lambda name=name: decided(cluster, name), "it decides")
        seconds.append(grown / 1000 - begun)
    row.measured = f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f}"
    row.good = max(seconds) < 1
    row.numbers = {"seconds": seconds}


def knows(cluster, name):
    return name in [row["application"] for row in told(cluster)]


def decided(cluster, name):
    """When it asked for an executor, in ms since 1970; None: not yet."""
    decisions = told(cluster, "explain", name)
    return next((decision["at"] for decision in decisions if decision["add"] > 0), None)
