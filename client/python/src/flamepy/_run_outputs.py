# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Reads a run that is done as a whole, for the maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

from flamepy._future import failure_of
from flamepy._proto.errors import Error
from flamepy._run_state import Decode, RunState


def outputs_of_run(run: RunState) -> Iterable[Any]:
    """Its outputs in their order, once; the first failed task raises. In the usual case nothing in
    Python is done per task."""
    outputs, run.outputs = run.outputs, None
    assert outputs is not None
    if run.failed:
        return _until_failed(run, outputs)
    return outputs if run.decode is None else map(run.decode, outputs)


def outputs_so_far(run: RunState) -> Iterator[Any]:
    """The first ones of a run that is not done, up to one that is missing."""
    return _until_failed(run, list(takewhile(lambda output: output is not None, run.outputs or ())))


def _until_failed(run: RunState, outputs: list[Any]) -> Iterator[Any]:
    decode: Decode = run.decode or bytes
    for index, output in enumerate(outputs):
        if type(output) is Error:
            raise failure_of(run, index, output)
        yield decode(output)
