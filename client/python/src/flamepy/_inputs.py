# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Inputs of tasks on their way into runs: checked, cut, packed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Callable

from flamepy._proto import limits
from flamepy._proto.elements import pack_elements
from flamepy._run_state import RunState
from flamepy._submit_queue import SubmitQueue
from flamepy.errors import Code, FlameError, TooLargeError

_ELEMENT_HEAD_BYTES = 5


def checked(data: Any) -> bytes:
    """One input; what is bytes already and small is let through at once."""
    found: bytes = data if type(data) is bytes else _bytes_of(data)
    if len(found) > limits.PAYLOAD_BYTES_MAX:
        raise _too_large(len(found))
    return found


def submit_runs(
    inputs: Iterator[Any],
    size: int,
    queue: SubmitQueue,
    make: Callable[[], RunState],
    may_block: bool = True,
) -> Iterator[RunState]:
    """Submits as it is read, in runs of `size`."""
    while True:
        batch = list(islice(inputs, size))
        if not batch:
            return
        for part in _parts_of(batch):
            run = make()
            run.count = len(part)
            queue.add_run(run, pack_elements(part), may_block)
            yield run


def _bytes_of(data: Any) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise FlameError(
        Code.BAD_REQUEST,
        f"a task's input is bytes, not {type(data).__name__}; encode it (str.encode, pickle.dumps, "
        "json.dumps) or use flamepy.Executor, which takes any object",
    )


def _too_large(size: int) -> TooLargeError:
    return TooLargeError(
        Code.TOO_LARGE,
        f"an input of {size} bytes; at most {limits.PAYLOAD_BYTES_MAX}. Larger data belongs in a "
        "store of its own",
    )


def _parts_of(batch: list[bytes]) -> Iterator[list[bytes]]:
    """Cut so that no part is above run_bytes_max but a single large input. The checks of a whole
    batch run in C; only an odd one is looked at input by input."""
    if set(map(type, batch)) != {bytes}:
        batch = [_bytes_of(data) for data in batch]
    if sum(map(len, batch)) + _ELEMENT_HEAD_BYTES * len(batch) <= limits.RUN_BYTES_MAX:
        yield batch
        return
    part: list[bytes] = []
    part_bytes = 0
    for data in batch:
        if len(data) > limits.PAYLOAD_BYTES_MAX:
            raise _too_large(len(data))
        size = len(data) + _ELEMENT_HEAD_BYTES
        if part and part_bytes + size > limits.RUN_BYTES_MAX:
            yield part
            part, part_bytes = [], 0
        part.append(data)
        part_bytes += size
    yield part
