# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Services of one function, in the style of flamepy 0.6; any objects travel by cloudpickle.

    import flamepy.service

    instance = flamepy.service.FlameInstance()

    @instance.entrypoint
    def answer(question):
        return f"{instance.context()}: {question}?"

    if __name__ == "__main__":
        instance.run()

and for its clients: `with flamepy.service.Session("application", "context") as session:
session.invoke("why")`."""

from __future__ import annotations

import inspect
import pickle
from typing import Any, Callable, TypeVar, cast

import cloudpickle

from flamepy import _client
from flamepy._calls import Output
from flamepy._service import FlameService, SessionContext, TaskContext, run
from flamepy._types import ResourceRequirement
from flamepy.errors import Code, FlameError

__all__ = ["FlameInstance", "Session"]

F = TypeVar("F", bound=Callable[..., Any])


def _dumps(value: Any) -> bytes:
    return cast(bytes, cloudpickle.dumps(value))


class FlameInstance(FlameService):
    def __init__(self) -> None:
        self._function: Callable[..., Any] | None = None
        self._takes_input = True
        self._context: bytes | None = None
        self._session_id = ""

    def entrypoint(self, func: F) -> F:
        """A decorator: the function gets what invoke() was called with, or nothing, and returns the
        answer. It may be a coroutine."""
        parameters = inspect.signature(func).parameters
        if len(parameters) > 1:
            raise TypeError(
                f"an entrypoint has one parameter or none; {func.__name__} has {len(parameters)}"
            )
        self._function, self._takes_input = func, len(parameters) == 1
        if inspect.iscoroutinefunction(func):
            self.on_task_invoke = self._invoke_async  # type: ignore[assignment,method-assign]
        return func

    def context(self) -> Any:
        """The session's context, a copy of its own at each call; None where it has none."""
        return None if self._context is None else pickle.loads(self._context)

    def update_context(self, data: Any) -> None:
        """Replaces the session's context, for everybody: here at once, in other instances before
        their next task. Needs a broker that the service can reach, as FLAME_ENDPOINT says."""
        self._context = _dumps(data)
        _client.get_session(self._session_id).update_common_data(self._context)

    def run(self) -> None:
        """Serves, where an executor started the program."""
        run(self)

    # ---- as a service ----------------------------------------------------------------------------

    def on_session_enter(self, context: SessionContext) -> None:
        self._context = context.common_data()
        self._session_id = context.session_id

    def on_session_leave(self) -> None:
        self._context = None

    def on_task_invoke(self, context: TaskContext) -> Output:
        return _output_of(self._call(context))

    async def _invoke_async(self, context: TaskContext) -> Output:
        return _output_of(await self._call(context))

    def _call(self, context: TaskContext) -> Any:
        if self._function is None:
            raise FlameError(
                Code.WRONG_STATE, "this service has no function: decorate one with entrypoint"
            )
        if not self._takes_input:
            return self._function()
        return self._function(pickle.loads(context.input) if context.input else None)


def _output_of(answer: Any) -> bytes | None:
    return None if answer is None else _dumps(answer)


class Session:
    """A session of an application whose service is a FlameInstance, by the module's connection:
    a new one of the application `name` with the context `ctx`, or an open one by its id."""

    def __init__(
        self,
        name: str | None = None,
        ctx: Any = None,
        session_id: str | None = None,
        resreq: ResourceRequirement | dict[str, Any] | str | None = None,
    ) -> None:
        if (name is None) == (session_id is None):
            raise ValueError("a session has a name (of its application) or a session_id, not both")
        if isinstance(resreq, dict):
            resreq = ResourceRequirement.from_string(
                ",".join(f"{name}={value}" for name, value in resreq.items())
            )
        if session_id is not None:
            self._session = _client.open_session(session_id)
        else:
            common = None if ctx is None else _dumps(ctx)
            self._session = _client.create_session(str(name), common, resreq=resreq)

    def invoke(self, req: Any) -> Any:
        """The answer of the service's function; raises TaskError where it raised."""
        output = self._session.invoke(_dumps(req))
        return pickle.loads(output) if output else None

    def context(self) -> Any:
        """The session's context as it is now."""
        data = self._session.common_data()
        return None if data is None else pickle.loads(data)

    def id(self) -> str:
        return self._session.id

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
