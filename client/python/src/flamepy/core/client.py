# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The client, by the names of flamepy 0.6."""

from flamepy._client import (
    Connection,
    ConnectionInstance,
    close_session,
    connect,
    create_session,
    get_application,
    get_session,
    list_applications,
    list_executors,
    list_nodes,
    list_sessions,
    open_session,
    register_application,
    unregister_application,
)
from flamepy._session import Session, TaskWatcher

__all__ = [
    "Connection",
    "ConnectionInstance",
    "Session",
    "TaskWatcher",
    "close_session",
    "connect",
    "create_session",
    "get_application",
    "get_session",
    "list_applications",
    "list_executors",
    "list_nodes",
    "list_sessions",
    "open_session",
    "register_application",
    "unregister_application",
]
