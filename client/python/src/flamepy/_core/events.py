# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What happens to a client and what it does about it, as values: the shell feeds events to
ClientCore and performs the actions in their order."""

from __future__ import annotations

from typing import Any, NamedTuple, Union

from flamepy._proto.codec import Decoded
from flamepy._proto.errors import Error
from flamepy._proto.messages import (
    Durability,
    Message,
    Progress,
    Results,
    Run,
    SessionChanged,
    SessionInfo,
    Welcome,
)

NEVER = 2**63 - 1
"""A time in us that does not come."""

# ---- events --------------------------------------------------------------------------------------


class Tick(NamedTuple):
    """A deadline passed (or may have: it does no harm)."""


Received = Decoded
"""A message came."""


class SendFailed(NamedTuple):
    """The socket took no message: nothing is connected. Later sends of the batch are dropped."""


class Unsendable(NamedTuple):
    """This message cannot be encoded. What was sent in its place means nothing."""

    message: Message
    reason: str


class Request(NamedTuple):
    """A message with a `request` field, which the core fills in."""

    ticket: int
    """Chosen by the caller, returned with the answer. 0 is the core's own."""
    message: Any
    timeout_us: int = NEVER
    repeatable: bool = True
    """May be sent again on a new link without asking."""
    drawn_name: bool = False
    """CreateSession only: the name was drawn by us, so finding it taken after a resend means that
    it is ours."""


class Forget(NamedTuple):
    """Nobody waits for the answer to this request any more."""

    ticket: int


class Attach(NamedTuple):
    """From now on submits and results of this session are handled."""

    info: SessionInfo


class Detach(NamedTuple):
    uid: int


class SubmitRun(NamedTuple):
    """One run. Only while there is room(uid). `ticket` comes back with its acknowledgement."""

    uid: int
    ticket: int
    count: int  # type: ignore[assignment]
    payload: bytes


class WatchFrom(NamedTuple):
    """Results from `index` on. Without a lineage the index is from now."""

    uid: int
    index: int  # type: ignore[assignment]
    reader: str = ""
    lineage: str = ""


class Consumed(NamedTuple):
    """Everything delivered below `index` has been used."""

    uid: int
    index: int  # type: ignore[assignment]


class Leave(NamedTuple):
    """Say goodbye; nothing follows."""


Event = Union[
    Tick,
    Received,
    SendFailed,
    Unsendable,
    Request,
    Forget,
    Attach,
    Detach,
    SubmitRun,
    WatchFrom,
    Consumed,
    Leave,
]

# ---- actions -------------------------------------------------------------------------------------


class OpenSocket(NamedTuple):
    """Close the socket if there is one, make a new one and connect it."""


class Send(NamedTuple):
    link: int
    sequence: int
    message: Message


class Answer(NamedTuple):
    ticket: int
    result: Any
    """The reply, or an Error."""


class Submitted(NamedTuple):
    uid: int
    ticket: int
    run: Run
    level: Durability


class SubmitFailed(NamedTuple):
    uid: int
    ticket: int
    error: Error


class Trimmed(NamedTuple):
    """The entries [begin, end) are not kept any more."""

    uid: int
    begin: int
    end: int


class WatchFailed(NamedTuple):
    uid: int
    error: Error


class Lost(NamedTuple):
    """Tasks that were acknowledged and that the broker does not know any more. Their ids may be
    given out again."""

    uid: int
    run: Run


class LinkUp(NamedTuple):
    welcome: Welcome


class LinkDown(NamedTuple):
    reason: str


class Rejected(NamedTuple):
    """The broker refuses us for good: other version, other cluster."""

    error: Error


Action = Union[
    OpenSocket,
    Send,
    Answer,
    Submitted,
    SubmitFailed,
    Results,  # the next entry of `done`: each index once, in order (until a watch moves back)
    Trimmed,
    WatchFailed,
    SessionChanged,  # as the broker has it: after a change and after every reconnect
    Progress,  # of the running tasks of a watched session
    Lost,
    LinkUp,
    LinkDown,
    Rejected,
]
