# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The mirror of proto/messages.hpp: one tuple per message, fields in the order of the wire.

A message is a tuple so that msgpack packs it in C. Lists are never changed once they are in one.
`payload`, where there is one, stands last and travels in a frame of its own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from flamepy._proto import limits
from flamepy._proto.errors import Code

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 0

Value = Any
"""What msgpack has: None, bool, int, float, str, list, dict."""


class Durability(IntEnum):
    """What an acknowledgement means, in rising order."""

    MEMORY = 0
    STORED = 1
    SYNCED = 2
    REPLICATED = 3


class SessionState(IntEnum):
    OPEN = 0
    SUSPENDED = 1
    CLOSING = 2
    CLOSED = 3
    DELETING = 4


class Run(NamedTuple):
    """A contiguous range of task ids of one session."""

    first: int
    count: int  # type: ignore[assignment]

    @property
    def end(self) -> int:
        return self.first + self.count

    def __str__(self) -> str:
        return str(self.first) if self.count == 1 else f"{self.first}-{self.end - 1}"


class ErrorReply(NamedTuple):
    """A request failed, or (request 0) something that had none. `submit` names the refused
    submit; of a `gap` the number that was expected."""

    request: int = 0
    code: Code = Code.OK
    message: str = ""
    retry_after_ms: int = 0
    uid: int = 0
    submit: int = 0


class Beat(NamedTuple):
    """Sent by the thread that does the work, every beat_ms, in both directions."""

    status: int = 0
    idle_ms: int = 0
    heard: int = 0
    """A client's: the broker's last message that it has received."""


class Resync(NamedTuple):
    """Messages of this link were lost, or the link is unknown. Answer: a new hello."""

    reason: str = ""


class Bye(NamedTuple):
    """The sender leaves: a client's subscriptions end."""

    reason: str = ""


class ClientHello(NamedTuple):
    """First on a link. Answer: Welcome, or ErrorReply."""

    protocol_minor: int = PROTOCOL_MINOR
    cluster: str = ""
    client: str = ""
    lineage: str = ""
    version: str = ""


class SessionSpec(NamedTuple):
    """What is chosen when a session is created; compared as a whole by open-or-create."""

    application: str = ""
    min_instances: int = 0
    max_instances: int = 0
    priority: int = 0
    durability: Durability = Durability.STORED
    retention: str = "ttl"
    results_ttl_ms: int = 0
    resources: str = ""
    batch_size: int = 1


FIELDS_MIN: dict[type[Any], int] = {SessionSpec: 8}
"""How many of its fields every peer sends; the others were added later and may be missing."""


class CreateSession(NamedTuple):
    """Answer: SessionInfo. payload: common data."""

    request: int = 0
    session: str = ""
    open_or_create: bool = False
    spec: SessionSpec = SessionSpec()
    payload: bytes = b""


class OpenSession(NamedTuple):
    """Answer: SessionInfo."""

    request: int = 0
    session: str = ""


class Submit(NamedTuple):
    """One run of inputs. Answer: SubmitAck, or ErrorReply with `submit`."""

    uid: int = 0
    number: int = 0
    count: int = 0  # type: ignore[assignment]
    sent_us: int = 0
    payload: bytes = b""


class Watch(NamedTuple):
    """Results from entry `index` of `done` on. Answer: Watching, then Results."""

    request: int = 0
    uid: int = 0
    index: int = 0  # type: ignore[assignment]
    window_bytes: int = limits.DELIVER_BYTES_MAX
    reader: str = ""
    lineage: str = ""


class ResultsAck(NamedTuple):
    """All entries below `index` are consumed. No answer."""

    uid: int = 0
    index: int = 0  # type: ignore[assignment]


class CloseSession(NamedTuple):
    """Pending tasks become cancelled, running ones finish. Answer: SessionInfo when recorded."""

    request: int = 0
    session: str = ""


class DeleteSession(NamedTuple):
    """Answer: Ok. Needs a closed session or `force`."""

    request: int = 0
    session: str = ""
    force: bool = False


class WaitSession(NamedTuple):
    """Answer: SessionInfo as soon as no task is pending or running (`closed`: when closed)."""

    request: int = 0
    session: str = ""
    closed: bool = False


