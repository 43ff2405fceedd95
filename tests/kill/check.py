# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""After the kills: what was acknowledged, received, recorded and run, compared task by task."""

import collections
import struct

from resp import run_of, unpack
from world import SESSION, Failure

SEGMENT_TASKS = 1 << 20
MAX_ATTEMPTS = 4


class Journal:
    """What the client wrote down; see journal.hpp."""

    def __init__(self, path):
        self.acknowledged = {}  # submit -> range of ids
        self.submitted = {}  # submit -> count
        self.received = []  # (index, range, attempt, outputs)
        self.lineages, self.links, self.wrong, self.closed, self.lost = set(), 0, [], False, []
        for line in path.read_text().splitlines():
            self.read(line)

    def read(self, line):
        kind, words = line[0], line[2:].split(" ")
        if kind == "S":
            self.submitted[int(words[0])] = int(words[1])
        elif kind == "A":
            first = int(words[1])
            self.acknowledged[int(words[0])] = range(first, first + int(words[2]))
        elif kind == "R":
            head, _, outputs = line[2:].partition(" | ")
            index, first, count, attempt = map(int, head.split(" ")[:4])
            self.received.append((index, range(first, first + count), attempt, outputs.split(" ")))
        elif kind == "L":
            self.lost.append(range(int(words[0]), int(words[0]) + int(words[1])))
        elif kind == "U":
            self.lineages.add(words[0])
            self.links += 1
        elif kind == "X":
            self.wrong.append(line[2:])
        elif kind == "Z":
            self.closed = True


def expect(condition, text):
    if not condition:
        raise Failure(text)


def some(items):
    items = sorted(items)
    return f"{len(items)}: {', '.join(map(str, items[:20]))}{' ...' if len(items) > 20 else ''}"


def inputs_of(journal):
    """Task id -> the begin of its output."""
    expect(
        sorted(journal.acknowledged) == sorted(journal.submitted), "a submit was never acknowledged"
    )
    inputs = {}
    for submit, ids in journal.acknowledged.items():
        expect(
            len(ids) == journal.submitted[submit],
            f"submit {submit} was acknowledged with another count",
        )
        for place, task in enumerate(ids):
            expect(task not in inputs, f"id {task} was given to two submits")
            inputs[task] = f"{submit}.{place}."
    return inputs


def received_of(journal):
    indexes = [index for index, _, _, _ in journal.received]
    expect(indexes == list(range(len(indexes))), "the client received an index twice or never")
    received = {}
    for index, ids, _, outputs in journal.received:
        expect(
            len(ids) == len(outputs),
            f"entry {index} has {len(outputs)} outputs for {len(ids)} tasks",
        )
        for task, output in zip(ids, outputs):
            expect(task not in received, f"the client received task {task} twice")
            received[task] = output
    return received


def recorded_of(redis):
    """Task id -> output, or !code; and the entries of `done`."""
    recorded, attempts = {}, {}
    done = redis("LRANGE", f"flame:{{{SESSION}}}:done", 0, -1)
    outputs = {}
    for key in redis("KEYS", f"flame:{{{SESSION}}}:output:*"):
        outputs.update(redis.hash(key))
    expect(len(set(done)) == len(done), "a run stands twice in done")
    expect(set(done) == set(outputs), f"done and output differ: {some(set(done) ^ set(outputs))}")
    for name in done:
        head, at = [], 1
        expect(outputs[name][0] == 0x97, f"output {name} is no array of 7")
        for _ in range(6):
            value, at = unpack(outputs[name], at)
            head.append(value)
        _, attempt, _, exceptions, _, elements = head
        ids = run_of(name)
        expect(len(elements) == len(ids), f"run {name.decode()} has {len(elements)} outputs")
        failed = {task: (code, reason) for task, code, reason in exceptions}
        for task, element in zip(ids, elements):
            expect(task not in recorded, f"task {task} has two results in Redis")
            recorded[task] = failed[task] if task in failed else element.decode()
            attempts[task] = attempt
    return recorded, attempts, done


