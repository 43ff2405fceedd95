#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Runs clang-tidy on every C++ file. About 15 s a file and core are long, so a file that was clean
is remembered in build/tidy/clean, under a hash of all that could change the verdict; after the
first time only what changed is looked at.

    tools/clang_tidy.py [FILE...]     all files that git knows, or only these
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/tidy"
CLEAN = BUILD / "clean"
TOOL = "clang-tidy-14"
INCLUDE = re.compile(r'^#include ["<]([^">]+)[">]', re.M)
# Where the compiler looks for headers of ours.
ROOTS = [ROOT, ROOT / "client/cpp/include"]


def headers_of(path, seen):
    """The file and every header of ours that it includes, directly or not."""
    if path in seen:
        return
    seen.add(path)
    for name in INCLUDE.findall(path.read_text()):
        for folder in [path.parent, *ROOTS]:
            if (folder / name).is_file():
                headers_of((folder / name).resolve(), seen)
                break


def stamp_of(file, command, settings):
    """Exists if this file, compiled like this, with these headers and checks, was clean."""
    seen = set()
    headers_of(ROOT / file, seen)
    hashed = hashlib.sha256(settings)
    for part in [command, *(f"{path}\0{path.read_text()}" for path in sorted(seen))]:
        hashed.update(part.encode())
    return CLEAN / hashed.hexdigest()


def check(file, stamp):
    """What is wrong with the file, or nothing."""
    done = subprocess.run(
        [TOOL, "-p", BUILD, "--quiet", file],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode == 0:
        stamp.touch()
        return ""
    return done.stdout or done.stderr or f"{file}: {TOOL} ended with {done.returncode}\n"


def main(files):
    CLEAN.mkdir(exist_ok=True)
    database = json.loads((BUILD / "compile_commands.json").read_text())
    commands = {entry["file"]: entry["command"] for entry in database}
    version = subprocess.run([TOOL, "--version"], capture_output=True, check=True).stdout
    # Comments aside: giving a reason changes no verdict.
    lines = (ROOT / ".clang-tidy").read_text().splitlines()
    settings = "\n".join(line for line in lines if not line.startswith("#")).encode() + version
    if not files:
        listed = ["git", "ls-files", "*.cpp"]
        out = subprocess.run(listed, cwd=ROOT, text=True, capture_output=True, check=True).stdout
        files = out.split()
    # A file that no target here compiles (who uses the installed library) has no command.
    stamps = {file: stamp_of(file, commands.get(str(ROOT / file), ""), settings) for file in files}
    todo = [file for file in files if not stamps[file].exists()]
    print(f"clang-tidy: {len(todo)} of {len(files)} files are new or changed", flush=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda file: check(file, stamps[file]), todo):
            failed += bool(found)
            print(found, end="", flush=True)
    if failed:
        sys.exit(f"clang-tidy: {failed} files with findings")


if __name__ == "__main__":
    main(sys.argv[1:])
