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
from flamepy._executor import Executor
from flamepy._future import Future
from flamepy._results import Cursor, ResultStream, TaskResult
from flamepy._service import (
    ApplicationContext,
    BatchContext,
    FlameService,
    SessionContext,
    TaskContext,
    TaskFailure,
    run,
)
from flamepy._session import Session
from flamepy._types import (
    Application,
    ApplicationAttributes,
    CommonData,
    Durability,
    InstanceLog,
    Node,
    ResourceRequirement,
    SessionAttributes,
    SessionID,
    SessionState,
    Shim,
    Task,
    TaskID,
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
    SessionClosedError,
    TaskCancelledError,
    TaskError,
    TooLargeError,
)

if TYPE_CHECKING:
    from flamepy import aio as aio
    from flamepy import joblib as joblib
    from flamepy import service as service

__all__ = [
    "Application",
    "ApplicationAttributes",
    "ApplicationContext",
    "BatchContext",
    "BrokenWorkerError",
    "Code",
    "CommonData",
    "Connection",
    "Cursor",
    "Durability",
    "Executor",
    "FlameError",
    "FlameErrorCode",
    "FlameService",
    "FlameTimeoutError",
    "Future",
    "InstanceLog",
    "NoBrokerError",
    "Node",
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
    "TaskInput",
    "TaskOutput",
    "TaskProgress",
    "TaskResult",
    "TaskState",
    "TooLargeError",
    "__version__",
    "as_completed",
    "close_session",
    "connect",
    "create_session",
    "delete_session",
    "get_application",
    "get_session",
    "list_applications",
    "list_executors",
    "list_nodes",
    "list_sessions",
    "open_session",
    "register_application",
    "run",
    "unregister_application",
    "update_application",
    "wait",
]


def __getattr__(name: str) -> Any:
    """These come when they are asked for: a service starts faster without asyncio, and joblib is no
    dependency."""
    if name in ("aio", "joblib", "service"):
        return importlib.import_module(f"flamepy.{name}")
    raise AttributeError(f"module 'flamepy' has no attribute '{name}'")
