# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A kill and its proof. The victim is stopped (SIGSTOP) first: what is seen then holds at the
moment of its death. It dies if it lived, tasks were pending and others running, and, where Redis
has to forget something, if its file lacked a batch that it had answered; else it goes on, and a
better moment is waited for."""

import dataclasses
import os
import re
import signal

from check import Journal
from resp import RedisError
from world import APPLICATION, Failure, lives, state_of

NO_PROGRESS = 90
TAIL = 16 << 20  # more than two batches
BATCH = re.compile(rb"flame:meta\r\n\$5\r\nbatch\r\n\$\d+\r\n(\d+)\r\n")
TASKS = re.compile(rb"\r\n\$5\r\ntasks\r\n\$\d+\r\n(\d+)\r\n")  # of the session, there is one
REPLAY = re.compile(r"replaying from the ring.*\bfirst=(\d+).*\blast=(\d+).*\banswered=(\d+)")


@dataclasses.dataclass
class Hit:
    """One victim: what was pending and running while it stood still, and who said so."""

    name: str
    pid: int
    pending: int
    running: int
    source: str
    forgets: int = 0  # a batch that Redis had answered and its file has not

    def __str__(self):
        forgets = f", forgets batch {self.forgets}" if self.forgets else ""
        seen = f"pending {self.pending}, running {self.running} says {self.source}"
        return f"{self.name} ({self.pid}; {seen}{forgets})"


def stop(pid):
    """False if it was gone already. It lives and executes nothing more."""
    os.kill(pid, signal.SIGSTOP)
    while state_of(pid) not in ("T", "Z", "X", ""):
        os.sched_yield()
    return state_of(pid) == "T"


def broker_counters(world):
    """What the broker says: right also while Redis is away."""
    metrics = world.metrics()
    label = f'flame_tasks{{app="{APPLICATION}",state="%s"}}'
    return tuple(int(metrics.get(label % state, 0)) for state in ("pending", "running"))


def seen_by_others(world, name):
    """(pending, running, source) from whoever does not stand still."""
    for source, look in (("redis", world.counters), ("broker", lambda: broker_counters(world))):
        if source != name and world.processes[source].alive():
            pending, running = look()
            if pending > 0 and running > 0:
                return pending, running, source
    return None


def answered_batch(world):
    """A batch whose answer the broker has: a later one was written. 0: Redis is away."""
    try:
        with world.redis() as redis:
            return int(redis("HGET", "flame:meta", "batch") or 0) - 1
    except (OSError, RedisError):
        return 0


def last_in_file(world, pattern):
    """The last number that matches in the append-only file; None: no telling."""
    files = (world.folder / "redis").rglob("*.incr.aof")
    newest = max(files, key=lambda path: int(path.name.split(".")[-3]), default=None)
    if newest is None:
        return None
    with open(newest, "rb") as file:
        file.seek(max(0, newest.stat().st_size - TAIL))
        found = pattern.findall(file.read())
    return int(found[-1]) if found else None


def forgotten_batch(world, answered):
    """Redis stands still: `answered`, if its file does not have it."""
    in_file = last_in_file(world, BATCH)
    return answered if in_file is not None and in_file < answered else 0


def forget_tasks(world):
    """Kills Redis for good if it forgets tasks that the client knows to be acknowledged; their
    number, or 0: not now."""
    pid = world.pid_of("redis")
    if not pid or not stop(pid):
        return 0
    kept = last_in_file(world, TASKS)
    known = max((ids[-1] for ids in Journal(world.journal).acknowledged.values()), default=0)
    if kept is None or known <= kept:
        os.kill(pid, signal.SIGCONT)
        return 0
    world.end("redis", pid, restart=None)
    return known - kept


def strike_one(world, name, forget=False):
    """A Hit, or None: this was no moment that proves anything."""
    answered = answered_batch(world) if forget else 0
    earlier = world.counters() if name == "redis" else (0, 0)
    pid = world.pid_of(name)
    if not pid or not stop(pid):
        return None
    seen = seen_by_others(world, name)
    if seen is None and not world.processes["broker"].alive() and min(earlier) > 0:
        seen = (*earlier, "redis just before")  # nobody was there to write anything since
    forgets = forgotten_batch(world, answered) if forget else 0
    if seen is None or (forget and not forgets) or state_of(pid) != "T":
        os.kill(pid, signal.SIGCONT)
        return None
    world.end(name, pid)
    return Hit(name, pid, *seen, forgets)


def pick(world, word, taken):
    if word != "executor":
        return word
    left = [name for name in world.executors if name not in taken] or world.executors
    return world.rng.choice(left)


def strike(world, words, say, forget=False):
    """One kill of the count: everybody in `words`, each proved. With `forget`, the first is Redis,
    it loses what it answered, and the broker's log says which batches it gives back."""
    world.wait(world.busy, f"tasks wait and run again before the kill of {words}", NO_PROGRESS)
    world.sleep(world.rng.uniform(0, 1.2))
    said = len(replays(world))
    hits = []
    for word in words:
        if hits:
            world.sleep(world.rng.choice([0, 0, 0.05, world.rng.uniform(0, 1.5)]))
        name = pick(world, word, [hit.name for hit in hits])
        # The second of a pair may be on its way back from the first kill.
        hit = world.wait(
            lambda name=name, forget=forget and not hits: strike_one(world, name, forget),
            f"{name} lives while tasks wait and run, to be killed",
            NO_PROGRESS,
        )
        if lives(hit.pid) and name != "service":
            raise Failure(f"{hit} lives after SIGKILL")
        hits.append(hit)
    say(f"killed {'; '.join(map(str, hits))}")
    if forget:
        lost = hits[0].forgets
        world.wait(
            lambda: any(first <= lost <= last for first, last, _ in replays(world)[said:]),
            f"the broker says that it gives back batch {lost}, which Redis forgot",
            NO_PROGRESS,
        )
    return hits


def replays(world):
    """(first, last, answered) of each: what Redis had forgotten, as the broker's log has it."""
    log = world.processes["broker"].log.read_text(errors="replace")
    return [tuple(map(int, numbers)) for numbers in REPLAY.findall(log)]


def wait_for_looks(world, count):
    """Until the broker has asked so often (INFO, each second) what is on disk."""

    def looks():
        with world.redis() as redis:
            stats = redis("INFO", "commandstats").decode()
        return int(re.search(r"cmdstat_info(?:\|\w+)?:calls=(\d+)", stats)[1])

    before, own = looks(), 0

    def enough():
        nonlocal own
        own += 1
        return looks() - before - own >= count

    world.wait(enough, "the broker looks whether its writes are on disk")