class ListKind(NamedTuple):
    """kind: session, application or executor. Answer: Listing, oldest first."""

    request: int = 0
    kind: str = ""
    all: bool = False


class View(NamedTuple):
    """One thing with all that is known about it. Answer: Listing with one row."""

    request: int = 0
    kind: str = ""
    id: str = ""


class RegisterApplication(NamedTuple):
    """application: a map as in docs/applications.md. Answer: Ok."""

    request: int = 0
    application: Value = None


class UnregisterApplication(NamedTuple):
    """Answer: Ok, or wrong_state while a session of it is not closed."""

    request: int = 0
    name: str = ""


class Recover(NamedTuple):
    """After Redis lost confirmed writes: go on with what is there. Answer: Ok."""

    request: int = 0
    accept_loss: bool = False


class Welcome(NamedTuple):
    """Answer to the hello."""

    protocol_minor: int = PROTOCOL_MINOR
    version: str = ""
    cluster: str = ""
    epoch: str = ""
    lineage: str = ""
    beat_ms: int = limits.BEAT_MS
    lease_ms: int = limits.CLIENT_LEASE_MS
    payload_bytes_max: int = limits.PAYLOAD_BYTES_MAX
    serving: bool = True


class Ok(NamedTuple):
    """It is done, and recorded."""

    request: int = 0
    text: str = ""


class Counters(NamedTuple):
    tasks: int = 0
    pending: int = 0
    running: int = 0
    succeed: int = 0
    failed: int = 0
    cancelled: int = 0


class SessionInfo(NamedTuple):
    """`last_submit` is the highest number accepted from this client."""

    request: int = 0
    session: str = ""
    uid: int = 0
    spec: SessionSpec = SessionSpec()
    state: SessionState = SessionState.OPEN
    counters: Counters = Counters()
    last_submit: int = 0
    done_first: int = 0
    done_end: int = 0
    created_ms: int = 0
    closed_ms: int = 0


class SubmitAckItem(NamedTuple):
    number: int = 0
    run: Run = Run(0, 0)


class SubmitAck(NamedTuple):
    """The tasks' ids, and the durability that was reached before this was sent."""

    uid: int = 0
    level: Durability = Durability.STORED
    items: list[SubmitAckItem] = []


class Watching(NamedTuple):
    """`index` is above the one asked for only if entries before it were trimmed."""

    request: int = 0
    uid: int = 0
    index: int = 0  # type: ignore[assignment]
    done_end: int = 0


class TaskException(NamedTuple):
    """A task of the run that did not succeed. Its output element is empty."""

    id: int = 0
    code: Code = Code.TASK_FAILED
    reason: str = ""


class FrameTime(NamedTuple):
    """Tasks that went through the service in one frame, in us after the base time."""

    count: int = 0  # type: ignore[assignment]
    start_us: int = 0
    end_us: int = 0


class Results(NamedTuple):
    """Entry `index` of `done`. A watcher gets every entry once, in order."""

    uid: int = 0
    index: int = 0  # type: ignore[assignment]
    run: Run = Run(0, 0)
    executor: str = ""
    attempt: int = 0
    base_ms: int = 0
    times: list[FrameTime] = []
    exceptions: list[TaskException] = []
    stamps: list[int] = []
    payload: bytes = b""


class Listing(NamedTuple):
    """payload: rows (rows.py), maps with flat keys. `cut`: there were more than list_rows_max."""

    request: int = 0
    cut: bool = False
    payload: bytes = b""


class SessionChanged(NamedTuple):
    """To watchers, when the session's state changes."""

    uid: int = 0
    state: SessionState = SessionState.OPEN
    counters: Counters = Counters()
    done_end: int = 0
    reason: str = ""


class SlotBinding(NamedTuple):
    slot: int = 0
    generation: int = 0
    uid: int = 0


class SessionWindow(NamedTuple):
    uid: int = 0
    tasks: int = 0
    bytes: int = 0


class Ticket(NamedTuple):
    run: Run = Run(0, 0)
    attempt: int = 1
    epoch: str = ""
    token: str = ""


class HandRun(NamedTuple):
    uid: int = 0
    run: Run = Run(0, 0)
    ticket: Ticket = Ticket()


