#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Days of made-up demand against the autoscaler's policy, the formulas of KEDA and of the pod
autoscaler, and an oracle: means over seeds, as a table for bench/results. Nothing is timed: it is
the same on every machine.

    bench/scaling.py [--seeds N] [--hours N] [flmctl scale simulate's own options]
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLMCTL = ROOT / "build/release/bin/flmctl"
KINDS = ["bursty", "periodic", "long-tailed", "adversarial", "idle"]
SHOWN = ["wait_mean_seconds", "wait_p99_seconds", "executor_seconds", "starts", "killed", "flaps"]


def simulate(kind, seed, hours, more):
    words = [FLMCTL, "scale", "simulate", "--trace", f"{kind}:{seed}", "--hours", str(hours)]
    done = subprocess.run([*words, *more, "-o", "json"], capture_output=True, text=True, check=True)
    return {row["policy"]: row for row in json.loads(done.stdout)}


def verdict(row, oracle, kind, idle_after):
    """Waiting and executor-seconds against what docs/autoscaling.md promises."""
    factor = 2.5 if kind == "adversarial" else 1.25
    waiting = row["wait_mean_seconds"] <= factor * oracle["wait_mean_seconds"] + 1
    paid = idle_after * oracle["starts"]
    seconds = row["executor_seconds"] <= factor * oracle["executor_seconds"] + paid
    return f"{'ok' if waiting else 'MISSED'}, {'ok' if seconds else 'MISSED'}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--idle-after", type=int, default=60, help="seconds")
    options, more = parser.parse_known_args()
    more += ["--idle-after", f"{options.idle_after}s", "--max", "1000"]
    print("| demand | policy | wait, mean | p99 | executor-s | starts | killed | flaps | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        # A thousand executors at work all day: an eighth of it shows the same.
        hours = max(1, options.hours // 8) if kind == "adversarial" else options.hours
        runs = [simulate(kind, seed, hours, more) for seed in range(1, options.seeds + 1)]
        means = {
            policy: {key: sum(run[policy][key] for run in runs) / len(runs) for key in SHOWN}
            for policy in runs[0]
        }
        oracle = means["oracle"]
        for policy, row in means.items():
            judged = verdict(row, oracle, kind, options.idle_after) if policy == "flame" else ""
            cells = [f"{row['wait_mean_seconds']:.2f} s", f"{row['wait_p99_seconds']:.1f} s"]
            cells += [f"{row[key]:,.0f}" for key in SHOWN[2:]]
            print(f"| {kind} | {policy} | {' | '.join(cells)} | {judged} |", flush=True)


if __name__ == "__main__":
    main()
