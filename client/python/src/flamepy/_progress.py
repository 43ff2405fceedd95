# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Progress of many tasks for a person: a bar of tqdm where it is installed, else one of rich, else
a plain line on a terminal. Neither is a dependency, nor imported before a bar is wanted."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable

STEP_SECONDS = 0.1
"""How often whoever waits looks at how far it is."""


class Progress:
    """Shows nothing; the others derive from it. A context that ends with the waiting, so that a
    bar does not stay behind an exception."""

    wanted = False
    _looked = 0.0

    def due(self) -> bool:
        """For those who have to count first."""
        now = time.monotonic()
        if not self.wanted or now - self._looked < STEP_SECONDS:
            return False
        self._looked = now
        return True

    def show(self, done: int) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Shown(Progress):
    wanted = True


class _Tqdm(_Shown):
    def __init__(self, total: int | None, label: str) -> None:
        from tqdm.auto import tqdm  # also knows notebooks

        self._bar: Any = tqdm(total=total, desc=label or None, unit="task")

    def show(self, done: int) -> None:
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Rich(_Shown):
    def __init__(self, total: int | None, label: str) -> None:
        from rich import progress
        from rich.console import Console

        self._bar: Any = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(label or "tasks", total=total)
        self._bar.start()

    def show(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def close(self) -> None:
        self._bar.stop()


class _Line(_Shown):
    """`label 1,234/10,000 tasks, 12 %, 4,000/s`, written over itself."""

    def __init__(self, total: int | None, label: str) -> None:
        self._total = total
        self._label = label + ": " if label else ""
        self._began = time.monotonic()
        self._shown = -STEP_SECONDS
        self._done = 0
        self._write()

    def show(self, done: int) -> None:
        self._done = done
        if time.monotonic() - self._shown >= STEP_SECONDS:
            self._write()

    def _write(self) -> None:
        self._shown = time.monotonic()
        rate = self._done / max(self._shown - self._began, 1e-3)
        text = f"{self._label}{self._done:,}"
        if self._total:
            text += f"/{self._total:,} tasks, {100 * self._done // self._total} %"
        else:
            text += " tasks"
        sys.stderr.write(f"\r{text}, {rate:,.0f}/s\x1b[K")
        sys.stderr.flush()

    def close(self) -> None:
        self._write()
        sys.stderr.write("\n")


def progress_of(wanted: bool | str, total: int | None) -> Progress:
    """`wanted` is True, or a label for it, or False. `total` None: not known."""
    if not wanted:
        return Progress()
    label = wanted if isinstance(wanted, str) else ""
    for kind in (_Tqdm, _Rich):
        try:
            return kind(total, label)
        except ImportError:
            continue
    return _Line(total, label) if sys.stderr.isatty() else Progress()


def wait_and_show(
    wait: Callable[[float | None], bool], deadline: float | None, look: Callable[[], None] | None
) -> bool:
    """`wait` says within so many seconds whether it is over; `look` is called now and again
    meanwhile. False: the time is over."""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if look is None:
            return wait(left)
        step = STEP_SECONDS if left is None else min(left, STEP_SECONDS)
        if wait(step):
            return True
        if left is not None and left <= step:
            return False
        look()
