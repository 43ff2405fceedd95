# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Ours and the ceiling in turn: the machine's moods hit both, so a ratio is that of a pair."""

import statistics

from harness.ceiling import Ceiling


def cpu_us(report):
    """CPU microseconds per task and process."""
    return {name: seconds * 1e6 / report["tasks"] for name, seconds in report["cpu"].items()}


def median_cpu(reports):
    each = [cpu_us(report) for report in reports]
    return {name: round(statistics.median(cpu[name] for cpu in each), 3) for name in each[0]}


class Pairs:
    """`ours()` runs in a cluster that stays; the ceiling starts anew for every run."""

    def __init__(self, bin_folder, ours, count=5, **ceiling):
        self.ours, self.ceilings = [], []
        run_words = {
            name: ceiling.pop(name)
            for name in ("tasks", "batch", "latency", "input_size")
            if name in ceiling
        }
        for number in range(count):
            first_ours = number % 2 == 0
            if first_ours:
                self.ours.append(ours())
            with Ceiling(bin_folder, **ceiling) as bare:
                bare.run(2000)  # opens the connections, touches the memory
                self.ceilings.append(bare.run(**run_words))
            if not first_ours:
                self.ours.append(ours())

    def median(self, value, of="ours"):
        return statistics.median(value(report) for report in getattr(self, of))

    def ratio(self, value):
        return statistics.median(value(a) / value(b) for a, b in zip(self.ours, self.ceilings))

    def numbers(self, **more):
        return {
            "ours": [_plain(report) for report in self.ours],
            "ceiling": [_plain(r) for r in self.ceilings],
            "cpu_us": {"ours": median_cpu(self.ours), "the ceiling": median_cpu(self.ceilings)},
        } | more


def _plain(report):
    kept = ("tasks", "seconds", "tasks_per_second", "latency_ms", "stages")
    return {name: report[name] for name in kept if name in report}
