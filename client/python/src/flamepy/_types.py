# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Names, data classes and enumerations, as in flamepy 0.6 where they exist there."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import IntEnum
from typing import Any, NamedTuple, Union

from flamepy._html import html_of
from flamepy._proto import messages as m
from flamepy._proto.errors import Code
from flamepy.errors import FlameError

TaskID = str
SessionID = str
ApplicationID = str
Message = bytes
TaskInput = Message
TaskOutput = Message
CommonData = Message


class SessionState(IntEnum):
    OPEN = 0
    CLOSED = 1
    SUSPENDED = 2
    CLOSING = 3
    DELETING = 4


class TaskState(IntEnum):
    PENDING = 0
    RUNNING = 1
    SUCCEED = 2
    FAILED = 3
    CANCELLED = 4


class ApplicationState(IntEnum):
    ENABLED = 0
    DISABLED = 1


class Shim(IntEnum):
    """The first two as in flamepy 0.6: HOST is the shim "grpc" here, for services written for that
    package, and WASM is refused. A shim may be said by its name too."""

    HOST = 0
    WASM = 1
    GRPC = 0
    NATIVE = 2
    SHELL = 3
    STDIO = 4
    REST = 5
    LIBRARY = 6


ShimName = Union[Shim, str]
"""A name where the broker is newer than this package."""


def _word_of(shim: Any) -> Any:
    return shim.name.lower() if isinstance(shim, Shim) else shim


def _shim_of(word: str) -> ShimName:
    return Shim.__members__.get(word.upper(), word)


Durability = m.Durability


@dataclass
class ResourceRequirement:
    """Kept and shown; not acting yet."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def __str__(self) -> str:
        return f"cpu={self.cpu},mem={self.memory},gpu={self.gpu}"

    @classmethod
    def from_string(cls, s: str) -> ResourceRequirement:
        """Of `cpu=2,mem=16g,gpu=1`; what is missing is 0."""
        found = cls()
        for part in s.split(","):
            key, separator, value = (word.strip() for word in part.partition("="))
            name = {"mem": "memory"}.get(key.lower(), key.lower())
            if name not in ("cpu", "memory", "gpu") or not separator or not value:
                raise ValueError(f"'{part}' is no resource; one looks like cpu=2,mem=16g,gpu=1")
            setattr(found, name, cls._parse_memory(value) if name == "memory" else int(value))
        return found

    @staticmethod
    def _parse_memory(s: str) -> int:
        """Bytes of `16g`, `16GB` or `16Gi`: all are powers of 1024."""
        found = re.fullmatch(r"(\d+)\s*(?:([kmgtp])i?b?)?", s.strip().lower())
        if found is None:
            raise ValueError(f"'{s}' is no size of memory; one looks like 16g")
        return int(found[1]) << 10 * (" kmgtp".index(found[2]) if found[2] else 0)


@dataclass
class SessionAttributes:
    """What a session is created with. `batch_size`, `priority` and `resreq` are kept and shown, and
    do not act yet."""

    application: str
    id: str | None = None
    common_data: bytes | None = None
    min_instances: int = 0
    max_instances: int | None = None
    batch_size: int = 1
    resreq: ResourceRequirement | str | None = None
    priority: int = 0
    durability: Durability = m.Durability.STORED
    retention: str = "ttl"
    """"ttl": results are kept `results_ttl` after close; "read": until every reader had them."""
    results_ttl: float | None = None
    """Seconds; without it the application's."""


@dataclass
class ApplicationSchema:
    """JSON schemas; kept and shown, not acting yet."""

    input: str | None = None
    output: str | None = None
    common_data: str | None = None

    def to_value(self) -> dict[str, str]:
        return {name: text for name, text in vars(self).items() if text and text.strip()}


