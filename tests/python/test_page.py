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

from conftest import PATIENCE, ROOT

PAGE = (ROOT / "docs/python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def paste(running_once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

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


@pytest.mark.parametrize(
    ("name", "begin", "said"),
    [
        ("square", "flamepy.run(", "[b'9', b'144']"),
        ("answer", "FlameInstance()", "Ada says: HELLO!"),
    ],
)
def test_a_service_block_works_with_the_one_that_uses_it(paste, tmp_path, name, begin, said):
    service = next(block for block in BLOCKS if begin in block)
    (tmp_path / f"{name}.py").write_text(service)
    assert paste(next(block for block in BLOCKS if f'"{name}.py"' in block)) == f"{said}\n"


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
