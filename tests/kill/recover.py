#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Kills broker or Redis between the steps of the broker's recovery, and compares afterwards as
kill.py does. Redis' fsync is slow: it dies with answered batches that its file lacks, so there is
something to give back; and while the broker is about to do so, one of the two dies again.

    tests/kill/recover.py --kills 14 --seed 7"""

import argparse
import pathlib
import sys
import time
from itertools import groupby, product

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from check import check  # noqa: E402
from gate import MOMENTS, STEPS, Gate  # noqa: E402
from kill import finish, tell  # noqa: E402
from strike import NO_PROGRESS, replays, strike_one  # noqa: E402
from world import Failure, World, lives  # noqa: E402

AT_A_START = {"force", "back", "read"}
IN_A_ROW = 3  # kills in one recovery, which begins anew each time
MISSES_MAX = 8  # a step that a recovery does not need does not come


def targets_of(rng, kills):
    """Each step with each victim, in a random order and at a random moment, over and over."""
    targets = []
    while len(targets) < kills:
        pairs = list(product(STEPS, ("broker", "redis")))
        targets += [(step, victim, rng.choice(MOMENTS)) for step, victim in rng.sample(pairs, 14)]
    return targets[:kills]


def break_off(world, both, say):
    """Redis dies with what it answered and its file lacks, tasks pending and running; the broker
    too, if it shall find that at its start."""
    world.wait(world.busy, "tasks wait and run again", NO_PROGRESS)
    world.sleep(world.rng.uniform(0, 0.5))
    hit = world.wait(lambda: strike_one(world, "redis", True), "Redis can forget", NO_PROGRESS)
    pid = world.kill("broker") if both else None
    say(f"killed {hit}" + (f"; broker ({pid})" if pid else ""))
    return 2 if both else 1


def strike_at(world, gate, target, say):
    """False: the recovery went past it."""
    step, victim, moment = target
    # Whichever of the batches that are given back.
    gate.arm(step, moment, world.rng.randrange(5) if step == "replay" else 0)
    hit = world.wait(
        lambda: "hit" if gate.hit.is_set() else "missed" if world.busy() else None,
        f"the broker comes to `{step}`, or recovers without",
        NO_PROGRESS,
    )
    if hit == "hit":
        pid = world.kill(victim)
        if not pid or lives(pid):
            raise Failure(f"{victim} could not be killed at `{step}`")
        groups = [f"{len(list(same))} x {name}" for name, same in groupby(gate.seen[:-1])]
        before = ", ".join(groups) or "nothing"
        say(f"killed {victim} ({pid}) with the {moment} of `{step}` held, after {before}")
    gate.disarm()
    return hit == "hit"


def strike_all(world, gate, targets, say):
    """Kills at all of them, and before that of Redis and broker in the middle of their work."""
    left, misses, killed = list(targets), 0, 0
    while left:
        both = left[0][0] in AT_A_START or world.rng.random() < 0.5
        killed += break_off(world, both, say)
        for _ in range(min(IN_A_ROW, len(left))):
            if not strike_at(world, gate, left[0], say):
                misses += 1
                left.append(left.pop(0))
                break
            killed += 1
            left.pop(0)
        if misses > MISSES_MAX:
            raise Failure(f"these steps never come: {left}")
    return killed


def run(kills, seed, keep=False, say=print, **more):
    """Raises Failure; returns the numbers of the run."""
    started = time.monotonic()
    world = World(seed, "slow", **more)
    say(f"seed {seed}, {kills} kills between the steps of recovery, in {world.folder}")
    gate = Gate(str(world.folder / "gate.sock"), world.socket)
    world.processes["broker"].env["FLAME_REDIS_URL"] = f"unix://{gate.path}"
    failed = True
    try:
        world.start()
        killed = strike_all(world, gate, targets_of(world.rng, kills), say)
        finish(world)
        numbers = {"kills_in_recovery": kills, "processes_killed": killed} | check(world)
        answered = sum(answered for _, _, answered in replays(world))
        numbers |= {"answered_batches_replayed": answered, "seed": seed}
        numbers["seconds"] = round(time.monotonic() - started, 1)
        if answered == 0:
            raise Failure(f"no broker had anything to give back: {numbers}")
        failed = False
        return numbers
    except Failure as failure:
        raise Failure(f"{failure}\nseed {seed}; what is left lies in {world.folder}") from failure
    finally:
        gate.close()
        world.stop(keep or failed)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=14)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--tasks", type=int, default=20_000, help="at least so many")
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    options = parser.parse_args()
    return tell(
        lambda say: run(options.kills, options.seed, options.keep, say, tasks=options.tasks)
    )


if __name__ == "__main__":
    sys.exit(main())
