#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""An image service: makes pictures grey and half as large, a task each. With Pillow where it is
installed, else with a small reader of PNG. Without files it draws some; without a folder it makes
one.

flmctl up --detach
examples/python/images.py [FOLDER [FILE...]]    writes FOLDER/small-*.png
"""

import io
import os
import pathlib
import sys
import tempfile

import tiny_png

import flamepy


def small_with_pillow(data):
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        small = image.convert("L").resize((max(1, width // 2), max(1, height // 2)))
    out = io.BytesIO()
    small.save(out, "PNG")
    return out.getvalue()


def small_without(data):
    width, height, pixels = tiny_png.read(data)
    if min(width, height) < 2:
        raise ValueError(f"{width} x {height} pixels are too few")
    grey = [sum(pixels[at : at + 3]) // 3 for at in range(0, len(pixels), 3)]
    small = bytearray()
    for y in range(0, height - 1, 2):
        row = y * width
        for x in range(row, row + width - 1, 2):
            mean = (grey[x] + grey[x + 1] + grey[x + width] + grey[x + width + 1]) // 4
            small += bytes((mean, mean, mean))
    return tiny_png.write(width // 2, height // 2, bytes(small))


class Images(flamepy.FlameService):
    def on_task_invoke(self, task):
        try:
            return small_with_pillow(task.input)
        except ImportError:
            return small_without(task.input)


def drawn(number, width=64, height=48):
    pixels = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (4 * x, 5 * y, 20 * number % 256)
    )
    return tiny_png.write(width, height, pixels)


def main(folder="", *files):
    pictures = {f"drawn-{i}.png": drawn(i) for i in range(12)}
    if files:
        pictures = {pathlib.Path(file).name: pathlib.Path(file).read_bytes() for file in files}
    target = pathlib.Path(folder or tempfile.mkdtemp(prefix="flame-images-"))
    target.mkdir(parents=True, exist_ok=True)
    failed = 0
    with flamepy.connect() as connection:
        service = {"command": sys.executable, "arguments": [str(pathlib.Path(__file__).resolve())]}
        connection.register_application("images-python", service)
        with connection.create_session("images-python") as session:
            names = {session.run(data): name for name, data in pictures.items()}
            for future in flamepy.as_completed(names, progress="images"):
                error = future.exception()
                if error:
                    failed += 1
                    print(f"{names[future]}: {str(error).splitlines()[0]}", file=sys.stderr)
                    continue
                name = pathlib.Path("small-" + names[future]).with_suffix(".png")
                (target / name).write_bytes(future.result())
    print(f"{len(pictures) - failed} of {len(pictures)} pictures are in {target}")
    return 1 if failed else 0


if __name__ == "__main__":
    if "FLAME_INSTANCE_FD" in os.environ:  # an executor started us
        flamepy.run(Images())
    else:
        sys.exit(main(*sys.argv[1:]))