class HeldContext(NamedTuple):
    uid: int = 0
    version: int = 0


class ExecutorHello(NamedTuple):
    protocol_minor: int = PROTOCOL_MINOR
    cluster: str = ""
    executor: str = ""
    nonce: str = ""
    application: str = ""
    slots: int = 0
    address: str = ""
    version: str = ""
    bindings: list[SlotBinding] = []
    windows: list[SessionWindow] = []
    hand: list[HandRun] = []
    contexts: list[HeldContext] = []
    provider: str = ""


class Window(NamedTuple):
    windows: list[SessionWindow] = []


class TaskResults(NamedTuple):
    uid: int = 0
    run: Run = Run(0, 0)
    ticket: Ticket = Ticket()
    base_ms: int = 0
    times: list[FrameTime] = []
    exceptions: list[TaskException] = []
    window_tasks: int = 0
    window_bytes: int = 0
    payload: bytes = b""


class Returned(NamedTuple):
    uid: int = 0
    code: Code = Code.OK
    reason: str = ""
    runs: list[HandRun] = []


class Bound(NamedTuple):
    binding: SlotBinding = SlotBinding()
    code: Code = Code.OK
    reason: str = ""


class Draining(NamedTuple):
    reason: str = ""


class ExecutorWelcome(NamedTuple):
    protocol_minor: int = PROTOCOL_MINOR
    version: str = ""
    cluster: str = ""
    epoch: str = ""
    lineage: str = ""
    beat_ms: int = limits.BEAT_MS
    lease_ms: int = 3000


class SessionContext(NamedTuple):
    uid: int = 0
    session: str = ""
    application: Value = None
    owner: str = ""
    version: int = 0
    payload: bytes = b""


class Bind(NamedTuple):
    bindings: list[SlotBinding] = []


class Dispatch(NamedTuple):
    uid: int = 0
    ticket: Ticket = Ticket()
    payload: bytes = b""


class RecordedRun(NamedTuple):
    uid: int = 0
    run: Run = Run(0, 0)
    code: Code = Code.OK


class Recorded(NamedTuple):
    runs: list[RecordedRun] = []


class TakeBack(NamedTuple):
    uid: int = 0


class CancelRuns(NamedTuple):
    uid: int = 0
    runs: list[Run] = []


class CancelTasks(NamedTuple):
    """Tasks become cancelled: pending ones, and with `running` also those that executors have.
    Without runs: all. Answer: Cancelled."""

    request: int = 0
    session: str = ""
    runs: list[Run] = []
    running: bool = False


class GetTasks(NamedTuple):
    """Tasks as they are recorded, in the order of their ids, from `start` on. `states`: letters of
    those wanted (P R S F C), none for all. Answer: Tasks."""

    request: int = 0
    session: str = ""
    start: int = 1
    limit: int = 0
    states: str = ""
    payloads: bool = False


class Tasks(NamedTuple):
    """payload: rows (rows.py), each followed by the task's input and output where the row says so.
    `next`: where to go on; 0: there are no more."""

    request: int = 0
    next: int = 0
    payload: bytes = b""


class Cancelled(NamedTuple):
    """What CancelTasks did, in tasks."""

    request: int = 0
    uid: int = 0
    pending: int = 0
    running: int = 0


class UpdateApplication(NamedTuple):
    """Changes fields of an application, also while sessions of it are open. Answer: Ok."""

    request: int = 0
    name: str = ""
    changes: Value = None


class UpdateCommon(NamedTuple):
    """Other common data for a session that takes tasks. Answer: CommonData without payload;
    conflict if `if_version` is not 0 and not the present one."""

    request: int = 0
    session: str = ""
    if_version: int = 0
    payload: bytes = b""


class GetCommon(NamedTuple):
    """Answer: CommonData."""

    request: int = 0
    session: str = ""


class CommonData(NamedTuple):
    """`version` counts 1, 2, 3 ... from the session's creation on."""

    request: int = 0
    version: int = 0
    payload: bytes = b""


class WatchTask(NamedTuple):
    """One task, as soon as it is not any more what the client knows: `version` of the row that it
    has, or none. Answer: Tasks."""

    request: int = 0
    session: str = ""
    task: int = 0
    known: str = ""
    payloads: bool = False


