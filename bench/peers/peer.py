# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""One of the peers, with two workers and the settings that its own documentation recommends for
many short tasks. Prints JSON: version, no-op tasks per second, and how long one of them takes.

    peer.py NAME COUNT ROUND_TRIPS"""

import importlib.metadata
import json
import os
import platform
import sys
import time

WORKERS = 2


def same(x):
    return x


def measured(version, many, one, count, round_trips):
    many(max(100, count // 10))  # what is started on first use runs then
    began = time.monotonic()
    if many(count) != count:
        raise SystemExit("results are missing")
    seconds = time.monotonic() - began
    times = []
    for i in range(round_trips):
        began = time.perf_counter()
        if one(i) != i:
            raise SystemExit("the result is another one")
        times.append((time.perf_counter() - began) * 1000)
    report = {"version": version, "tasks": count, "tasks_per_second": count / seconds}
    print(json.dumps(report | {"p50_ms": sorted(times)[len(times) // 2]}))


def process_pool(*numbers, chunksize=1):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(WORKERS) as pool:
        measured(
            "Python " + platform.python_version(),
            lambda n: len(list(pool.map(same, range(n), chunksize=chunksize))),
            lambda x: pool.submit(same, x).result(),
            *numbers,
        )


def process_pool_chunks(*numbers):
    process_pool(*numbers, chunksize=1000)


def celery(*numbers):
    """Its workers run already, see run.py."""
    import celery_app
    from celery import group

    def many(count):
        return len(group(celery_app.same.s(i) for i in range(count)).apply_async().join_native())

    version = "Celery " + importlib.metadata.version("celery")
    measured(version, many, lambda x: celery_app.same.delay(x).get(interval=0.001), *numbers)


def dask(*numbers):
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, Client(cluster) as client:

        def many(count):
            futures = client.map(same, range(count), pure=False, batch_size=1000)
            return len(client.gather(futures))

        version = "distributed " + importlib.metadata.version("distributed")
        measured(version, many, lambda x: client.submit(same, x, pure=False).result(), *numbers)


def ray_tasks(*numbers):
    ray = started_ray()
    remote = ray.remote(same)
    measured(
        "Ray " + ray.__version__,
        lambda n: len(ray.get([remote.remote(i) for i in range(n)])),
        lambda x: ray.get(remote.remote(x)),
        *numbers,
    )


def ray_actors(*numbers):
    ray = started_ray()

    class Same:
        def call(self, x):
            return x

    actors = [ray.remote(Same).remote() for _ in range(WORKERS)]
    measured(
        "Ray " + ray.__version__,
        lambda n: len(ray.get([actors[i % WORKERS].call.remote(i) for i in range(n)])),
        lambda x: ray.get(actors[0].call.remote(x)),
        *numbers,
    )


def started_ray():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
        object_store_memory=256 << 20,
        _node_ip_address="127.0.0.1",
    )
    return ray


def flamepy_map(*numbers):
    import flamepy

    with flamepy.Executor() as executor:
        measured(
            "Flame " + flamepy.__version__,
            lambda n: len(list(executor.map(same_there, range(n)))),
            lambda x: executor.submit(same_there, x).result(),
            *numbers,
        )


def flamepy_submit(*numbers):
    import flamepy

    with flamepy.Executor() as executor:
        measured(
            "Flame " + flamepy.__version__,
            lambda n: len([f.result() for f in [executor.submit(same_there, i) for i in range(n)]]),
            lambda x: executor.submit(same_there, x).result(),
            *numbers,
        )


def same_there(x):
    return x


if __name__ == "__main__":
    name, *counts = sys.argv[1:]
    globals()[name](*map(int, counts))
