# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Services, by the names of flamepy 0.6."""

from flamepy._grpc_service import FlameInstanceServer, FlameInstanceServicer
from flamepy._service import (
    FLAME_INSTANCE_ENDPOINT,
    ApplicationContext,
    FlameService,
    SessionContext,
    TaskContext,
    run,
)

__all__ = [
    "FLAME_INSTANCE_ENDPOINT",
    "ApplicationContext",
    "FlameInstanceServer",
    "FlameInstanceServicer",
    "FlameService",
    "SessionContext",
    "TaskContext",
    "run",
]
