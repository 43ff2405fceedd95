# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A Flame that was built with -DFLAME_GRPC=OFF says so wherever somebody wants the grpc shim, and
does all else. Runs against such a build only:

    cmake --preset release -B build/no-grpc -DFLAME_GRPC=OFF && cmake --build build/no-grpc
    FLAME_BIN=build/no-grpc/bin python3 -m pytest tests/system/test_without_grpc.py
"""

import subprocess

import pytest

from conftest import BIN, WITHOUT_GRPC, wait_until

pytestmark = pytest.mark.skipif(not WITHOUT_GRPC, reason="this Flame was built with gRPC")
WITHOUT = "built without gRPC"


def test_nothing_of_grpc_is_in_it():
    assert not (BIN / "flame-grpc-service").exists()
    for program in ("flame-executor", "flame-broker", "flmctl", "flmping"):
        done = subprocess.run(["ldd", BIN / program], capture_output=True, text=True, check=True)
        assert "grpc" not in done.stdout and "protobuf" not in done.stdout


def test_flmping_says_so_and_pings_by_the_other_shims(running):
    done = running.run("flmping", "-t", 10, "--shim", "grpc")
    assert done.code == 2 and WITHOUT in done.err and "native or shell" in done.err, done
    for shim in ("native", "shell"):
        done = running.run("flmping", "-t", 10, "--shim", shim)
        assert done.code == 0 and "10" in done.out, done


def test_a_session_of_such_an_application_says_so(running, tmp_path):
    manifest = tmp_path / "application.yaml"
    manifest.write_text("metadata: {name: hosted}\nspec: {shim: Host, command: /bin/cat}\n")
    assert running.flmctl("register", "-f", manifest).code == 0
    session = running.flmctl("create", "-a", "hosted").out.strip()
    assert running.flmctl("submit", session, "x").code == 0
    wait_until(lambda: WITHOUT in running.flmctl("view", session).out, "the session says why")
    assert running.flmctl("close", session).code == 0
