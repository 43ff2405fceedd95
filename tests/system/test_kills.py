# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Nothing acknowledged is lost, one result per task, whoever is killed. A failing run prints its seed; the same
again: tests/kill/kill.py --kills N --seed N --fsync WHEN (moments differ from run to run, targets do not)."""

import os
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kill"))

import kill  # noqa: E402

# At least 20 kills in all; FLAME_KILLS multiplies them.
TIMES = int(os.environ.get("FLAME_KILLS", "1"))


@pytest.mark.parametrize("fsync, kills", [("everysec", 10), ("slow", 7), ("always", 7)])
def test_kills_cost_time_and_never_a_task(fsync, kills):
    numbers = kill.run(kills * TIMES, int(time.time()) % 100_000, fsync, tasks=40_000)
    print(numbers)
    assert numbers["kills"] == kills * TIMES
