#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Kills client, service, executor, broker and Redis, alone and together, at random moments of a run
that never stops submitting, and compares afterwards what was acknowledged, received, recorded and
run, task by task.

    tests/kill/kill.py --kills 20 --seed 7 --fsync everysec|slow|always

`slow` makes Redis' fsync take 1.5 s: where Redis is the first to die, it dies when its file lacks a
batch that it has answered, and the broker must say that it gives that batch back."""

import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from check import check  # noqa: E402
from strike import NO_PROGRESS, replays, strike  # noqa: E402
from world import Failure, World  # noqa: E402

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


def deck_of(rng, kills, forget):
    """Every kind comes as often as every other, in a random order. With `forget` Redis is the first
    of one at least: it loses what it answered."""
    deck = []
    while len(deck) < kills:
        deck += rng.sample(DECK, len(DECK))
    deck = deck[:kills]
    if forget and not any(words.startswith("redis") for words in deck):
        deck.insert(rng.randrange(len(deck) + 1), "redis")
    return deck


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


def run(kills, seed, fsync="everysec", keep=False, say=print, **more):
    """Raises Failure; returns the numbers of the run. `more`: arguments of World."""
    started = time.monotonic()
    world = World(seed, fsync, **more)
    tasks = more.get("tasks", 0)
    say(f"seed {seed}, {kills} kills, fsync {fsync}, {more} in {world.folder}")
    failed = True
    try:
        if more.get("durability") == "replicated":
            world.start_redis()
            world.add_replica()
        world.start()
        hits = []  # of each kill the victims
        for words in deck_of(world.rng, kills, fsync == "slow"):
            words = words.split()
            forget = fsync == "slow" and words[0] == "redis"
            hits.append(strike(world, words, say, forget))
        finish(world)
        each = [hit for victims in hits for hit in victims]
        numbers = {"kills": len(hits), "processes_killed": len(each)} | check(world)
        numbers |= {
            "proved_forgotten": sum(1 for hit in each if hit.forgets),
            "replays": len(replays(world)),
            "answered_batches_replayed": sum(answered for _, _, answered in replays(world)),
            "seconds": round(time.monotonic() - started, 1),
            "seed": seed,
            "fsync": fsync,
        }
        if numbers["kills"] < kills or numbers["tasks"] < tasks:
            raise Failure(f"too little happened: {numbers}")
        if fsync == "slow" and numbers["proved_forgotten"] == 0:
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


def tell(run):
    """The command line's end: `run(say)` gives the numbers, which are printed, or raises Failure.
    Returns the exit code."""
    begin = time.monotonic()
    try:
        numbers = run(lambda text: print(f"{time.monotonic() - begin:7.2f} {text}", flush=True))
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(numbers))
    return 0


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
    parser.add_argument(
        "--durability", choices=["stored", "synced", "replicated"], default="stored"
    )
    parser.add_argument("--redis-server", default="redis-server", help="another one than Debian's")
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    options = parser.parse_args()
    return tell(
        lambda say: run(
            options.kills,
            options.seed,
            options.fsync,
            options.keep,
            say,
            tasks=options.tasks,
            executors=options.executors,
            slots=options.slots,
            durability=options.durability,
            redis_server=options.redis_server,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
