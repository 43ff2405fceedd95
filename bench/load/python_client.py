#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The Python client under load; prints JSON as flmping does.

    python_client.py WHAT COUNT [APPLICATION]

executor-map, executor-submit: functions, by flamepy.Executor. map, submit, latency: 64 bytes to a
service and back. outstanding: how much memory COUNT futures take whose tasks nobody runs."""

import gc
import json
import resource
import sys
import time

import flamepy

WARM = 100_000  # the services of all slots run then
DATA = b"x" * 64


def timed(run, count):
    run(min(WARM, count))
    began = time.monotonic()
    done = run(count)
    seconds = time.monotonic() - began
    if done != count:
        raise SystemExit(f"{done} results of {count} tasks")
    return {"tasks": count, "seconds": seconds, "tasks_per_second": count / seconds}


def collected(futures):
    return sum(future.result() is not None for future in futures)


def executor_map(count, _):
    with flamepy.Executor() as executor:
        return timed(lambda n: sum(1 for _ in executor.map(abs, range(n), chunksize=1)), count)


def executor_submit(count, _):
    with flamepy.Executor() as executor:
        return timed(lambda n: collected([executor.submit(abs, i) for i in range(n)]), count)


def with_session(work):
    def run(count, application):
        with flamepy.connect() as connection, connection.create_session(application) as session:
            return work(session, count)

    return run


@with_session
def session_map(session, count):
    return timed(lambda n: sum(1 for _ in session.map([DATA] * n)), count)


@with_session
def session_submit(session, count):
    return timed(lambda n: collected([session.run(DATA) for _ in range(n)]), count)


@with_session
def latency(session, count):
    invoke, clock, times = session.invoke, time.perf_counter, []
    for _ in range(count // 10 + count):
        began = clock()
        invoke(DATA)
        times.append((clock() - began) * 1000)
    times = sorted(times[count // 10 :])
    quantiles = {"p50": times[count // 2], "p99": times[count * 99 // 100]}
    return {"tasks": count, "latency_ms": quantiles}


@with_session
def outstanding(session, count):
    gc.collect()
    before = resident_mib()
    futures = [session.run(DATA) for _ in range(count)]
    session.flush()
    after = resident_mib()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pending = sum(not future.done() for future in futures)
    session.cancel()
    if pending != count:
        raise SystemExit(f"{pending} of {count} are outstanding")
    return {"tasks": count, "before_mib": before, "after_mib": after, "most_mib": most}


def resident_mib():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / (1 << 20)


WHAT = {
    "executor-map": executor_map,
    "executor-submit": executor_submit,
    "map": session_map,
    "submit": session_submit,
    "latency": latency,
    "outstanding": outstanding,
}

if __name__ == "__main__":
    what, number, *rest = sys.argv[1:]
    print(json.dumps(WHAT[what](int(number), rest[0] if rest else "")))
