#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Pi by throwing darts, many tasks of as many darts each; with numpy where it is installed.

flmctl up --detach
examples/python/pi.py [tasks] [darts]
"""

import importlib.util
import random
import sys
import time

import flamepy


def hits(seed, darts):
    rng = random.Random(seed).random
    return sum(rng() ** 2 + rng() ** 2 < 1 for _ in range(darts))


def hits_with_numpy(seed, darts):
    import numpy  # where the task runs

    x, y = numpy.random.default_rng(seed).random((2, darts))
    return int(numpy.count_nonzero(x * x + y * y < 1))


def main(tasks=1000, darts=10_000):
    found = importlib.util.find_spec("numpy")
    began = time.monotonic()
    with flamepy.Executor() as executor:
        function = hits_with_numpy if found else hits
        inside = sum(executor.map(function, range(tasks), [darts] * tasks))
    seconds = time.monotonic() - began
    print(f"pi is about {4 * inside / (tasks * darts):.4f}")
    print(f"{tasks:,} tasks in {seconds:.1f} s, {'with' if found else 'without'} numpy")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
