# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A connection to a broker, and the verbs on what it holds."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from flamepy import _connection
from flamepy import _verbs as verbs
from flamepy._context import FlameClientTls, refuse_tls
from flamepy._endpoint import find_broker
from flamepy._html import Rows
from flamepy._proto import messages as m
from flamepy._proto.errors import Error
from flamepy._session import Session
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
from flamepy.errors import Code, FlameError, exception_of

T = TypeVar("T")


def connect(
    addr: str | None = None,
    tls_config: FlameClientTls | None = None,
    *,
    timeout: float = 5.0,
    request_timeout: float = 30.0,
    cluster: str | None = None,
) -> Connection:
    """Connects to the broker at `addr`, else at FLAME_ENDPOINT, else at that of the current context
    in ~/.flame/flame.yaml, else at that of the default local cluster (`flmctl up`). Raises
    NoBrokerError where none answers within `timeout` seconds. There is no TLS yet. A broker whose
    cluster is not called `cluster` (else FLAME_CLUSTER, else as the context that has the address
    says, else anything) is a FlameError.

    The connection then repairs itself: while a broker restarts, calls wait (requests at most
    `request_timeout` seconds), and what was submitted is not lost.
    """
    refuse_tls(tls_config)
    addr, cluster = find_broker(addr, cluster)
    return Connection(addr, timeout, request_timeout, cluster)


class Connection(StaysHere):
    """Made by `connect`. All methods may be called from any thread. Close it, or use `with`."""

    def __init__(
        self, addr: str, timeout: float, request_timeout: float, cluster: str = ""
    ) -> None:
        self.addr = addr
        self.request_timeout = request_timeout
        self._timeout = timeout
        self._io = _connection.Connection(addr, cluster)
        try:
            self._io.wait_until_up(timeout)
        except BaseException:
            self._io.close(0)
            raise

    @classmethod
    def connect(cls, addr: str, tls_config: FlameClientTls | None = None) -> Connection:
        """flamepy.connect, as flamepy 0.6 has it too."""
        return connect(addr, tls_config)

    def wait_until_up(self) -> m.Welcome:
        return self._io.wait_until_up(self.request_timeout)

    def close(self) -> None:
        """Waits until the broker has what was submitted, then says goodbye. Sessions go on; futures
        without a result raise."""
        self._io.close(self.request_timeout)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<flamepy.Connection to {self.addr}{', closed' if self._io.closed else ''}>"

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
    ) -> Session:
        """A new session of the application `attrs`, or with these attributes; without an id a name
        is drawn."""
        if isinstance(attrs, SessionAttributes):
            return self._create(attrs, open_or_create=False)
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
        return self._create(attributes, open_or_create=False)

    def open_session(self, session_id: str, spec: SessionAttributes | None = None) -> Session:
        """An existing session; with `spec` it is created where it does not exist, and must have
        these attributes where it does."""
        if spec is None:
            attached = self._attach(session_id)
            return Session(self, attached.info, attached)
        attributes = SessionAttributes(**{**vars(spec), "id": session_id})
        with verbs.other_spec():
            return self._create(attributes, open_or_create=True)

    def _create(self, attributes: SessionAttributes, open_or_create: bool) -> Session:
        message = verbs.create_session(attributes, open_or_create)
        info, attached = self._open(message, drawn_name=not attributes.id)
        return Session(self, info, attached)

    def _open(
        self, message: Any, drawn_name: bool = False
    ) -> tuple[m.SessionInfo, AttachedSession]:
        info, listener = self._io.open(
            message,
            lambda info: AttachedSession(self._io, info),
            self.request_timeout,
            drawn_name,
        )
        assert isinstance(listener, AttachedSession)
        return info, listener

    def _attach(self, session_id: str) -> AttachedSession:
        return self._open(m.OpenSession(0, session_id))[1]

    def get_session(self, session_id: str) -> Session:
        """An existing session, with its state and counters of now."""
        return Session(self, self._ask(verbs.session_info(session_id)))

    def list_sessions(self) -> list[Session]:
        """All that the broker has, oldest first."""
        return Rows(Session(self, info) for info in self._ask(verbs.list_sessions()))

    def close_session(self, session_id: str) -> Session:
        return Session(self, self._ask(verbs.close_session(session_id)))

    def delete_session(self, session_id: str, force: bool = False) -> None:
        """Removes a closed session with its results; with `force` any."""
        self._ask(verbs.delete_session(session_id, force))

    # ---- applications, executors -----------------------------------------------------------------

    def register_application(
        self, name: str, app_attrs: ApplicationAttributes | dict[str, Any]
    ) -> None:
        """Registering the same again is fine; a changed one is refused while a session of it is not
        closed."""
        self._ask(verbs.register_application(name, app_attrs))

    def update_application(self, name: str, **changes: Any) -> None:
        """Changes fields of ApplicationAttributes (None: the default again), also while sessions of
        it are open: each instance is started anew once nothing runs in it."""
        self._ask(verbs.update_application(name, changes))

    def unregister_application(self, name: str) -> None:
        self._ask(verbs.unregister_application(name))

    def get_application(self, name: str) -> Application | None:
        """None where there is none of this name."""
        try:
            return self._ask(verbs.get_application(name))
        except FlameError as error:
            if error.kind is not Code.NOT_FOUND:
                raise
            return None

    def list_applications(self) -> list[Application]:
        return self._ask(verbs.list_applications())

    def list_executors(self) -> list[Executor]:
        return self._ask(verbs.list_executors())

    def cordon_executor(self, executor_id: str) -> None:
        """It finishes what it has and takes nothing new, also if its process is started again."""
        self._ask(verbs.hold_executor(executor_id, m.Hold.CORDONED))

    def uncordon_executor(self, executor_id: str) -> None:
        self._ask(verbs.hold_executor(executor_id, m.Hold.NONE))

    def drain_executor(self, executor_id: str) -> None:
        """It finishes what it has and leaves. A pod stays, takes nothing, and can be deleted."""
        self._ask(verbs.hold_executor(executor_id, m.Hold.DRAINED))

    def list_nodes(self) -> list[Node]:
        """The machines of the connected executors."""
        return self._ask(verbs.list_nodes())

    def _ask(self, ask: verbs.Ask[T], timeout: float | None = -1.0) -> T:
        """`timeout` None waits for ever; without one it is the connection's."""
        if timeout is None:
            timeout = verbs.FOR_EVER
        seconds = self.request_timeout if timeout < 0 else timeout
        return ask.meaning(self._io.request(ask.message, seconds))

    @contextlib.contextmanager
    def _begun(
        self, ask: verbs.Ask[T], timeout: float | None
    ) -> Iterator[concurrent.futures.Future[T]]:
        """The same, to wait for inside; what is not answered at the end is forgotten."""
        self._io.check_wait()
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def reply(answer: Any) -> None:
            if isinstance(answer, Error):
                future.set_exception(exception_of(answer))
            else:
                future.set_result(ask.meaning(answer))

        seconds = verbs.FOR_EVER if timeout is None else timeout
        ticket = self._io.ask(ask.message, seconds, reply)
        try:
            yield future
        finally:
            self._io.forget(ticket)


