#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A parameter sweep with a progress bar: which step size and momentum bring gradient descent down
Rosenbrock's valley best? A task for each pair.

flmctl up --detach
examples/python/sweep.py [pairs]
"""

import itertools
import math
import sys

import flamepy


def descend(step, momentum, steps=500):
    """How high above the valley's lowest point it ends."""
    x, y, vx, vy = -1.5, 2.0, 0.0, 0.0
    for _ in range(steps):
        vx = momentum * vx - step * (-2 * (1 - x) - 400 * x * (y - x * x))
        vy = momentum * vy - step * 200 * (y - x * x)
        x, y = x + vx, y + vy
        if abs(x) + abs(y) > 1e6:
            return math.inf  # it flew off
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def main(pairs=1000):
    side = math.isqrt(pairs)
    steps = [10 ** (-5 + 3 * i / side) for i in range(side)]
    momenta = [i / side for i in range(side)]
    grid = list(itertools.product(steps, momenta))
    with flamepy.Executor() as executor:
        heights = list(executor.map(descend, *zip(*grid), progress="sweep"))
    for height, (step, momentum) in sorted(zip(heights, grid))[:3]:
        print(f"step {step:.6f}, momentum {momentum:.3f}: ends {height:.6f} high")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
