# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""concurrent.futures' wait and as_completed, with a progress bar."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Iterator
from concurrent.futures._base import DoneAndNotDoneFutures
from typing import Any, TypeVar

from flamepy._progress import progress_of

T = TypeVar("T")
F = TypeVar("F", bound="concurrent.futures.Future[Any]")


def as_completed(
    fs: Iterable[F], timeout: float | None = None, *, progress: bool | str = False
) -> Iterator[F]:
    """As concurrent.futures.as_completed; `progress` is True, or a label for the bar."""
    futures = set(fs)
    completed: Iterator[Any] = concurrent.futures.as_completed(futures, timeout)
    with progress_of(progress, len(futures)) as bar:
        for done, future in enumerate(completed, 1):
            bar.show(done)
            yield future


def wait(
    fs: Iterable[concurrent.futures.Future[T]],
    timeout: float | None = None,
    return_when: str = concurrent.futures.ALL_COMPLETED,
    *,
    progress: bool | str = False,
) -> DoneAndNotDoneFutures[T]:
    """As concurrent.futures.wait. The bar is for ALL_COMPLETED."""
    futures = set(fs)
    if progress and return_when == concurrent.futures.ALL_COMPLETED:
        try:
            for _ in as_completed(futures, timeout, progress=progress):
                pass
        except concurrent.futures.TimeoutError:
            timeout = 0
    return concurrent.futures.wait(futures, timeout, return_when)
