# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What the page shows, as a person would: pasted, and run."""

import importlib
import math
import pathlib
import re
import subprocess
import sys

import pytest

import flamepy
import flamepy.service

from conftest import PATIENCE, ROOT

PAGE = (ROOT / "docs/python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def paste(running_once, tmp_path):
    def run(code):
        program = tmp_path / "pasted.py"
        program.write_text(code)
        return python(running_once, program)

    return run


def python(cluster, *words):
    done = cluster.run(sys.executable, *words, timeout=2 * PATIENCE)
    assert done.code == 0, done
    return done.out


def test_the_first_ten_lines_work_when_pasted(paste):
    assert PAGE.startswith("# Python\n\n```python\n")
    code = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(code) <= 10
    assert abs(float(paste(BLOCKS[0])) - math.pi) < 0.1


def test_the_session_block_works_when_pasted(paste):
    block = next(block for block in BLOCKS if "create_session" in block)
    assert paste(block) == "b'one task'\n100000\n1 b'one task' None\n"


def test_the_asyncio_block_works_when_pasted(paste):
    block = next(block for block in BLOCKS if "import asyncio" in block)
    assert paste(block) == "b'one task'\n10000\nb'0'\nb'1'\nb'2'\n"


def test_the_block_of_executor_and_asyncio_works_when_pasted(paste):
    block = next(block for block in BLOCKS if "run_in_executor" in block)
    assert paste(block) == "[1, 2, 4, 8, 16, 32, 64, 128]\n"


def test_the_service_block_is_a_service(running_once, shared, tmp_path):
    block = next(block for block in BLOCKS if "flamepy.run(" in block)
    program = tmp_path / "square.py"
    program.write_text(block)
    shared.register_application("square", {"command": sys.executable, "arguments": [str(program)]})
    with shared.create_session("square") as session:
        assert list(session.map([b"3", b"12"])) == [b"9", b"144"]


def test_the_instance_block_is_a_service_of_one_function(shared, tmp_path, monkeypatch):
    monkeypatch.setattr("flamepy._client._default", shared)
    program = tmp_path / "instance.py"
    program.write_text(next(block for block in BLOCKS if "FlameInstance()" in block))
    command = {"command": sys.executable, "arguments": [str(program)]}
    shared.register_application("page-instance", command)
    with flamepy.service.Session("page-instance", {"name": "Ada"}) as session:
        assert session.invoke("hello") == "Ada says: HELLO!"


def test_every_exception_of_the_page_exists():
    rows = re.findall(r"^\| `(\w+Error)` \| (?:`([\w.]+)`)? ?\|", PAGE, re.M)
    assert len(rows) == 8
    for name, base in rows:
        kind = getattr(flamepy, name)
        assert issubclass(kind, flamepy.FlameError)
        if base:
            # Before Python 3.11 concurrent.futures has a TimeoutError of its own.
            module, _, plain = base.rpartition(".")
            assert issubclass(kind, getattr(importlib.import_module(module or "builtins"), plain))


def test_the_package_is_one_wheel_and_one_sdist_of_this_version():
    version = (ROOT / "VERSION").read_text().strip()
    assert flamepy.__version__ == version
    built = sorted(path.name for path in (ROOT / "build/python").iterdir())
    assert built == [f"flamepy-{version}-py3-none-any.whl", f"flamepy-{version}.tar.gz"]
    # The wheel is what is tested, with its types.
    environment = pathlib.Path(sys.prefix)
    assert environment.parent == ROOT / "build"
    assert environment in pathlib.Path(flamepy.__file__).parents
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", ROOT / "build/python" / built[0]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "flamepy/py.typed" in names and "tests" not in names