class ProgressReport(NamedTuple):
    task: int = 0
    percent: int = 0
    text: str = ""


class Progress(NamedTuple):
    """What running tasks said of themselves last; to watchers of their session."""

    uid: int = 0
    reports: list[ProgressReport] = []


class TaskProgress(NamedTuple):
    uid: int = 0
    reports: list[ProgressReport] = []


class Hold(IntEnum):
    NONE = 0
    CORDONED = 1
    DRAINED = 2
    RESTING = 3


class HoldExecutor(NamedTuple):
    """Cordons, drains or frees an executor. Answer: Ok."""

    request: int = 0
    executor: str = ""
    hold: Hold = Hold.NONE


class PickVictims(NamedTuple):
    """Drains up to `count` executors that have nothing in hand. Answer: Listing of their rows."""

    request: int = 0
    application: str = ""
    count: int = 0  # type: ignore[assignment]
    idle_ms: int = 0
    executors: list[str] = []


class Drain(NamedTuple):
    reason: str = ""


class GetLogs(NamedTuple):
    """What the instances of a session wrote to stdout and stderr last; `task` 0: all. Answer:
    Logs."""

    request: int = 0
    session: str = ""
    task: int = 0


class Logs(NamedTuple):
    """payload: rows (rows.py), each followed by its text. `cut`: some were left out."""

    request: int = 0
    cut: bool = False
    payload: bytes = b""


class ReadOutput(NamedTuple):
    request: int = 0
    uid: int = 0
    task: int = 0


class Output(NamedTuple):
    request: int = 0
    payload: bytes = b""


Message = tuple[Any, ...]
"""Any of those below."""

MESSAGES: dict[int, tuple[str, type[Message]]] = {
    1: ("error", ErrorReply),
    2: ("beat", Beat),
    3: ("resync", Resync),
    4: ("bye", Bye),
    16: ("client_hello", ClientHello),
    17: ("create_session", CreateSession),
    18: ("open_session", OpenSession),
    19: ("submit", Submit),
    20: ("watch", Watch),
    21: ("results_ack", ResultsAck),
    22: ("close_session", CloseSession),
    23: ("delete_session", DeleteSession),
    24: ("wait_session", WaitSession),
    25: ("list", ListKind),
    26: ("view", View),
    27: ("register_application", RegisterApplication),
    28: ("unregister_application", UnregisterApplication),
    29: ("recover", Recover),
    30: ("cancel_tasks", CancelTasks),
    33: ("get_tasks", GetTasks),
    34: ("update_application", UpdateApplication),
    35: ("update_common", UpdateCommon),
    36: ("watch_task", WatchTask),
    37: ("hold_executor", HoldExecutor),
    39: ("get_common", GetCommon),
    40: ("get_logs", GetLogs),
    41: ("pick_victims", PickVictims),
    48: ("welcome", Welcome),
    49: ("ok", Ok),
    50: ("session_info", SessionInfo),
    51: ("submit_ack", SubmitAck),
    52: ("watching", Watching),
    53: ("results", Results),
    54: ("listing", Listing),
    55: ("session_changed", SessionChanged),
    56: ("progress", Progress),
    58: ("cancelled", Cancelled),
    59: ("tasks", Tasks),
    60: ("common_data", CommonData),
    61: ("logs", Logs),
    80: ("executor_hello", ExecutorHello),
    81: ("window", Window),
    82: ("task_results", TaskResults),
    83: ("returned", Returned),
    84: ("bound", Bound),
    85: ("draining", Draining),
    86: ("task_progress", TaskProgress),
    87: ("output", Output),
    104: ("executor_welcome", ExecutorWelcome),
    105: ("session_context", SessionContext),
    106: ("bind", Bind),
    107: ("dispatch", Dispatch),
    108: ("recorded", Recorded),
    109: ("take_back", TakeBack),
    110: ("cancel_runs", CancelRuns),
    111: ("drain", Drain),
    113: ("read_output", ReadOutput),
}
"""The permanent numbers."""

TYPE_OF: dict[type[Message], int] = {kind: number for number, (_, kind) in MESSAGES.items()}
