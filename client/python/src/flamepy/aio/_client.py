# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A connection to a broker for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from flamepy import _connection
from flamepy import _verbs as verbs
from flamepy._context import FlameClientTls, refuse_tls
from flamepy._endpoint import find_broker
from flamepy._html import Rows
from flamepy._proto import messages as m
from flamepy._session_state import AttachedSession
from flamepy._stays_here import StaysHere
from flamepy._types import (
    Application,
    ApplicationAttributes,
    Durability,
    Executor,
    Node,
    ResourceRequirement,
    SessionAttributes,
)
from flamepy.aio._delivery import Delivery
from flamepy.aio._session import Session
from flamepy.errors import Code, FlameError, exception_of

T = TypeVar("T")


class _Closing(Protocol):
    async def close(self) -> Any: ...


C = TypeVar("C", bound=_Closing)


class Opening(Generic[C]):
    """`await` it, or `async with` it: then it is closed at the end."""

    def __init__(self, coroutine: Coroutine[Any, Any, C]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, None, C]:
        return self._coroutine.__await__()

    if not TYPE_CHECKING:  # which finds it without

        def __getattr__(self, name):
            text = f"no '{name}' before it is awaited: `await` is missing before the call"
            raise AttributeError(text)

    async def __aenter__(self) -> C:
        self._opened = await self._coroutine
        return self._opened

    async def __aexit__(self, *_: Any) -> None:
        await self._opened.close()


def connect(
    addr: str | None = None,
    tls_config: FlameClientTls | None = None,
    *,
    timeout: float = 5.0,
    request_timeout: float = 30.0,
    cluster: str | None = None,
) -> Opening[Connection]:
    """`async with flamepy.aio.connect() as connection`, or `await`. As flamepy.connect: the broker
    at `addr`, else where flamepy.connect looks, and of `cluster`; NoBrokerError where none answers
    within `timeout` seconds. The connection then repairs itself."""
    refuse_tls(tls_config)
    addr, cluster = find_broker(addr, cluster)
    return Opening(_connect(addr, request_timeout, cluster, timeout))


async def _connect(
    address: str, request_timeout: float, cluster: str, timeout: float
) -> Connection:
    connection = Connection(address, request_timeout, cluster)
    try:
        await connection._up(timeout)
    except BaseException:
        await asyncio.to_thread(connection._io.close, 0)
        raise
    return connection


