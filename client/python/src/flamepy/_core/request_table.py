# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Requests that wait for their answer: resent on a new link where that is safe, repeated while the
broker says "later", and given up at their deadline."""

from __future__ import annotations

from typing import Any

from flamepy._core.events import NEVER, Request
from flamepy._proto.errors import NO_ERROR, Code, Error
from flamepy._proto.messages import CreateSession, ErrorReply

_RETRY_MS_DEFAULT = 100
_NO_ANSWER = Error(
    Code.TIMEOUT,
    "the broker did not answer in time; the request may still take effect, repeating it is safe",
)
_BROKEN = Error(
    Code.TIMEOUT,
    "the connection broke before the answer came; look whether the request took effect before "
    "repeating it",
)

Failed = list[tuple[int, Error]]
"""Tickets and what became of them."""


class _Pending:
    def __init__(self, request: Request, message: Any, deadline_us: int, due_us: int) -> None:
        self.request = request
        self.message = message
        self.deadline_us = deadline_us
        self.due_us = due_us  # NEVER: sent, waits for its answer
        self.ever_sent = False
        self.last = NO_ERROR  # what "later" was about


class RequestTable:
    def __init__(self) -> None:
        self._pending: dict[int, _Pending] = {}
        self._next = 1

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, request: Request, now_us: int) -> int:
        """The request's number on the wire, unique within the client."""
        number = self._next
        self._next += 1
        deadline_us = NEVER if request.timeout_us >= NEVER else now_us + request.timeout_us
        message = request.message._replace(request=number)
        self._pending[number] = _Pending(request, message, deadline_us, now_us)
        return number

    def due(self, now_us: int) -> list[Any]:
        """The messages that are to be sent now; they count as sent."""
        messages: list[Any] = []
        for pending in self._pending.values():
            if pending.due_us > now_us:
                continue
            pending.due_us = NEVER
            again = pending.ever_sent and pending.request.drawn_name
            if again and isinstance(pending.message, CreateSession):
                pending.message = pending.message._replace(open_or_create=True)
            pending.ever_sent = True
            messages.append(pending.message)
        return messages

    def deadline(self, up: bool) -> int:
        """The next time-out or, where the link is up, sending."""
        at = NEVER
        for pending in self._pending.values():
            at = min(at, pending.deadline_us, pending.due_us if up else NEVER)
        return at

    def answer(self, number: int) -> int | None:
        """The ticket of the answered request, which is gone then."""
        pending = self._pending.pop(number, None)
        return None if pending is None else pending.request.ticket

    def forget(self, ticket: int) -> None:
        """What was sent is not taken back; its answer will be of no request that is known."""
        for number, pending in self._pending.items():
            if pending.request.ticket == ticket:
                del self._pending[number]
                return

    def retry_later(self, reply: ErrorReply, now_us: int) -> bool:
        """True if the request was kept and is repeated later; else the caller answers it."""
        pending = self._pending.get(reply.request)
        # lost_lineage needs a person, so it is an answer; the others pass by themselves.
        passes = reply.code.retry == "later" and reply.code is not Code.LOST_LINEAGE
        if pending is None or not passes:
            return False
        pending.due_us = now_us + (reply.retry_after_ms or _RETRY_MS_DEFAULT) * 1000
        pending.last = Error(reply.code, reply.message, reply.retry_after_ms)
        return pending.due_us < pending.deadline_us

    def held_up(self, reason: Error) -> None:
        """The broker has taken them and cannot record them for now: what a time-out will say. OK:
        it can again."""
        if reason.code is not Code.OK:
            text = f"{reason.message}; the request was taken and may still take effect"
            reason = Error(reason.code, text, reason.retry_after_ms)
        for pending in self._pending.values():
            if pending.ever_sent and pending.due_us == NEVER:
                pending.last = reason

    def expire(self, now_us: int, link_down: Error) -> Failed:
        """Removes those whose deadline passed. `link_down` is their error while there is no link,
        else OK."""
        failed: Failed = []
        if not self._pending:
            return failed
        for number, pending in list(self._pending.items()):
            if pending.deadline_us > now_us:
                continue
            errors = (link_down, pending.last, _NO_ANSWER)
            error = next(error for error in errors if error.code is not Code.OK)
            failed.append((pending.request.ticket, error))
            del self._pending[number]
        return failed

    def link_lost(self) -> Failed:
        """Removes those that were sent and must not be sent again; the others are due on the next
        link."""
        failed: Failed = []
        for number, pending in list(self._pending.items()):
            if not pending.ever_sent or pending.request.repeatable:
                pending.due_us = 0
            else:
                failed.append((pending.request.ticket, _BROKEN))
                del self._pending[number]
        return failed

    def fail_all(self, error: Error) -> Failed:
        failed = [(pending.request.ticket, error) for pending in self._pending.values()]
        self._pending.clear()
        return failed
