# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The Runner of the original Flame: names that come later."""

from flamepy._later import later_class, later_function

__all__ = [
    "ErrorType",
    "FlameRunpyService",
    "ObjectFuture",
    "ObjectFutureIterator",
    "Runner",
    "RunnerContext",
    "RunnerError",
    "RunnerRequest",
    "RunnerService",
    "SessionContext",
    "get_data",
]

ErrorType = later_class(__name__, "ErrorType")
FlameRunpyService = later_class(__name__, "FlameRunpyService")
ObjectFuture = later_class(__name__, "ObjectFuture")
ObjectFutureIterator = later_class(__name__, "ObjectFutureIterator")
Runner = later_class(__name__, "Runner")
RunnerContext = later_class(__name__, "RunnerContext")
RunnerRequest = later_class(__name__, "RunnerRequest")
RunnerService = later_class(__name__, "RunnerService")
SessionContext = later_class(__name__, "SessionContext")
get_data = later_function(__name__, "get_data")


class RunnerError(Exception):
    """Not there yet."""
