# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Flame: many short tasks that belong together, durably.

    import flamepy

    session = flamepy.create_session("echo")
    print(session.run(b"hello").result())

docs/python.md is the manual.
"""

import importlib
from typing import TYPE_CHECKING, Any

from flamepy._cancellations import TaskCancelled
from flamepy._client import (
    Connection,
    ConnectionInstance,
    close_session,
    connect,
    create_session,
    delete_session,
    get_application,
    get_session,
    list_applications,
    list_executors,
    list_nodes,
    list_sessions,
    open_session,
    register_application,
    unregister_application,
    update_application,
)
from flamepy._completed import as_completed, wait
from flamepy._context import (
    DEFAULT_FLAME_CACHE_ENDPOINT,
    DEFAULT_FLAME_CONF,
    DEFAULT_FLAME_ENDPOINT,
    FlameContext,
    FlameContextRunner,
    FlamePackage,
)
from flamepy._executor import Executor
from flamepy._future import Future
from flamepy._results import Cursor, ResultStream, TaskResult
from flamepy._service import (
    FLAME_INSTANCE_ENDPOINT,
    ApplicationContext,
    BatchContext,
    FlameService,
    SessionContext,
    TaskContext,
    TaskFailure,
    run,
)
from flamepy._session import Session, TaskWatcher
from flamepy._task import RemoteFunction, task
from flamepy._types import (
    Application,
    ApplicationAttributes,
    ApplicationID,
    ApplicationSchema,
    ApplicationState,
    CommonData,
    Durability,
    Event,
    InstanceLog,
    Message,
    Node,
    ResourceRequirement,
    SessionAttributes,
    SessionID,
    SessionState,
    Shim,
    Task,
    TaskID,
    TaskInformer,
    TaskInput,
    TaskOutput,
    TaskProgress,
    TaskState,
)
from flamepy._version import __version__
from flamepy.errors import (
    BrokenWorkerError,
    Code,
    FlameError,
    FlameErrorCode,
    FlameTimeoutError,
    NoBrokerError,
    NotYetError,
    SessionClosedError,
    TaskCancelledError,
    TaskError,
    TooLargeError,
)

if TYPE_CHECKING:
    from flamepy import aio as aio
    from flamepy import cache as cache
    from flamepy import core as core
    from flamepy import joblib as joblib
    from flamepy import runner as runner
    from flamepy import service as service
    from flamepy import tools as tools
    from flamepy import util as util

__all__ = [
    "Application",
    "ApplicationAttributes",
    "ApplicationContext",
    "ApplicationID",
    "ApplicationSchema",
    "ApplicationState",
    "BatchContext",
    "BrokenWorkerError",
    "Code",
    "CommonData",
    "Connection",
    "ConnectionInstance",
    "Cursor",
    "DEFAULT_FLAME_CACHE_ENDPOINT",
    "DEFAULT_FLAME_CONF",
    "DEFAULT_FLAME_ENDPOINT",
    "Durability",
    "Event",
    "Executor",
    "FLAME_INSTANCE_ENDPOINT",
    "FlameContext",
    "FlameContextRunner",
    "FlameError",
    "FlameErrorCode",
    "FlamePackage",
    "FlameService",
    "FlameTimeoutError",
    "Future",
    "InstanceLog",
    "Message",
    "NoBrokerError",
    "Node",
    "NotYetError",
    "ObjectRef",
    "RemoteFunction",
    "ResourceRequirement",
    "ResultStream",
    "Session",
    "SessionAttributes",
    "SessionClosedError",
    "SessionContext",
    "SessionID",
    "SessionState",
    "Shim",
    "Task",
    "TaskCancelled",
    "TaskCancelledError",
    "TaskContext",
    "TaskError",
    "TaskFailure",
    "TaskID",
    "TaskInformer",
    "TaskInput",
    "TaskOutput",
    "TaskProgress",
    "TaskResult",
    "TaskState",
    "TaskWatcher",
    "TooLargeError",
    "__version__",
    "as_completed",
    "close_session",
    "connect",
    "core",
    "create_session",
    "delete_session",
    "get_application",
    "get_object",
    "get_session",
    "list_applications",
    "list_executors",
    "list_nodes",
    "list_sessions",
    "open_session",
    "put_object",
    "register_application",
    "run",
    "runner",
    "service",
    "task",
    "unregister_application",
    "update_application",
    "update_object",
    "util",
    "wait",
]


_MODULES = ("aio", "cache", "core", "joblib", "runner", "service", "tools", "util")
_CACHE = ("ObjectRef", "get_object", "put_object", "update_object")


def __getattr__(name: str) -> Any:
    """These come when they are asked for: a service starts faster without asyncio, and joblib is no
    dependency."""
    if name in _MODULES:
        return importlib.import_module(f"flamepy.{name}")
    if name in _CACHE:
        return getattr(importlib.import_module("flamepy.core.cache"), name)
    raise AttributeError(f"module 'flamepy' has no attribute '{name}'")


def __dir__() -> list[str]:
    import importlib.util

    lacking = set() if importlib.util.find_spec("joblib") else {"joblib"}
    return sorted({*__all__, *_MODULES, "errors"} - lacking)
