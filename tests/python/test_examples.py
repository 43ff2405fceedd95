# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""examples/python, run as their first lines say."""

import importlib.util
import os
import re
import sys

import pytest

from conftest import PATIENCE, ROOT, fetched

FOLDER = ROOT / "examples/python"
HEAVY = ["numpy", "pillow"]


def example(cluster, name, *words, code=0, **env):
    """Its output; what it says on stderr where it fails as it should."""
    done = cluster.run(sys.executable, FOLDER / name, *words, timeout=2 * PATIENCE, **env)
    assert done.code == code, done
    return done.err if code else done.out


@pytest.fixture(scope="session")
def heavy():
    """numpy and Pillow: 90 MB, so only on demand."""
    if "FLAME_PYTHON_HEAVY" not in os.environ:
        pytest.skip("numpy and Pillow are fetched where FLAME_PYTHON_HEAVY is set")
    return str(fetched("python-heavy", HEAVY))


def test_every_example_says_how_it_is_run_and_is_run_here():
    text = (ROOT / "tests/python/test_examples.py").read_text()
    for path in FOLDER.glob("*.py"):
        if path.name != "tiny_png.py":
            usage = f"flmctl up --detach\nexamples/python/{path.name}"
            assert usage in path.read_text() and f'"{path.name}"' in text
            assert path.stat().st_mode & 0o111


def test_hello(running_once):
    out = example(running_once, "hello.py", "Ada", "Grace")
    assert out == "Hello, Ada!\nHello, Grace!\n"


def test_pi(running_once):
    out = example(running_once, "pi.py", 100, 2000)
    known = "with" if importlib.util.find_spec("numpy") else "without"
    assert re.match(rf"pi is about 3\.\d{{4}}\n100 tasks in \d+\.\d s, {known} numpy\n\Z", out)


def test_pi_with_numpy(running_once, heavy):
    out = example(running_once, "pi.py", 100, 2000, PYTHONPATH=heavy)
    assert re.match(r"pi is about 3\.\d{4}\n100 tasks in \d+\.\d s, with numpy\n\Z", out)


def test_sweep(running_once):
    lines = example(running_once, "sweep.py", 100).splitlines()
    found = [re.match(r"step 0\.\d+, momentum 0\.\d+: ends (\d\.\d+) high\Z", x) for x in lines]
    heights = [float(one[1]) for one in found]
    assert len(heights) == 3 and heights == sorted(heights) and heights[0] < 0.1


def test_word_count(running_once, tmp_path):
    text = tmp_path / "text"
    text.write_text("The cat and the hat.\n\nThe hat, again: HAT!\n")
    out = example(running_once, "word_count.py", text, "the", "and")
    assert out == "3 hat\n1 again\n1 cat\n"
    assert example(running_once, "word_count.py").splitlines()[:3] == ["2 a", "2 and", "2 in"]


def test_crawler(running_once):
    out = example(running_once, "crawler.py")
    assert re.match(r"100 pages\ncannot be read: http://127\.0\.0\.1:\d+/101\n\Z", out)


@pytest.fixture
def tiny_png(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("tiny_png")


def greys_of(tiny_png, path):
    width, height, pixels = tiny_png.read(path.read_bytes())
    return width, height, list(pixels[::3])


def test_images(running_once, tmp_path, tiny_png):
    # As if Pillow were not installed, also where it is.
    out = example(running_once, "images.py", tmp_path / "out")
    assert out == f"12 of 12 pictures are in {tmp_path / 'out'}\n"
    assert len(list((tmp_path / "out").glob("small-drawn-*.png"))) == 12
    out = example(running_once, "images.py", TMPDIR=tmp_path)
    (made,) = tmp_path.glob("flame-images-*")
    assert out == f"12 of 12 pictures are in {made}\n"
    pixels = bytes([0, 30, 60] * 2 + [90, 120, 150] * 2) * 2
    picture = tmp_path / "four.png"
    picture.write_bytes(tiny_png.write(4, 2, pixels))
    (tmp_path / "text.png").write_text("not a picture")
    said = example(running_once, "images.py", tmp_path, picture, tmp_path / "text.png", code=1)
    assert said.startswith("text.png: ") and said.count("\n") == 1
    if not importlib.util.find_spec("PIL"):
        assert "no PNG" in said
        assert greys_of(tiny_png, tmp_path / "small-four.png") == (2, 1, [30, 120])


def test_images_with_pillow_reads_what_the_small_reader_cannot(cluster, tmp_path, heavy):
    cluster.up("--slots", 2, PYTHONPATH=heavy)
    make = "from PIL import Image; import sys; Image.linear_gradient('L').save(sys.argv[1])"
    made = cluster.run(sys.executable, "-c", make, tmp_path / "a.gif", PYTHONPATH=heavy)
    assert made.code == 0, made
    out = example(cluster, "images.py", tmp_path, tmp_path / "a.gif")
    assert out == f"1 of 1 pictures are in {tmp_path}\n"
    size = "from PIL import Image; import sys; print(Image.open(sys.argv[1]).size)"
    shown = cluster.run(sys.executable, "-c", size, tmp_path / "small-a.png", PYTHONPATH=heavy)
    assert shown.out == "(128, 128)\n"


@pytest.mark.parametrize("kind", range(5))
def test_the_small_reader_undoes_every_filter(tiny_png, kind):
    """Against the definition, by way of a writer that filters a row so."""
    import zlib

    width, rows = 5, [bytes((i * i * 7 + 31 * row) % 256 for i in range(15)) for row in range(4)]
    lines, above = [], bytes(15)
    for row in rows:
        line = bytearray([kind])
        for i, value in enumerate(row):
            a, b, c = (row[i - 3], above[i], above[i - 3]) if i >= 3 else (0, above[i], 0)
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line.append((value - [0, a, b, (a + b) // 2, nearest][kind]) % 256)
        lines.append(bytes(line))
        above = row
    plain = tiny_png.write(width, 4, b"".join(rows))
    data = zlib.compress(b"".join(lines))
    begin, end = plain.index(b"IDAT") - 4, plain.index(b"IEND") - 4
    filtered = plain[:begin] + tiny_png._chunk(b"IDAT", data) + plain[end:]
    assert tiny_png.read(filtered) == (width, 4, b"".join(rows))
    assert tiny_png.read(plain) == (width, 4, b"".join(rows))
