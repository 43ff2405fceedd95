# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The grpc shim against a bare gRPC client of the same server, in turn, at the same number of calls
in flight."""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile

from harness.cluster import Cluster, wait_for
from harness.report import ROOT, Row

PAIRS = 5
SERVICE = ROOT / "bench/load/grpc_service.py"


class Bare:
    """The server alone, on a socket of its own."""

    def __init__(self, bin_folder, python_path):
        self.bin = bin_folder
        self.environment = os.environ | {"PYTHONPATH": str(python_path)}

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.socket = pathlib.Path(self.folder.name) / "sock"
        environment = self.environment | {"FLAME_INSTANCE_ENDPOINT": str(self.socket)}
        self.server = subprocess.Popen([SERVICE], env=environment)
        wait_for(self.socket.exists, "the gRPC server listens")
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()
        self.folder.cleanup()

    def run(self, calls, in_flight):
        words = [self.bin / "flame-bench-grpc", self.socket, calls, in_flight]
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, check=True, timeout=120
        )
        return json.loads(done.stdout)["tasks_per_second"]


def register(cluster, folder, python_path, in_flight):
    manifest = pathlib.Path(folder) / f"grpc-{in_flight}.yaml"
    manifest.write_text(
        f"metadata: {{name: grpc-{in_flight}}}\nspec:\n  shim: grpc\n  reuse: always\n"
        f"  command: {SERVICE}\n  environments: {{PYTHONPATH: {python_path}}}\n"
        f"  concurrency: {in_flight}\n"
    )
    cluster.flmctl("register", "-f", manifest)


def grpc_shim(bench):
    rows = {n: Row(f"gRPC shim, Python service, {n} in flight", "≥ 0.7 of bare") for n in (1, 8)}
    yield from rows.values()
    if not (pathlib.Path(bench.bin) / "flame-bench-grpc").exists():
        for row in rows.values():
            row.measured = "left out: built with -DFLAME_GRPC=OFF"
        return
    python_path = pathlib.Path(bench.bin).parent / "generated/python"
    calls = bench.scaled(4000, least=200)
    with Cluster(bench.bin, slots=1) as cluster, Bare(bench.bin, python_path) as bare:
        for in_flight, row in rows.items():
            with row.filled(), tempfile.TemporaryDirectory() as folder:
                register(cluster, folder, python_path, in_flight)
                load = ("--application", f"grpc-{in_flight}", "-t")
                cluster.load(*load, 200)  # its process runs, and its tasks are measured
                pairs = [
                    (
                        bare.run(calls, in_flight),
                        cluster.load(*load, calls)["tasks_per_second"],
                    )
                    for _ in range(PAIRS)
                ]
                ratio = statistics.median(ours / alone for alone, ours in pairs)
                alone, ours = (statistics.median(rates) for rates in zip(*pairs))
                row.measured = f"{ours:,.0f} tasks/s"
                row.ceiling = f"{ratio:.2f} (of {alone:,.0f})"
                row.good = ratio >= 0.7
                row.numbers = {"ratio": ratio, "pairs": pairs}
