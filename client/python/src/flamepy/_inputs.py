# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Inputs of tasks on their way into runs: checked, cut, packed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, Callable

from flamepy._proto import limits
from flamepy._proto.elements import pack_elements
from flamepy._run_state import RunState
from flamepy._submit_queue import SubmitQueue
from flamepy.errors import Code, FlameError, TooLargeError

_ELEMENT_HEAD_BYTES = 5
_STEP_MAX = 128
_RUNS_AHEAD = 64


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
    """Submits as it is read, in runs of `size` or of as many as a run has bytes for."""
    for batch in in_batches(inputs, size, _all_bytes):
        for part in _parts_of(batch):
            run = make()
            run.count = len(part)
            queue.add_run(run, pack_elements(part), may_block)
            yield run


def fill(ahead: deque[RunState], runs: Iterator[RunState], buffersize: int) -> Iterator[RunState]:
    """Takes runs until `buffersize` tasks are ahead; of large inputs, of which a run has few, until
    so many runs are as those tasks would need, or 64."""
    tasks = sum(run.count for run in ahead)
    most = max(_RUNS_AHEAD, -(-buffersize // limits.RUN_TASKS_MAX))
    while tasks < buffersize and len(ahead) < most:
        run = next(runs, None)
        if run is None:
            return
        ahead.append(run)
        tasks += run.count
        yield run


def in_batches(
    items: Iterator[Any], size: int, pack: Callable[[list[Any]], list[bytes]]
) -> Iterator[list[bytes]]:
    """What `pack` makes of `size` items, or of as many as fill a run. It gets some at a time, so
    that the usual case runs in C: as many as are expected to fit, and not too many, for the next
    ones may be larger than those before."""
    step = 1
    while True:
        batch: list[bytes] = []
        batch_bytes = 0
        while step > 0:
            packed = pack(list(islice(items, step)))
            if not packed:
                break
            batch += packed
            batch_bytes += sum(map(len, packed)) + _ELEMENT_HEAD_BYTES * len(packed)
            fit = (limits.RUN_BYTES_MAX - batch_bytes) * len(batch) // batch_bytes
            step = min(2 * step, _STEP_MAX, size - len(batch), fit)
        if not batch:
            return
        yield batch
        step = min(_STEP_MAX, size, limits.RUN_BYTES_MAX * len(batch) // batch_bytes) or 1


def _all_bytes(batch: list[Any]) -> list[bytes]:
    return batch if set(map(type, batch)) == {bytes} else [_bytes_of(data) for data in batch]


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
    """Cut so that no part is above run_bytes_max but a single large input. Only a batch that is
    above is looked at input by input."""
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
