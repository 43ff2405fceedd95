# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""How an executor ends: by shutdown, when nobody has it any more, or with the program. As with the
standard executors what was submitted finishes before."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import threading
from typing import Callable, Optional

from flamepy._client import Connection
from flamepy._session import Session
from flamepy.errors import FlameError, FlameTimeoutError

_STEP_SECONDS = 5.0
"""A broker that is away for longer is not waited for at the end of a program."""

_Wait = Callable[[Optional[float]], object]


class ExecutorEnd:
    """Knows what there is to close, and not the executor."""

    def __init__(self, connection: Connection, own_connection: bool) -> None:
        self.session: Session | None = None
        self._connection = connection
        self._own_connection = own_connection
        _OPEN.add(self)

    def close(self, cancel: bool) -> None:
        """With `cancel` what has not started is cancelled."""
        _OPEN.discard(self)
        try:
            self._close_session(cancel, lambda wait: wait(None))
        except FlameError:
            if not self._own_connection:
                raise
        finally:
            if self._own_connection:
                self._connection.close()

    def close_soon(self, cancel: bool = False) -> None:
        """Not on this thread, which may be the connection's own; the program ends after it."""
        _OPEN.discard(self)
        if not self._connection._io.unusable:  # forked, for example
            threading.Thread(target=self.close_unattended, args=(cancel,)).start()

    def close_unattended(self, cancel: bool = False) -> None:
        _OPEN.discard(self)
        if self._connection._io.unusable:
            return
        try:
            with contextlib.suppress(FlameError):
                self._close_session(cancel, self._patiently)
        finally:
            if self._own_connection:
                self._connection._io.close(_STEP_SECONDS)

    def _close_session(self, cancel: bool, until_done: Callable[[_Wait], object]) -> None:
        session = self.session
        if session is None:
            return
        try:
            if not cancel:
                until_done(session.wait)
        except KeyboardInterrupt:  # nor should the cluster go on
            session.close()
            raise
        session.close()
        until_done(session.drain)

    def _patiently(self, wait: _Wait) -> None:
        while True:
            try:
                wait(_STEP_SECONDS)
                return
            except (FlameTimeoutError, concurrent.futures.TimeoutError):
                if not threading.main_thread().is_alive():
                    self._connection._io.wait_until_up(_STEP_SECONDS)


_OPEN: set[ExecutorEnd] = set()


def _end_all() -> None:
    for end in list(_OPEN):
        end.close_unattended()


# After that of the connections, and so before it at the end.
atexit.register(_end_all)
