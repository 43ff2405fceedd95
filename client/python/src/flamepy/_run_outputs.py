# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Reads the outputs of a run for the maps: as a whole where it is done soon, else as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flamepy._future import failure_of
from flamepy._proto.errors import Error
from flamepy._run_state import Decode, RunState

SOON_SECONDS = 0.05
"""How long a map waits for a whole run, which it reads for the price of one part of it."""


def outputs_of_run(run: RunState, begin: int, end: int) -> Iterable[Any]:
    """Those from `begin` to before `end`, which are there; the first failed task raises. In the
    usual case nothing in Python is done per task."""
    outputs = run.outputs
    assert outputs is not None
    if end == run.count:
        run.outputs = None  # read once
    if end - begin != run.count:
        outputs = outputs[begin:end]
    if run.failed:
        return _until_failed(run, begin, outputs)
    return outputs if run.decode is None else map(run.decode, outputs)


def _until_failed(run: RunState, begin: int, outputs: list[Any]) -> Iterator[Any]:
    decode: Decode = run.decode or bytes
    for index, output in enumerate(outputs, begin):
        if type(output) is Error:
            raise failure_of(run, index, output)
        yield decode(output)
