# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What is installed is enough: a project that knows nothing else is built and run. The examples
run too."""

import os
import pathlib
import subprocess

import pytest

from conftest import BIN, sanitized

HERE = pathlib.Path(__file__).resolve().parent


# What consumer/change.cpp says.
CHANGED = [
    "first by one",
    "first by two",
    "second by two, version 2: second",
    "conflict",
    "Running 50 half of it",
    "0 1 Cancelled",
    "task_cancelled",
    "told a",
    "created updated cancelled 1 2",
]


def call(*words, **env):
    done = subprocess.run(
        [str(word) for word in words],
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
        env=os.environ | env,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(sanitized(), reason="a user's project has no sanitizer")
def test_a_project_is_built_from_the_installed_files_and_runs(running, tmp_path):
    prefix, build = tmp_path / "prefix", tmp_path / "build"
    call("cmake", "--install", BIN.parent, "--prefix", prefix)
    call(
        "cmake",
        "-S",
        HERE / "consumer",
        "-B",
        build,
        "-G",
        "Ninja",
        f"-DCMAKE_PREFIX_PATH={prefix}",
    )
    call("cmake", "--build", build)
    done = running.run(build / "ask", build / "reverse", "abc", "", "level!")
    assert (done.code, done.out) == (0, "cba\n\n!level\n"), done
    done = running.run(build / "change", build / "teller")
    assert (done.code, done.out.splitlines()) == (0, CHANGED), done
    # The service side has no dependency of ours; the client has libzmq.
    assert "zmq" not in call("ldd", build / "reverse")
    assert (prefix / "bin" / "flmctl").exists()
    for header in (prefix / "include" / "flame").glob("*.hpp"):
        text = header.read_text()
        assert not any(word in text for word in ("zmq", "msgpack", "proto/", "runtime/")), header


    # The same sources by pkg-config, which finds the folder wherever it was put.
    build_by_pkg_config(prefix, tmp_path)
    done = running.run(tmp_path / "ask", tmp_path / "reverse", "xyz")
    assert (done.code, done.out) == (0, "zyx\n"), done
    assert "libflame" not in call("ldd", tmp_path / "ask")


def build_by_pkg_config(prefix, folder):
    found = next(prefix.glob("**/flame.pc")).parent
    flags = call("pkg-config", "--cflags", "--libs", "flame", PKG_CONFIG_PATH=str(found)).split()
    for name in ("ask", "reverse"):
        source = HERE / "consumer" / f"{name}.cpp"
        # A service does not inherit LD_LIBRARY_PATH of whoever asks for it.
        call("c++", source, "-o", folder / name, *flags, f"-Wl,-rpath,{found.parent}")
    return found


@pytest.mark.skipif(sanitized(), reason="a user's project has no sanitizer")
def test_the_shared_library_is_enough_too(running, tmp_path):
    """A second, unoptimised build of the library alone; kept, so that only the first is slow."""
    build = BIN.parent / "with-shared"
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-DFLAME_TESTS=OFF"]
    options += ["-DFLAME_SHARED=ON", "-DCMAKE_UNITY_BUILD=ON"]
    call("cmake", "-S", HERE.parents[1], "-B", build, "-G", "Ninja", *options)
    call("cmake", "--build", build, "--target", "flame_shared")
    prefix = tmp_path / "prefix"
    call("cmake", "--install", build, "--prefix", prefix, "--component", "library")
    found = build_by_pkg_config(prefix, tmp_path).parent
    done = running.run(tmp_path / "ask", tmp_path / "reverse", "abc")
    assert (done.code, done.out) == (0, "cba\n"), done
    # An error of the library is caught as such in the program.
    done = running.run(tmp_path / "ask", "", "abc")
    assert done.code == 1 and done.err.startswith("bad_request: "), done
    shown = call("nm", "-DC", "--defined-only", found / "libflame.so")
    assert "flame::Client::connect" in shown
    assert not any(word in shown for word in ("flame::proto", "flame::runtime", "msgpack")), shown


def test_every_installed_header_stands_alone():
    include = HERE.parents[1] / "client/cpp/include"
    for header in sorted((include / "flame").glob("*.hpp")):
        call(
            "c++",
            "-std=c++20",
            "-fsyntax-only",
            "-Wall",
            "-Wextra",
            "-Werror",
            f"-I{include}",
            "-include",
            header,
            "-x",
            "c++",
            "/dev/null",
        )


def test_hello(running):
    done = running.run("hello", "Ada", "Grace")
    assert (done.code, done.out) == (0, "Hello, Ada!\nHello, Grace!\n"), done


def test_monte_carlo_pi(running):
    done = running.run("monte_carlo_pi", 20, 10_000)
    assert done.code == 0, done
    assert abs(float(done.out.split()[3]) - 3.14159) < 0.05, done


def test_word_count(running, tmp_path):
    text = tmp_path / "text"
    text.write_text("The cat and the dog.\nA dog, and THE end\n")
    done = running.run("word_count", text, "the", "a", "and")
    assert (done.code, done.out) == (0, "1 cat\n2 dog\n1 end\n"), done
