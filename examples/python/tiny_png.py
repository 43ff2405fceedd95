# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""As much of PNG as the image example needs: 8 bits each of red, green and blue, not interlaced."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KIND = b"\x08\x02\0\0\0"  # 8 bits, RGB, and the only methods there are; not interlaced


def write(width, height, pixels):
    rows = (b"\0" + pixels[at : at + 3 * width] for at in range(0, 3 * width * height, 3 * width))
    head = struct.pack(">II", width, height) + _KIND
    data = zlib.compress(b"".join(rows))
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks)


def _chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def read(data):
    """Width, height, and the pixels row by row."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("this is no PNG; others can be read with Pillow: pip install pillow")
    chunks = list(_chunks(data))
    head = chunks[0][1]
    if head[8:] != _KIND:
        raise ValueError("a PNG of this kind can be read with Pillow: pip install pillow")
    width, height = struct.unpack(">II", head[:8])
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    size, pixels, above = 3 * width, bytearray(), bytes(3 * width)
    for at in range(0, (size + 1) * height, size + 1):
        above = _unfiltered(raw[at], raw[at + 1 : at + 1 + size], above)
        pixels += above
    return width, height, bytes(pixels)


def _chunks(data):
    at = len(_SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _unfiltered(kind, line, above):
    out = bytearray(line)
    for i in range(len(out)):
        left = out[i - 3] if i >= 3 else 0
        corner = above[i - 3] if i >= 3 else 0
        guesses = (0, left, above[i], (left + above[i]) // 2, _paeth(left, above[i], corner))
        out[i] = (out[i] + guesses[kind]) % 256
    return bytes(out)


def _paeth(left, above, corner):
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))
