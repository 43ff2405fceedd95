# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What the client can ask a broker: the message of each verb, and what its answer means. The
synchronous and the asynchronous client send the same ones, each in its way."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable, Generic, NamedTuple, TypeVar

from flamepy._html import Rows
from flamepy._proto import limits
from flamepy._proto import messages as m
from flamepy._proto.rows import decode_logs, decode_rows, decode_tasks
from flamepy._types import (
    Application,
    ApplicationAttributes,
    Event,
    Executor,
    InstanceLog,
    Node,
    SessionAttributes,
    Task,
    TaskState,
    VersionedData,
    short_name,
)
from flamepy.errors import Code, FlameError, FlameErrorCode, TooLargeError

T = TypeVar("T")
FOR_EVER = 10.0 * 365 * 86_400
"""The time-out of a request that has none."""
WHY_SECONDS = 0.5
"""The time-out of `why_it_waits`."""


@dataclass(frozen=True)
class Ask(Generic[T]):
    message: Any
    meaning: Callable[[Any], T]


class CancelledTasks(NamedTuple):
    """What a cancel did; what had finished is in neither."""

    pending: int
    running: int


# ---- sessions ------------------------------------------------------------------------------------


def create_session(attributes: SessionAttributes, open_or_create: bool) -> m.CreateSession:
    common = checked_common(attributes.common_data)
    name = attributes.id or short_name(attributes.application)
    return m.CreateSession(0, name, open_or_create, _spec_of(attributes), common)


@contextlib.contextmanager
def other_spec() -> Iterator[None]:
    """To open with a spec that is not the session's is an argument that is wrong, as in flamepy
    0.6."""
    try:
        yield
    except FlameError as error:
        if error.kind is Code.ALREADY_EXISTS:
            error.code = FlameErrorCode.INVALID_ARGUMENT
        raise


def checked_common(common: bytes | None) -> bytes:
    if common is not None and not isinstance(common, (bytes, bytearray, memoryview)):
        text = f"common data is bytes, not {type(common).__name__}"
        raise FlameError(Code.BAD_REQUEST, text)
    common = bytes(common or b"")
    if len(common) > limits.COMMON_BYTES_MAX:
        raise TooLargeError(
            Code.TOO_LARGE,
            f"common data of {len(common)} bytes; at most {limits.COMMON_BYTES_MAX}",
        )
    return common


def _spec_of(attributes: SessionAttributes) -> m.SessionSpec:
    return m.SessionSpec(
        application=attributes.application,
        min_instances=attributes.min_instances,
        max_instances=attributes.max_instances or 0,
        priority=attributes.priority,
        batch_size=attributes.batch_size or 1,
        durability=attributes.durability,
        retention=attributes.retention,
        results_ttl_ms=int((attributes.results_ttl or 0) * 1000),
        resources=str(attributes.resreq or ""),
    )


def session_info(session_id: str) -> Ask[m.SessionInfo]:
    return Ask(m.OpenSession(0, session_id), _as_it_is)


def session_events(session_id: str) -> Ask[list[Event]]:
    def meaning(found: m.Listing) -> list[Event]:
        return [Event.from_row(row) for row in decode_rows(found.payload)[0].get("events", [])]

    return Ask(m.View(0, "session", session_id), meaning)


def why_it_waits(session_id: str) -> Ask[str]:
    """Behind the text of a time-out: the last failed start of its service, else what keeps it."""

    def meaning(found: m.Listing) -> str:
        row = decode_rows(found.payload)[0]
        return f"; session '{session_id}': {row['reason'] or row['why']}"

    return Ask(m.View(0, "session", session_id), meaning)


def list_sessions() -> Ask[Rows[m.SessionInfo]]:
    return _list("session", _info_of_row)


def close_session(session_id: str) -> Ask[m.SessionInfo]:
    return Ask(m.CloseSession(0, session_id), _as_it_is)


def delete_session(session_id: str, force: bool) -> Ask[None]:
    return Ask(m.DeleteSession(0, session_id, force), _nothing)


def wait_session(session_id: str) -> Ask[m.SessionInfo]:
    return Ask(m.WaitSession(0, session_id, False), _as_it_is)


def cancel_tasks(
    session_id: str, tasks: Iterable[int | range] | None, running: bool
) -> Ask[CancelledTasks] | None:
    """Nothing where there is nothing to cancel."""
    runs = None if tasks is None else [_run_of(task) for task in tasks]
    if runs is not None and not runs:
        return None
    return Ask(
        m.CancelTasks(0, session_id, runs or [], running),
        lambda answer: CancelledTasks(answer.pending, answer.running),
    )


def cancel_together(session_id: str, tasks: list[range], running: bool) -> Iterator[m.CancelTasks]:
    """Many single tasks and small ranges, in as few requests as there have to be."""
    runs = [_run_of(part) for part in _joined(sorted(tasks, key=lambda part: part.start))]
    for at in range(0, len(runs), limits.CANCEL_RUNS_MAX):
        part = runs[at : at + limits.CANCEL_RUNS_MAX]
        yield m.CancelTasks(0, session_id, part, running)


def _joined(parts: list[range]) -> list[range]:
    """Neighbours as one."""
    joined = parts[:1]
    for part in parts[1:]:
        if part.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, part.stop))
        else:
            joined.append(part)
    return joined


