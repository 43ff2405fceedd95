#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A cable is pulled: one executor, or the client, is on another machine, which from one moment on
neither answers nor closes anything. Runs in a network namespace of its own, the other machine is a
second one, and the cable a pair of virtual devices; nothing of it is seen outside.

    unshare --map-root-user --net tests/kill/unplugged.py executor|client"""

import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from check import check  # noqa: E402
from kill import finish  # noqa: E402
from world import Failure, World, lives  # noqa: E402

HERE, THERE = "10.77.0.1", "10.77.0.2"
LEASE, CLIENT_LEASE = 3, 30  # seconds; lease_ms and client_lease_ms of proto/limits.hpp
SLACK = 3  # beats, ticks and a busy machine
GROWTH = 64 << 20
# The address sanitizer keeps what was freed: with its default that alone is more.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"


def run(command):
    subprocess.run(command.split(), check=True)


class OtherMachine:
    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.holder.stdin.write(b"x")
        self.holder.stdin.flush()
        self.holder.stdout.read(1)  # it is there
        self.enter = f"nsenter --target {self.holder.pid} --net"
        run("ip link set lo up")
        run(f"ip link add here type veth peer name there netns {self.holder.pid}")
        run(f"ip address add {HERE}/30 dev here")
        run("ip link set here up")
        run(f"{self.enter} ip link set lo up")
        run(f"{self.enter} ip address add {THERE}/30 dev there")
        self.plug()

    def plug(self):
        run(f"{self.enter} ip link set there up")

    def unplug(self):
        run(f"{self.enter} ip link set there down")

    def move(self, process):
        """It will run there, and reach the broker over the cable."""
        process.argv = self.enter.split() + [
            word.replace("tcp://127.0.0.1:", f"tcp://{HERE}:") for word in process.argv
        ]

    def stop(self):
        self.holder.stdin.close()
        self.holder.wait()


def resident(pid):
    pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def connected(world):
    metrics = world.metrics()
    return {
        "executor": metrics.get('flame_executors{state="connected"}', 0),
        "client": metrics.get("flame_clients", 0),
    }


def finished(world):
    return world.metrics().get('flame_tasks_finished_total{result="succeed"}', 0)


def pull_and_plug(world, other, victim):
    """Returns how long it took the broker to notice."""
    lease = LEASE if victim == "executor" else CLIENT_LEASE
    before = connected(world)[victim]
    memory = resident(world.processes["broker"].pid)
    other.unplug()
    pulled = time.monotonic()
    slowest = 0
    while connected(world)[victim] != before - 1:
        asked = time.monotonic()
        listed = world.flmctl("list")
        slowest = max(slowest, time.monotonic() - asked)
        if listed.returncode != 0:
            raise Failure(f"the broker serves nobody any more: {listed.stderr}")
        if time.monotonic() - pulled > lease + SLACK:
            raise Failure(f"after {lease + SLACK} s the broker still believes in the {victim}")
    noticed = time.monotonic() - pulled
    grown = resident(world.processes["broker"].pid) - memory
    if slowest > 2:
        raise Failure(f"an answer took {slowest:.1f} s: the broker was blocked")
    if grown > GROWTH:
        raise Failure(f"the broker has grown by {grown >> 20} MiB")
    if victim == "executor":
        done = finished(world)
        world.wait(lambda: finished(world) > done + 500, "the other executor goes on")
    if not lives(world.processes["executor-2" if victim == "executor" else "client"].pid):
        raise Failure("the unplugged one died")
    other.plug()
    world.wait(lambda: connected(world)[victim] == before, f"the {victim} is back")
    print(f"{victim}: noticed after {noticed:.1f} s, slowest answer {slowest:.2f} s, "
          f"grown by {grown >> 10} KiB")


def main():
    victim = sys.argv[1]
    other = OtherMachine()
    world = World(1, executors=2, slots=4, tasks=20_000)
    try:
        broker = world.processes["broker"]
        at = broker.argv.index(f"127.0.0.1:{world.port}")
        broker.argv[at] = f"0.0.0.0:{world.port}"
        broker.argv.append("--insecure")
        other.move(world.processes["executor-2" if victim == "executor" else "client"])
        world.start()
        told = world.http("/readyz")[1] + broker.log.read_text(errors="replace")
        if "insecure: listens beyond loopback" not in told or "INSECURE: listens" not in told:
            raise Failure(f"/readyz and the log do not both say that it is insecure: {told}")
        world.wait(world.busy, "tasks wait and run")
        world.wait(lambda: connected(world)["executor"] == 2, "both executors are there")
        pull_and_plug(world, other, victim)
        finish(world)
        print(check(world))
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        world.stop()
        other.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