def letters_of(redis, count):
    letters = b"".join(
        redis("GET", f"flame:{{{SESSION}}}:state:{k}")
        for k in range((count - 1) // SEGMENT_TASKS + 1)
    )
    expect(len(letters) == count, f"{len(letters)} state letters for {count} tasks")
    return letters.decode()


def runs_of(path):
    """Task id -> how often a service ran it."""
    return collections.Counter(task for task, _, _ in struct.iter_unpack("<QII", path.read_bytes()))


def check_failed(task, result, attempt, letter, received):
    expect(letter == "F", f"task {task} failed, its letter is {letter}")
    expect(received.startswith("!"), f"task {task} failed, the client received {received}")
    expect(attempt == MAX_ATTEMPTS, f"task {task} failed at attempt {attempt}: {result}")


def check_succeeded(task, begin, result, letter, received):
    expect(letter == "S", f"task {task} has a result and the letter {letter}")
    belongs = result.startswith(begin) and result.endswith("=ok")
    expect(belongs, f"task {task} ({begin}) has the output {result}")
    expect(received == result, f"task {task}: received {received}, recorded {result}")


def check_session(session, tasks, failed):
    expect(session["state"] == "Closed", f"the session is {session['state']}")
    expected = {"tasks": tasks, "succeed": tasks - failed, "failed": failed}
    expected |= {"pending": 0, "running": 0, "cancelled": 0}
    numbers = {name: int(session[name]) for name in expected}
    expect(numbers == expected, f"the session's counters are {numbers}, not {expected}")


def check_ids(inputs, received, recorded, ran):
    """The same tasks everywhere; returns those that failed."""
    missing = set(inputs) - set(recorded)
    expect(not missing, f"acknowledged, without a result: {some(missing)}")
    phantom = set(recorded) - set(inputs)
    expect(not phantom, f"recorded, never acknowledged: {some(phantom)}")
    differ = set(received) ^ set(inputs)
    expect(not differ, f"acknowledged or received, not both: {some(differ)}")
    expect(not set(ran) - set(inputs), f"run, never acknowledged: {some(set(ran) - set(inputs))}")
    failed = {task for task, result in recorded.items() if isinstance(result, tuple)}
    idle = set(inputs) - failed - set(ran)
    expect(not idle, f"have a result and were never run: {some(idle)}")
    return failed


def check(world):
    """Raises Failure; returns what there was to see."""
    journal = Journal(world.journal)
    expect(not journal.wrong, f"the client says: {journal.wrong}")
    expect(journal.closed, "the client did not close the session")
    expect(len(journal.lineages) == 1, f"the lineage changed: {journal.lineages}")
    inputs, received, ran = inputs_of(journal), received_of(journal), runs_of(world.ran)
    with world.redis() as redis:
        recorded, attempts, done = recorded_of(redis)
        letters = letters_of(redis, len(inputs))
        session = redis.fields(f"flame:{{{SESSION}}}:session")
        left = redis("HLEN", f"flame:{{{SESSION}}}:attempts")
        fsync = redis("CONFIG", "GET", "appendfsync")[1].decode()
    failed = check_ids(inputs, received, recorded, ran)
    for task, begin in inputs.items():
        result, letter = recorded[task], letters[task - 1]
        if task in failed:
            check_failed(task, result, attempts[task], letter, received[task])
        else:
            check_succeeded(task, begin, result, letter, received[task])
    check_session(session, len(inputs), len(failed))
    expect(left == 0, f"{left} charged attempts are left behind")
    expect(fsync == world.fsync, f"appendfsync was {world.fsync} and is {fsync}")
    return {
        "tasks": len(inputs),
        "submits": len(journal.submitted),
        "runs": len(done),
        "failed": len(failed),
        "executed": sum(ran.values()),
        "run_again": sum(ran.values()) - len(ran),
        "retried": sum(1 for task in attempts if attempts[task] > 1),
        "links": journal.links,
    }
