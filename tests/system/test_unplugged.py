# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A machine that vanishes behind TCP: no reset, no answer, only silence."""

import os
import pathlib
import shutil
import subprocess

import pytest

UNPLUGGED = pathlib.Path(__file__).resolve().parents[1] / "kill" / "unplugged.py"
NAMESPACE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]


def why_not():
    """Why this machine has no virtual cables, or ""."""
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    probe = [*NAMESPACE, "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode != 0 else ""


@pytest.mark.parametrize("victim", ["executor", "client"])
def test_a_machine_that_vanishes_is_noticed_within_its_lease_and_stops_nobody(victim):
    if reason := why_not():
        pytest.skip(f"needs network namespaces: {reason}")
    done = subprocess.run(
        [*NAMESPACE, str(UNPLUGGED), victim],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
