# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What the ring of a serving broker costs the filesystem it lies in."""

import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kill"))

from world import BIN, World  # noqa: E402

MIB = 1 << 20


@pytest.fixture
def world():
    made = World(1, executors=0, client=False)
    yield made
    made.stop()


def test_what_a_burst_took_is_given_back_while_the_broker_serves(world):
    world.start()
    (ring,) = (world.folder / "ring").glob("*.ring")

    def taken():
        return ring.stat().st_blocks * 512

    assert world.create("burst").returncode == 0
    lines = b"\n".join([b"x" * 200_000] * 250)
    submit = [BIN / "flmctl", "submit", "burst", "--endpoint", world.endpoint]
    done = subprocess.run(submit, input=lines, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done
    before = world.metrics()["flame_batches_total"]
    assert taken() > 32 * MIB, "the burst was too small to show anything"
    # Two steps, and a block or two in which the filesystem keeps where they lie.
    world.wait(lambda: taken() < 17 * MIB, "all but two steps are given back")
    assert world.metrics()["flame_batches_total"] > before, "it serves, and writes its demand"