class Connection(StaysHere):
    """Made by `connect`; of one event loop."""

    def __init__(self, addr: str, request_timeout: float, cluster: str) -> None:
        self.addr = addr
        self.request_timeout = request_timeout
        self._delivery = Delivery()
        self._io = _connection.Connection(addr, cluster)

    async def close(self) -> None:
        """Waits until the broker has what was submitted, then says goodbye. Sessions go on; futures
        without a result raise."""
        await asyncio.sleep(0)  # what was cancelled just now still goes out
        await asyncio.to_thread(self._io.close, self.request_timeout)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<flamepy.aio.Connection to {self.addr}{', closed' if self._io.closed else ''}>"

    def _check(self) -> None:
        self._io.check()
        self._delivery.check_loop()

    async def _up(self, timeout: float) -> m.Welcome:
        self._check()
        welcome, tell = self._delivery.answer()
        self._io.ask_up(tell)
        try:
            found: m.Welcome = await asyncio.wait_for(welcome, timeout)
        except asyncio.TimeoutError:
            raise exception_of(await asyncio.to_thread(self._io.why_not_up)) from None
        return found

    async def _ask(self, ask: verbs.Ask[T], timeout: float | None = -1.0) -> T:
        """`timeout` None waits for ever; without one it is the connection's."""
        self._check()
        if timeout is None:
            timeout = verbs.FOR_EVER
        answer, tell = self._delivery.answer()
        seconds = self.request_timeout if timeout < 0 else timeout
        ticket = self._io.ask(ask.message, seconds, tell)
        return ask.meaning(await self._answered(answer, ticket))

    async def _answered(self, answer: asyncio.Future[Any], ticket: int) -> Any:
        try:
            return await answer
        except asyncio.CancelledError:  # a time-out of the caller's, for one
            self._io.forget(ticket)
            raise

    async def _open(
        self, message: Any, drawn_name: bool = False
    ) -> tuple[m.SessionInfo, AttachedSession]:
        self._check()
        answer, tell = self._delivery.answer()
        ticket = self._io.ask_open(
            message,
            lambda info: AttachedSession(self._io, info),
            self.request_timeout,
            tell,
            drawn_name,
        )
        found: tuple[m.SessionInfo, AttachedSession] = await self._answered(answer, ticket)
        return found

    async def _open_session(self, session_id: str) -> tuple[m.SessionInfo, AttachedSession]:
        return await self._open(verbs.session_info(session_id).message)

    # ---- sessions --------------------------------------------------------------------------------

    def create_session(
        self,
        attrs: str | SessionAttributes,
        common_data: bytes | None = None,
        session_id: str | None = None,
        min_instances: int = 0,
        max_instances: int | None = None,
        batch_size: int = 1,
        resreq: ResourceRequirement | str | None = None,
        *,
        priority: int = 0,
        durability: Durability = m.Durability.STORED,
        retention: str = "ttl",
        results_ttl: float | None = None,
    ) -> Opening[Session]:
        """`async with connection.create_session(...) as session`, or `await`."""
        if isinstance(attrs, SessionAttributes):
            return Opening(self._create(attrs, open_or_create=False))
        attributes = SessionAttributes(
            application=attrs,
            id=session_id,
            common_data=common_data,
            min_instances=min_instances,
            max_instances=max_instances,
            batch_size=batch_size,
            resreq=resreq,
            priority=priority,
            durability=durability,
            retention=retention,
            results_ttl=results_ttl,
        )
        return Opening(self._create(attributes, open_or_create=False))

    def open_session(
        self, session_id: str, spec: SessionAttributes | None = None
    ) -> Opening[Session]:
        """An existing session; with `spec` it is created where it does not exist, and must have
        these attributes where it does."""
        if spec is None:
            return Opening(self._get(session_id))
        attributes = SessionAttributes(**{**vars(spec), "id": session_id})
        return Opening(self._open_or_create(attributes))

    async def _open_or_create(self, attributes: SessionAttributes) -> Session:
        with verbs.other_spec():
            return await self._create(attributes, open_or_create=True)

    async def _create(self, attributes: SessionAttributes, open_or_create: bool) -> Session:
        message = verbs.create_session(attributes, open_or_create)
        info, attached = await self._open(message, drawn_name=not attributes.id)
        return Session(self, info, attached)

    async def _get(self, session_id: str) -> Session:
        return Session(self, *await self._open_session(session_id))

    async def get_session(self, session_id: str) -> Session:
        """An existing session, with its state and counters of now."""
        return await self._get(session_id)

    async def list_sessions(self) -> list[Session]:
        """All that the broker has, oldest first."""
        return Rows(Session(self, info) for info in await self._ask(verbs.list_sessions()))

    async def close_session(self, session_id: str) -> Session:
        return Session(self, await self._ask(verbs.close_session(session_id)))

    async def delete_session(self, session_id: str, force: bool = False) -> None:
        """Removes a closed session with its results; with `force` any."""
        await self._ask(verbs.delete_session(session_id, force))

    # ---- applications, executors -----------------------------------------------------------------

    async def register_application(
        self, name: str, app_attrs: ApplicationAttributes | dict[str, Any]
    ) -> None:
        """Registering the same again is fine; a changed one is refused while a session of it is not
        closed."""
        await self._ask(verbs.register_application(name, app_attrs))

    async def update_application(self, name: str, **changes: Any) -> None:
        """Changes fields of ApplicationAttributes (None: the default again), also while sessions of
        it are open: each instance is started anew once nothing runs in it."""
        await self._ask(verbs.update_application(name, changes))

    async def unregister_application(self, name: str) -> None:
        await self._ask(verbs.unregister_application(name))

    async def get_application(self, name: str) -> Application | None:
        """None where there is none of this name."""
        try:
            return await self._ask(verbs.get_application(name))
        except FlameError as error:
            if error.kind is not Code.NOT_FOUND:
                raise
            return None

    async def list_applications(self) -> list[Application]:
        return await self._ask(verbs.list_applications())

    async def list_executors(self) -> list[Executor]:
        return await self._ask(verbs.list_executors())

    async def cordon_executor(self, executor_id: str) -> None:
        """It finishes what it has and takes nothing new, also if its process is started again."""
        await self._ask(verbs.hold_executor(executor_id, m.Hold.CORDONED))

    async def uncordon_executor(self, executor_id: str) -> None:
        await self._ask(verbs.hold_executor(executor_id, m.Hold.NONE))

    async def drain_executor(self, executor_id: str) -> None:
        """It finishes what it has and leaves. A pod stays, takes nothing, and can be deleted."""
        await self._ask(verbs.hold_executor(executor_id, m.Hold.DRAINED))

    async def list_nodes(self) -> list[Node]:
        """The machines of the connected executors."""
        return await self._ask(verbs.list_nodes())
