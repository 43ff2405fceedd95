#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Kills client, service, executor, broker and Redis, alone and together, at random moments of a run
that never stops submitting, and compares afterwards what was acknowledged, received, recorded and
run, task by task.

    tests/kill/kill.py --kills 20 --seed 7 --fsync everysec|slow|always

`slow` makes Redis' fsync take 1.5 s: a killed Redis then forgets writes that it has answered."""

import argparse
import json
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from check import check  # noqa: E402
from world import Failure, World, lives  # noqa: E402

# Who is killed, in this order. A pair dies within a moment; of `x x` the second hits while it is
# coming back.
DECK = [
    "client",
    "service",
    "executor",
    "broker",
    "redis",
    "broker redis",
    "executor broker",
    "client broker",
    "redis broker",
    "redis executor",
    "service service service",
    "broker broker",
    "redis redis",
    "client redis broker",
    "executor executor executor",
    "executor service client",
]
NO_PROGRESS = 90
MORE_KILLS = 20


def deck_of(rng, kills):
    """Every kind comes as often as every other, in a random order."""
    deck = []
    while len(deck) < kills:
        deck += rng.sample(DECK, len(DECK))
    return deck[:kills]


def pick(world, word, taken):
    if word != "executor":
        return word
    left = [name for name in world.executors if name not in taken] or world.executors
    return world.rng.choice(left)


def strike(world, words, say):
    """One kill of the count: everybody in `words`. Returns (name, pid) of those hit."""
    before = world.wait(
        world.busy, f"tasks wait and run again before the kill of {words}", NO_PROGRESS
    )
    world.sleep(world.rng.uniform(0, 1.2))
    pending, running = world.counters()
    if pending == 0 or running == 0:  # it just ended that way: look again
        pending, running = world.wait(world.busy, "tasks wait and run", NO_PROGRESS)
    hit = []
    for word in words:
        if hit:
            world.sleep(world.rng.choice([0, 0, 0.05, world.rng.uniform(0, 1.5)]))
        name = pick(world, word, [name for name, _ in hit])
        # The second of a pair may be on its way back from the first kill.
        pid = world.wait(lambda name=name: world.kill(name), f"{name} lives, to be killed")
        if lives(pid) and name != "service":
            raise Failure(f"{name} {pid} lives after SIGKILL")
        hit.append((name, pid))
    names = ", ".join(f"{name} ({pid})" for name, pid in hit)
    say(f"killed {names}; pending {pending}, running {running}, before {before}")
    return hit, pending, running


def finish(world):
    """The client's exit, as long as something moves."""
    world.until.touch()
    client = world.processes["client"]
    size, since = 0, time.monotonic()
    while True:
        world.tend()
        if client.child.poll() == 0:
            return
        now = world.journal.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > NO_PROGRESS:
            view = world.flmctl("view", "session", "last", "-o", "yaml")
            raise Failure(
                f"nothing moves for {NO_PROGRESS} s\n{view.stdout}{view.stderr}\n{world.tails()}"
            )
        time.sleep(0.05)


def forgotten(world):
    """Per replay: how many answered batches Redis had forgotten (as the broker's log has it)."""
    log = world.processes["broker"].log.read_text(errors="replace")
    return [int(n) for n in re.findall(r"replaying from the ring.*\banswered=(\d+)", log)]


def run(kills, seed, fsync="everysec", tasks=100_000, executors=3, slots=16, keep=False, say=print):
    """Raises Failure; returns the numbers of the run."""
    started = time.monotonic()
    world = World(seed, fsync, executors, slots, tasks)
    say(f"seed {seed}, {kills} kills, fsync {fsync}, in {world.folder}")
    failed = True
    try:
        world.start()
        hits = []
        for words in deck_of(world.rng, kills):
            hit, pending, running = strike(world, words.split(), say)
            if pending <= 0 or running <= 0:
                raise Failure(f"{hit}: nothing was pending or running")
            hits.append(hit)
        # Random moments may all miss an unsynced write: go on until one was forgotten.
        while fsync == "slow" and len(hits) < kills + MORE_KILLS:
            # Serves again, so a replay is in its log.
            world.wait(world.busy, "tasks wait and run again", NO_PROGRESS)
            if any(forgotten(world)):
                break
            hits.append(strike(world, ["redis"], say)[0])
        finish(world)
        numbers = {"kills": len(hits), "processes_killed": sum(map(len, hits))} | check(world)
        replays = forgotten(world)
        numbers |= {
            "replays": len(replays),
            "replays_of_answered": sum(1 for n in replays if n > 0),
            "answered_batches_replayed": sum(replays),
            "seconds": round(time.monotonic() - started, 1),
            "seed": seed,
            "fsync": fsync,
        }
        if numbers["kills"] < kills or numbers["tasks"] < tasks:
            raise Failure(f"too little happened: {numbers}")
        if fsync == "slow" and numbers["replays_of_answered"] == 0:
            raise Failure(f"no kill made Redis forget an answered write: {numbers}")
        failed = False
        return numbers
    except Failure as failure:
        kept = world.folder
        raise Failure(f"{failure}\nseed {seed}; what is left lies in {kept}") from failure
    finally:
        world.stop(keep or failed)
        left = world.leftovers()
        if left and not failed:
            time.sleep(0.5)  # the guard of a killed executor needs a moment
            left = world.leftovers()
            if left:
                raise Failure(f"processes are left behind: {left}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--fsync", choices=["everysec", "slow", "always"], default="everysec")
    parser.add_argument("--tasks", type=int, default=100_000, help="at least so many")
    parser.add_argument("--executors", type=int, default=3)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    options = parser.parse_args()
    begin = time.monotonic()
    try:
        numbers = run(
            options.kills,
            options.seed,
            options.fsync,
            options.tasks,
            options.executors,
            options.slots,
            options.keep,
            lambda text: print(f"{time.monotonic() - begin:7.2f} {text}", flush=True),
        )
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