class TaskPage(NamedTuple):
    tasks: list[Task]
    next: int
    """Where to go on; 0: there are no more."""


def get_tasks(
    session_id: str, start: int, limit: int, states: Iterable[TaskState], payloads: bool
) -> Ask[TaskPage]:
    letters = "".join(state.name[0] for state in states)

    def page(answer: m.Tasks) -> TaskPage:
        rows = decode_tasks(answer.payload)
        return TaskPage([Task.from_row(session_id, *row) for row in rows], answer.next)

    return Ask(m.GetTasks(0, session_id, start, limit, letters, payloads), page)


def get_task(session_id: str, task_id: int | str) -> Ask[Task]:
    number = int(task_id)

    def only(page: TaskPage) -> Task:
        if page.tasks and page.tasks[0].id == str(number):
            return page.tasks[0]
        raise FlameError(
            Code.NOT_FOUND,
            f"session {session_id} has no task {number}, or it is not recorded any more",
        )

    ask = get_tasks(session_id, number, 1, (), True)
    return Ask(ask.message, lambda answer: only(ask.meaning(answer)))


def watch_task(session_id: str, task_id: int | str, known: str) -> Ask[Task]:
    def only(answer: m.Tasks) -> Task:
        return Task.from_row(session_id, *decode_tasks(answer.payload)[0])

    return Ask(m.WatchTask(0, session_id, int(task_id), known, True), only)


def get_common(session_id: str) -> Ask[VersionedData]:
    def meaning(answer: m.CommonData) -> VersionedData:
        return VersionedData(answer.payload or None, answer.version)

    return Ask(m.GetCommon(0, session_id), meaning)


def update_common(session_id: str, data: bytes | None, if_version: int) -> Ask[int]:
    message = m.UpdateCommon(0, session_id, if_version, checked_common(data))
    return Ask(message, lambda answer: int(answer.version))


def get_logs(session_id: str, task_id: int | str | None) -> Ask[list[InstanceLog]]:
    def meaning(answer: m.Logs) -> list[InstanceLog]:
        logs = [
            InstanceLog(
                row.get("executor", ""),
                row.get("instance", 0),
                row.get("running", False),
                text.decode(errors="replace"),
                row.get("error", ""),
            )
            for row, text in decode_logs(answer.payload)
        ]
        return sorted(logs, key=lambda log: (log.executor, log.instance))

    return Ask(m.GetLogs(0, session_id, int(task_id or 0)), meaning)


def _run_of(tasks: int | range) -> m.Run:
    if isinstance(tasks, range):
        if tasks.step != 1 or not tasks:
            raise ValueError(f"a range of tasks has step 1 and is not empty: {tasks}")
        return m.Run(tasks.start, len(tasks))
    return m.Run(int(tasks), 1)


def _info_of_row(row: dict[str, Any]) -> m.SessionInfo:
    counters = m.Counters(*(int(row.get(name, 0)) for name in m.Counters._fields))
    shown = {name: row[name] for name in m.SessionSpec._fields if name in row}
    if "durability" in shown:
        shown["durability"] = m.Durability[shown["durability"].upper()]
    return m.SessionInfo(
        session=row["id"],
        spec=m.SessionSpec(**shown),
        state=m.SessionState[str(row.get("state", "Open")).upper()],
        counters=counters,
        created_ms=int(row.get("created", 0)),
        closed_ms=int(row.get("closed", 0)),
    )


# ---- applications, executors ---------------------------------------------------------------------


def register_application(
    name: str, attributes: ApplicationAttributes | dict[str, Any]
) -> Ask[None]:
    if isinstance(attributes, dict):
        attributes = ApplicationAttributes(**attributes)
    return Ask(m.RegisterApplication(0, attributes.to_value(name)), _nothing)


def unregister_application(name: str) -> Ask[None]:
    return Ask(m.UnregisterApplication(0, name), _nothing)


def get_application(name: str) -> Ask[Application]:
    return Ask(m.View(0, "application", name), _first_application)


def list_applications() -> Ask[Rows[Application]]:
    return _list("application", Application.from_row)


def update_application(name: str, changes: dict[str, Any]) -> Ask[None]:
    return Ask(m.UpdateApplication(0, name, ApplicationAttributes.changes(changes)), _nothing)


def list_executors() -> Ask[Rows[Executor]]:
    return _list("executor", Executor.from_row)


def hold_executor(executor_id: str, hold: m.Hold) -> Ask[None]:
    return Ask(m.HoldExecutor(0, executor_id, hold), _nothing)


def list_nodes() -> Ask[Rows[Node]]:
    return _list("node", Node.from_row)


def _list(kind: str, from_row: Callable[[dict[str, Any]], T]) -> Ask[Rows[T]]:
    def meaning(found: m.Listing) -> Rows[T]:
        rows = Rows(map(from_row, decode_rows(found.payload)))
        if found.cut:
            logging.getLogger("flamepy").warning(
                "%d %ss are listed, and there are older ones", len(rows), kind
            )
        return rows

    return Ask(m.ListKind(0, kind), meaning)


def _first_application(found: m.Listing) -> Application:
    return Application.from_row(decode_rows(found.payload)[0])


def _as_it_is(answer: Any) -> Any:
    return answer


def _nothing(_: Any) -> None:
    return None
