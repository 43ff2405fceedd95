#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Measures the budgets; prints and keeps the table *budget | measured | of the ceiling*.

    bench/run.py                 what fits in ten minutes
    bench/run.py --long          the rest
    bench/run.py --only WORD     the measurements whose function name contains the word, not kept
    bench/run.py --scale 0.1     a tenth of the tasks: whether it runs, not how fast; not kept

FLAME_BIN: the folder of the executables (default build/release/bin)."""

import argparse
import dataclasses
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import report  # noqa: E402  the folder must be on the path first
from harness.budgets import SHORT  # noqa: E402
from harness.budgets_long import LONG  # noqa: E402


@dataclasses.dataclass
class Bench:
    bin: pathlib.Path
    scale: float = 1.0

    def scaled(self, count, least=1000):
        return count if self.scale == 1 else max(least, int(count * self.scale))


def measure(function, bench):
    """Its rows. A part that fails says why in those of its rows that have no result yet."""
    rows = []
    try:
        for row in function(bench):
            rows.append(row)
    except Exception as error:  # whatever it is, the other rows still count
        for row in rows:
            if not row.measured:
                row.fail(error)
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="what takes minutes each")
    parser.add_argument(
        "--only", metavar="WORD", help="only functions with this in their name; nothing is kept"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="F", help="so much of every number; not kept"
    )
    options = parser.parse_args()
    bench = Bench(
        pathlib.Path(os.environ.get("FLAME_BIN", HERE.parent / "build/release/bin")).resolve(),
        options.scale,
    )
    if not (bench.bin / "flame-ceiling").exists():
        sys.exit(f"no flame-ceiling in {bench.bin}; build first: make build")
    about = report.machine() | {"binaries": report.binaries(bench.bin)}
    began = time.monotonic()
    rows = []
    functions = SHORT + LONG if options.only else LONG if options.long else SHORT
    for function in functions:
        if options.only and options.only not in function.__name__:
            continue
        print(f"{function.__name__} ...", file=sys.stderr, flush=True)
        for row in measure(function, bench):
            rows.append(row)
            print(
                f"  {row.what}: {row.measured} {row.ceiling} {row.verdict}",
                file=sys.stderr,
                flush=True,
            )
    took = time.monotonic() - began
    print(report.table(rows))
    print()
    print(report.cpu_table(rows))
    print()
    print(report.redis_table(rows))
    if not options.only and options.scale == 1:
        command = "make bench-long" if options.long else "make bench"
        path = report.store(HERE / "results", rows, command, took, about)
        print(f"\n{took:.0f} s; kept in {path.relative_to(HERE.parent)}")
    # A missed budget is a result; a part that did not run is an error.
    return 1 if any(row.measured.startswith("failed: ") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