# ---- one connection for the functions of the module ----------------------------------------------


class ConnectionInstance:
    """flamepy 0.6's name for it."""

    @classmethod
    def instance(cls) -> Connection:
        return default_connection()


_default: Connection | None = None
_default_lock = threading.Lock()


def default_connection() -> Connection:
    """Made on first use; where it was closed, or the process forked since, another one."""
    global _default
    with _default_lock:
        if _default is None or not _default._io.usable():
            _default = connect()
        return _default


def create_session(
    application: str | SessionAttributes,
    common_data: bytes | None = None,
    session_id: str | None = None,
    min_instances: int = 0,
    max_instances: int | None = None,
    batch_size: int = 1,
    resreq: ResourceRequirement | str | None = None,
    **more: Any,
) -> Session:
    """`Connection.create_session` of the default connection."""
    return default_connection().create_session(
        application,
        common_data,
        session_id,
        min_instances,
        max_instances,
        batch_size,
        resreq,
        **more,
    )


def open_session(session_id: str, spec: SessionAttributes | None = None) -> Session:
    return default_connection().open_session(session_id, spec)


def get_session(session_id: str) -> Session:
    return default_connection().get_session(session_id)


def list_sessions() -> list[Session]:
    return default_connection().list_sessions()


def close_session(session_id: str) -> Session:
    return default_connection().close_session(session_id)


def delete_session(session_id: str, force: bool = False) -> None:
    default_connection().delete_session(session_id, force)


def register_application(name: str, app_attrs: ApplicationAttributes | dict[str, Any]) -> None:
    default_connection().register_application(name, app_attrs)


def update_application(name: str, **changes: Any) -> None:
    default_connection().update_application(name, **changes)


def unregister_application(name: str) -> None:
    default_connection().unregister_application(name)


def get_application(name: str) -> Application | None:
    return default_connection().get_application(name)


def list_applications() -> list[Application]:
    return default_connection().list_applications()


def list_executors() -> list[Executor]:
    return default_connection().list_executors()


def list_nodes() -> list[Node]:
    return default_connection().list_nodes()