@dataclass
class ApplicationAttributes:
    """The fields of docs/applications.md. What is None is left to the broker's default."""

    shim: ShimName | None = None
    image: str | None = None
    description: str | None = None
    labels: list[str] | None = None
    command: str | None = None
    arguments: list[str] | None = None
    environments: dict[str, str] | None = None
    working_directory: str | None = None
    max_instances: int | None = None
    delay_release: int | None = None
    schema: ApplicationSchema | None = None
    url: str | None = None
    installer: str | None = None
    task_timeout_ms: int | None = None
    max_attempts: int | None = None
    reuse: str | None = None
    concurrency: int | None = None
    rest: dict[str, Any] | None = None
    results_ttl_ms: int | None = None
    summary_ttl_ms: int | None = None
    delay_release_ms: int | None = None
    resources: Any = None
    kubernetes: dict[str, Any] | None = None

    def to_value(self, name: str) -> dict[str, Any]:
        given = {key: item for key, item in vars(self).items() if item is not None}
        return {"name": name, **_plain(given)}

    @classmethod
    def changes(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Of an update: only these; None is the default again."""
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise TypeError(f"an application has no {', '.join(sorted(unknown))}")
        return _plain(fields)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Without enumerations and classes."""
    value = dict(fields)
    if "shim" in value:
        value["shim"] = _word_of(value["shim"])
    if isinstance(value.get("schema"), ApplicationSchema):
        value["schema"] = value["schema"].to_value()
    return value


class _Shown:
    """What of a data class is set, as a table in a notebook."""

    def columns(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value not in (None, [], {})}

    def _repr_html_(self) -> str:
        return html_of(self.columns())


@dataclass
class Application(_Shown):
    id: ApplicationID
    name: str
    state: ApplicationState = ApplicationState.ENABLED
    creation_time: datetime | None = None
    """The broker keeps no such time."""
    shim: ShimName = Shim.NATIVE
    image: str | None = None
    description: str | None = None
    labels: list[str] = field(default_factory=list)
    command: str | None = None
    arguments: list[str] = field(default_factory=list)
    environments: dict[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    max_instances: int | None = None
    delay_release: int | None = None
    schema: ApplicationSchema | None = None
    url: str | None = None
    installer: str | None = None
    max_attempts: int | None = None
    task_timeout_ms: int | None = None
    reuse: str | None = None
    concurrency: int = 1
    rest: dict[str, Any] | None = None
    results_ttl_ms: int | None = None
    summary_ttl_ms: int | None = None
    delay_release_ms: int | None = None
    resources: Any = None
    kubernetes: dict[str, Any] | None = None

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Application:
        known = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        known.pop("id", None)
        if "shim" in known:
            known["shim"] = _shim_of(known["shim"])
        if "schema" in known:
            known["schema"] = ApplicationSchema(**known["schema"])
        if "delay_release_ms" in row:
            known["delay_release"] = row["delay_release_ms"] // 1000
        return cls(id=row["name"], **known)


@dataclass
class Executor(_Shown):
    """One line of `flmctl list executor`."""

    id: str
    state: str
    address: str = ""
    slots: int = 0
    bound: int = 0
    tasks: int = 0
    hold: str = ""
    """`cordoned`, `drained` or `resting` where it takes nothing new."""
    provider: str = ""
    """What whoever started it knows it by: `pod NAMESPACE/NAME UID` or `process PID`."""

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Executor:
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})


@dataclass
class Node(_Shown):
    """A machine that executors run on."""

    id: str
    state: str
    executors: int = 0
    slots: int = 0
    bound: int = 0
    busy: int = 0

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Node:
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})


@dataclass
class InstanceLog(_Shown):
    """What one instance of a service wrote to stdout and stderr last, at most 64 KiB."""

    executor: str
    instance: int = 0
    running: bool = False
    text: str = ""
    error: str = ""
    """Why there is no text: the executor did not answer."""


class TaskProgress(NamedTuple):
    task: int
    percent: int
    text: str


class VersionedData(NamedTuple):
    data: bytes | None
    version: int
    """1 at the session's creation, one more with every update."""


@dataclass
class Event:
    """Of a task: `code` is its TaskState then. Of a session: 1001 where the service did not start,
    as in flamepy 0.6, else 0; what it is stands in the message."""

    code: int
    message: str | None = None
    creation_time: datetime | None = None

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Event:
        code = _BIND_FAILED if row["code"] == "bind_failed" else 0
        return cls(code, f"{row['code']}: {row['text']}", time_of(row["at_ms"]))


_BIND_FAILED = 1001


@dataclass
class Task(_Shown):
    id: TaskID
    session_id: SessionID
    state: TaskState
    creation_time: datetime | None
    """Of tasks that this client created; the broker keeps no such time."""
    input: bytes | None = None
    output: bytes | None = None
    completion_time: datetime | None = None
    events: list[Event] | None = None
    executor: str = ""
    attempt: int = 0
    start_time: datetime | None = None
    code: Code = Code.OK
    reason: str = ""
    percent: int = 0
    """What a running task said of itself last, and the text to it."""
    progress: str = ""
    version: str = ""
    """Another one where anything of the above is different."""

    @classmethod
    def from_row(
        cls, session_id: str, row: dict[str, Any], input: bytes | None, output: bytes | None
    ) -> Task:
        state = TaskState[str(row["state"]).upper()]
        started = time_of(row["started"]) if row.get("started") else None
        ended = time_of(row["ended"]) if row.get("ended") else None
        events = [Event(TaskState.RUNNING, None, started)] if started else []
        if state >= TaskState.SUCCEED:
            events.append(Event(state, row.get("reason") or None, ended))
        return cls(
            id=str(row["id"]),
            session_id=session_id,
            state=state,
            creation_time=None,
            input=input,
            output=output,
            completion_time=ended,
            events=events,
            executor=row.get("executor", ""),
            attempt=row.get("attempt", 0),
            start_time=started,
            code=Code[row["code"].upper()] if row.get("code") else Code.OK,
            reason=row.get("reason", ""),
            percent=row.get("percent", 0),
            progress=row.get("progress", ""),
            version=row.get("version", ""),
        )

    def is_completed(self) -> bool:
        return self.state in (TaskState.SUCCEED, TaskState.FAILED, TaskState.CANCELLED)

    def is_failed(self) -> bool:
        return self.state is TaskState.FAILED


class TaskInformer:
    """What flamepy 0.6 has for whoever wants to hear of a task: derive from it."""

    def on_update(self, task: Task) -> None:
        pass

    def on_error(self, error: FlameError) -> None:
        pass


def short_name(prefix: str, length: int = 6) -> str:
    """`prefix-` and so many random letters and digits."""
    return prefix + "-" + "".join(secrets.choice(_LETTERS) for _ in range(length))


_LETTERS = string.ascii_letters + string.digits


def time_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=timezone.utc)
