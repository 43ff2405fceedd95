#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Pi by throwing darts, many tasks of as many darts each.

flmctl up --detach
examples/python/pi.py [tasks] [darts]
"""

import random
import sys
import time

import flamepy


def hits(seed, darts):
    rng = random.Random(seed).random
    return sum(rng() ** 2 + rng() ** 2 < 1 for _ in range(darts))


def main(tasks=1000, darts=10_000):
    began = time.monotonic()
    with flamepy.Executor() as executor:
        inside = sum(executor.map(hits, range(tasks), [darts] * tasks))
    seconds = time.monotonic() - began
    print(f"pi is about {4 * inside / (tasks * darts):.4f}")
    print(f"{tasks:,} tasks in {seconds:.1f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
