# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The shell around ClientCore: one thread that owns the socket and the core. Others reach it
through a queue and a pipe; what it has to say it says through listeners, on its own
thread."""

from __future__ import annotations

import atexit
import io
import itertools
import logging
import os
import secrets
import select
import signal
import threading
import time
import weakref
from collections import deque
from typing import Any, Callable

import zmq

from flamepy._core.client_core import ClientConfig, ClientCore
from flamepy._core.events import (
    NEVER,
    Action,
    Answer,
    Attach,
    Consumed,
    Detach,
    Event,
    Forget,
    Leave,
    LinkDown,
    LinkUp,
    Lost,
    OpenSocket,
    Rejected,
    Request,
    Send,
    SendFailed,
    SubmitFailed,
    SubmitRun,
    Submitted,
    Tick,
    Trimmed,
    Unsendable,
    WatchFailed,
    WatchFrom,
)
from flamepy._endpoint import unresolved
from flamepy._proto import limits
from flamepy._proto.codec import BadFrame, Encoder, check, decode
from flamepy._proto.errors import Code, Error
from flamepy._proto.messages import (
    MESSAGES,
    TYPE_OF,
    Beat,
    ClientHello,
    Durability,
    Progress,
    Results,
    Run,
    SessionChanged,
    SessionInfo,
    Welcome,
)
from flamepy._run_state import release_all
from flamepy._version import __version__
from flamepy.errors import FlameError, exception_of

_LOG = logging.getLogger("flamepy")
_RECEIVE_BURST = 256
# A broker that is started again is back before.
_AWAY_US = 5_000_000
# Payload bytes in the submit window of one session: 64 runs are 16 MiB, single tasks may have 64
# MiB each.
_WINDOW_BYTES = 64 * limits.MIB
_SEND_WATER = 100_000
_LOOK_AGAIN_US = 1_000_000
# A program that ends without closing: its tasks should have arrived, but it should end.
_EXIT_FLUSH_SECONDS = 5.0


class SessionListener:
    """What the owner of a session is asked and told. Called on the I/O thread, one at a time; must
    return quickly, and may call the connection's functions that do not wait."""

    def next_run(self) -> SubmitRun | None:
        """The submit window has room. After nothing it is asked again only when wake() was
        called."""
        return None

    def on_submitted(self, ticket: int, run: Run, level: Durability) -> None: ...
    def on_submit_failed(self, ticket: int, error: Error) -> None: ...
    def on_results(self, results: Results) -> bool:
        """True: the entry is used up. False: consumed() says so later."""
        return True

    def on_trimmed(self, begin: int, end: int) -> None: ...
    def on_watch_failed(self, error: Error) -> None: ...
    def on_changed(self, change: SessionChanged) -> None: ...
    def on_progress(self, progress: Progress) -> None: ...
    def on_lost(self, run: Run) -> None: ...
    def on_detached(self, error: Error) -> None:
        """Nothing follows: the session was detached or the connection ends."""

    def wait_until_acknowledged(self, timeout: float | None) -> bool:
        """On another thread: until the broker has everything that was submitted."""
        return True


class _Attached:
    def __init__(self, listener: SessionListener) -> None:
        self.listener = listener
        self.in_window: dict[int, int] = {}  # ticket -> bytes of the runs that are not answered
        self.window_bytes = 0

    def left_window(self, ticket: int) -> None:
        self.window_bytes -= self.in_window.pop(ticket, 0)


class _Box:
    """Where a thread waits for one answer of the I/O thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._value: Any = None

    def put(self, value: Any) -> None:
        self._value = value
        self._event.set()

    def get(self) -> Any:
        self._event.wait()
        return self._value


class Connection:
    """Begins to connect and returns at once. The connection repairs itself until it is closed."""

    def __init__(self, endpoint: str, cluster: str = "") -> None:
        """`cluster`: the one that the broker must be of."""
        check_message(ClientHello(cluster=cluster))
        self.endpoint = endpoint
        self._core = ClientCore(
            ClientConfig(
                client=secrets.token_hex(16),
                endpoint=endpoint,
                version=__version__,
                first_link=secrets.randbits(32) | 1,
                cluster=cluster,
            )
        )
        self.forked = False
        """In a child of the process that connected: nothing here runs there."""
        self.unusable = False
        """Closed or forked."""
        self._wake_in, self._wake_out = _pipe()
        self._signalled = False
        self._posted: deque[Callable[[], None]] = deque()
        self._woken: deque[int] = deque()
        self._state = threading.Condition()
        self._welcome: Welcome | None = None
        self._rejection: Error | None = None
        self._why_not = self._core.not_connected()
        self.closed = False
        self._tickets = itertools.count(1)

        # Of the I/O thread.
        self._context: Any = None
        self._socket: Any = None
        # Not zmq_poll: it makes two system calls of each wait. The price is that the socket's
        # descriptor shows changes only, so what is there already is asked for before each wait.
        self._poller = select.poll()
        self._socket_send: Any = None
        self._socket_fd = -1
        self._woke = False
        """What wakes is to be read."""
        self._look = True
        """The descriptor may say nothing of what is there: a send takes its signal too."""
        self._encoder = Encoder()
        self._deadline_us = 0
        self.to_wake: list[Any] = []
        """Locks of threads that have what they wait for. Released just before this thread sleeps:
        until then it has the interpreter, and they would only wait for that."""
        self._look_again_us = 0
        self._actions: list[Action] = []
        self._failed_link = 0  # the rest of what was to go over it is dropped
        self._stopping = False
        self._replies: dict[int, Callable[[Any], None]] = {}
        self._up_waits: list[Callable[[Any], None]] = []
        self._sessions: dict[int, _Attached] = {}
        self._ready: set[int] = set()  # sessions whose listener may have a run
        self._now_us = 0
        self._loss: str | None = None
        """Why there is no link any more, while that was not told."""
        self._lost_at_us = 0
        self._told_loss = False
        self._own_thread = 0
        # A daemon: a program that forgets to close must end; `_close_all` says goodbye for it.
        self._thread = threading.Thread(target=self._run, name="flamepy", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    # ---- any thread ------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises where the connection is not there for this process any more."""
        if self.forked:
            raise FlameError(
                Code.WRONG_STATE,
                "this process was forked after the client had connected, and has no connection of "
                "its own; connect again in the child",
            )
        if self.closed:
            raise FlameError(Code.INTERRUPTED, "the client was closed")

    def usable(self) -> bool:
        return not self.unusable

    def check_wait(self) -> None:
        """Raises where waiting would never end."""
        if self.forked:
            self.check()
        if self.on_own_thread():
            raise FlameError(
                Code.WRONG_STATE,
                "a callback must not wait for the connection: it runs on the connection's own "
                "thread. Hand the work to a thread of yours",
            )

    def on_own_thread(self) -> bool:
        return threading.get_ident() == self._own_thread

    def wait_until_up(self, timeout: float) -> Welcome:
        self.check()
        self.check_wait()
        with self._state:
            self._state.wait_for(
                lambda: self._welcome is not None or self._rejection is not None, timeout
            )
            welcome, rejection = self._welcome, self._rejection
        if rejection is None and welcome is not None:
            return welcome
        raise exception_of(rejection or self.why_not_up())

    def request(self, message: Any, timeout: float) -> Any:
        """Sends a request and waits for its answer."""
        self.check()
        self.check_wait()
        box = _Box()
        return self._wait_in(box, self.ask(message, timeout, box.put))

    def open(
        self,
        message: Any,
        make_listener: Callable[[SessionInfo], SessionListener],
        timeout: float,
        drawn_name: bool = False,
    ) -> tuple[SessionInfo, SessionListener]:
        """Creates or opens a session and attaches a listener before anything about it can arrive. A
        session attached already keeps its listener."""
        self.check()
        self.check_wait()
        box = _Box()
        ticket = self.ask_open(message, make_listener, timeout, box.put, drawn_name)
        found: tuple[SessionInfo, SessionListener] = self._wait_in(box, ticket)
        return found

    def _wait_in(self, box: _Box, ticket: int) -> Any:
        try:
            answer = box.get()
        except BaseException:  # an interrupt
            self.forget(ticket)
            raise
        return _value_or_raise(answer)

    # The same without waiting: `reply` hears the answer, or an Error, on the I/O thread, unless the
    # ticket is forgotten before.

    def ask(self, message: Any, timeout: float, reply: Callable[[Any], None]) -> int:
        self.check()
        check_message(message)
        event = Request(next(self._tickets), message, int(timeout * 1e6))
        self.post(lambda: self._request(event, reply))
        return event.ticket

    def ask_open(
        self,
        message: Any,
        make_listener: Callable[[SessionInfo], SessionListener],
        timeout: float,
        reply: Callable[[Any], None],
        drawn_name: bool = False,
    ) -> int:
        self.check()
        check_message(message)
        event = Request(next(self._tickets), message, int(timeout * 1e6), True, drawn_name)

        def opened(answer: Any) -> None:
            if isinstance(answer, SessionInfo):
                attached = self._sessions.get(answer.uid)
                if attached is None:
                    attached = self._sessions[answer.uid] = _Attached(make_listener(answer))
                    self._feed(Attach(answer))
                reply((answer, attached.listener))
            else:
                reply(answer)

        self.post(lambda: self._request(event, opened))
        return event.ticket

    def forget(self, ticket: int) -> None:
        self.post(lambda: self._forget(ticket))

    def ask_up(self, reply: Callable[[Any], None]) -> None:
        """The broker's welcome, or why it refuses us, as soon as either is there."""
        self.check()

        def work() -> None:
            found = self._welcome if self._rejection is None else self._rejection
            if found is None:
                self._up_waits.append(reply)
            else:
                reply(found)

        self.post(work)

    def why_not_up(self) -> Error:
        """May take seconds: whether the name is to blame is looked up only now."""
        why = self._why_not
        text = unresolved(self.endpoint) if why.code is Code.NO_BROKER else ""
        return Error(why.code, text) if text else why

    def post(self, work: Callable[[], None]) -> None:
        """Runs `work` on the I/O thread."""
        self._posted.append(work)
        self._signal()

    def wake(self, uid: int) -> None:
        """The listener has runs again."""
        self._woken.append(uid)
        self._signal()

    def watch(self, uid: int, index: int, reader: str, lineage: str) -> None:
        self.post(lambda: self._feed(WatchFrom(uid, index, reader, lineage)))

    def consumed(self, uid: int, index: int) -> None:
        self.post(lambda: self._feed(Consumed(uid, index)))

    def detach(self, uid: int, error: Error) -> None:
        def work() -> None:
            self._feed(Detach(uid))
            attached = self._sessions.pop(uid, None)
            if attached is not None:
                attached.listener.on_detached(error)

        self.post(work)

    def close(self, flush_seconds: float) -> None:
        """Waits so long that the broker has what was submitted, acknowledges what was consumed,
        says goodbye, ends the thread."""
        if self.closed or self.forked:
            return
        if not self.on_own_thread():
            until = time.monotonic() + flush_seconds
            for attached in list(self._sessions.values()):
                attached.listener.wait_until_acknowledged(max(0.0, until - time.monotonic()))
        self.closed = self.unusable = True

        def stop() -> None:
            self._stopping = True

        self.post(stop)
        if not self.on_own_thread():
            self._thread.join()
            self._wake_out.close()
            self._wake_in.close()

    def _signal(self) -> None:
        # Set before the queue is read: what is appended later is either seen or signalled anew.
        if self._signalled:
            return
        self._signalled = True
        try:
            self._wake_out.write(b"\0")
        except ValueError:
            return  # closed

    # ---- the I/O thread --------------------------------------------------------------------------

    def _run(self) -> None:
        self._own_thread = threading.get_ident()
        # The program's signals are none of our threads' business (libzmq's inherit this mask).
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._context = zmq.Context()
        self._poller.register(self._wake_in, select.POLLIN)
        self._now_us = time.monotonic_ns() // 1000
        try:
            while not self._stopping:
                if self._deadline_us <= self._now_us:
                    self._tick()
                self._signalled = False
                if self._posted:
                    self._take_commands()
                self._perform_all()
                if self._welcome is None:
                    self._note_why_not_up()
                if not self._stopping:  # nobody wakes us any more
                    self._turn()
        finally:
            # After a fault of ours too, whose traceback follows: nobody waits for ever.
            self.closed = self.unusable = True
            self._end()

    def _tick(self) -> None:
        self._feed(Tick())
        if self._now_us >= self._look_again_us:
            # A thread may have been interrupted after it submitted and before it could wake this
            # one.
            self._look_again_us = self._now_us + _LOOK_AGAIN_US
            self._ready.update(self._sessions)

    def _turn(self) -> None:
        """Waits for what comes next and feeds what came."""
        if self._woke:  # after what it was for is done, but before the queues are asked again
            self._woke = False
            self._wake_in.read(4096)
            self._signalled = False  # what was read may be of what is served already
        at_us = self._deadline_us = self._core.next_deadline()
        waits = not (self._posted or self._woken)
        readable = False
        if self._look or not waits:
            self._look = False
            readable = self._readable()
        sleeps = waits and not readable
        if sleeps:
            left_us = at_us - time.monotonic_ns() // 1000
            wait_ms = None if at_us == NEVER else max(0, -(-left_us // 1000))
        if self.to_wake:
            self.wake_waiters()
        if sleeps:
            for descriptor, _ in self._poller.poll(wait_ms):
                if descriptor == self._socket_fd:
                    readable = True
                else:
                    self._woke = True
        self._now_us = time.monotonic_ns() // 1000
        if readable:
            self._drain_socket()

    def wake_waiters(self) -> None:
        release_all(self.to_wake)
        self.to_wake.clear()

    def _readable(self) -> bool:
        return self._socket is not None and self._socket.getsockopt(_EVENTS) & _POLLIN != 0

    def _end(self) -> None:
        self._feed(Leave())
        self._perform_all()
        self._take_commands()  # who asked too late is answered too
        self._perform_all()
        closed = Error(Code.INTERRUPTED, "the client was closed")
        for attached in list(self._sessions.values()):
            attached.listener.on_detached(closed)
        for reply in [*self._replies.values(), *self._up_waits]:
            reply(closed)
        if self._socket is not None:
            self._socket.close()
        self.wake_waiters()
        self._context.term()

    def _feed(self, event: Event) -> None:
        self._core.on(event, self._now_us, self._actions)

    def _request(self, event: Request, reply: Callable[[Any], None]) -> None:
        self._replies[event.ticket] = reply
        self._feed(event)

    def _forget(self, ticket: int) -> None:
        if self._replies.pop(ticket, None) is not None:
            self._feed(Forget(ticket))

    def _note_why_not_up(self) -> None:
        with self._state:
            self._why_not = self._core.not_connected()
        if self._loss is not None and self._now_us >= self._lost_at_us + _AWAY_US:
            self._tell_loss(self._why_not)

    def _tell_loss(self, why: Error) -> None:
        """Futures wait for the broker without end, so it is said why; once, until it is back."""
        if self._loss is not None:
            text = "the link to the broker is lost, and what was submitted waits for it: %s. %s"
            _LOG.warning(text, self._loss, why.message)
            self._loss, self._told_loss = None, True

    def _take_commands(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def _pull(self) -> None:
        while self._woken:
            self._ready.add(self._woken.popleft())
        for uid in list(self._ready):
            attached = self._sessions.get(uid)
            if attached is None or self._pull_from(uid, attached):
                self._ready.discard(uid)

    def _pull_from(self, uid: int, attached: _Attached) -> bool:
        """False: the window is full; asked again as soon as there is room."""
        room = self._core.room(uid)
        while room > 0 and attached.window_bytes < _WINDOW_BYTES:
            run = attached.listener.next_run()
            if run is None:
                return True
            room -= 1
            attached.in_window[run.ticket] = len(run.payload)
            attached.window_bytes += len(run.payload)
            self._feed(run)
        return False

    def _drain_socket(self) -> None:
        receive, option = self._socket.recv, self._socket.getsockopt
        for _ in range(_RECEIVE_BURST):
            # Not recv_multipart, which takes a third more.
            try:
                frames = [receive(_NOBLOCK)]
            except zmq.Again:
                return
            while option(_RCVMORE):
                frames.append(receive(_NOBLOCK))
            try:
                received = decode(frames)
            except BadFrame:
                pass  # counts as lost: the sequence shows the gap and the link is made anew
            else:
                self._core.on(received, self._now_us, self._actions)
            if not option(_EVENTS) & _POLLIN:
                return
        self._look = True

    def _perform_all(self) -> None:
        """Actions may cause events and so further actions, at the end of the list."""
        while True:
            if self._woken or self._ready:
                self._pull()
            if not self._actions:
                return
            actions, self._actions = self._actions, []
            for action in actions:
                self._PERFORMERS[type(action)](self, action)

    def _open_socket(self, _: OpenSocket) -> None:
        if self._socket is not None:
            self._poller.unregister(self._socket_fd)
            self._socket.close()
        self._socket = dealer = self._context.socket(zmq.DEALER)
        # Windows bound what is outstanding; a high-water mark would only turn that into loss.
        dealer.set(zmq.SNDHWM, _SEND_WATER)
        dealer.set(zmq.RCVHWM, _SEND_WATER)
        dealer.set(zmq.MAXMSGSIZE, limits.MESSAGE_BYTES_MAX)
        dealer.set(zmq.HANDSHAKE_IVL, 3000)
        # A dead host is noticed by the kernel.
        dealer.set(zmq.TCP_KEEPALIVE, 1)
        dealer.set(zmq.TCP_KEEPALIVE_IDLE, 2)
        dealer.set(zmq.TCP_KEEPALIVE_INTVL, 2)
        dealer.set(zmq.TCP_KEEPALIVE_CNT, 2)
        dealer.set(zmq.TCP_MAXRT, 6000)
        dealer.set(zmq.IMMEDIATE, 1)
        dealer.set(zmq.RECONNECT_IVL, 50)
        dealer.set(zmq.RECONNECT_IVL_MAX, 1000)
        dealer.set(zmq.LINGER, 500)
        # Random, so that nobody can be given or claim the same.
        dealer.set(zmq.ROUTING_ID, b"f" + secrets.token_bytes(15))
        # Of the compiled class: the other one asks for options that are not for us.
        self._socket_send = super(zmq.Socket, dealer).send  # type: ignore[misc]  # generic
        self._socket_fd = dealer.getsockopt(zmq.FD)
        self._look = True
        self._poller.register(self._socket_fd, select.POLLIN)
        try:
            dealer.connect(self.endpoint)
        except zmq.ZMQError as error:
            text = f"cannot connect to {self.endpoint}: {error}"
            self._rejected(Rejected(Error(Code.SYSTEM, text)))

    def _send(self, send: Send) -> None:
        if send.link == self._failed_link:
            return
        try:
            frames = self._encoder.encode(*send)
        except Exception as error:  # what check_message let through; msgpack raises many kinds
            self._feed(Unsendable(send.message, str(error)))
            # In its place, for the broker counts what comes.
            frames = self._encoder.encode(send.link, send.sequence, Beat())
        self._look = True
        try:
            if len(frames) == 2:
                self._socket_send(frames[0], _NOBLOCK_MORE)
            self._socket_send(frames[-1], _NOBLOCK)
        except zmq.ZMQError:
            self._failed_link = send.link
            self._feed(SendFailed())

    def _answer(self, answer: Answer) -> None:
        reply = self._replies.pop(answer.ticket, None)
        if reply is not None:
            reply(answer.result)

    def _listener(self, uid: int) -> SessionListener | None:
        attached = self._sessions.get(uid)
        return None if attached is None else attached.listener

    def _submitted(self, submitted: Submitted) -> None:
        attached = self._sessions.get(submitted.uid)
        if attached is not None:
            attached.left_window(submitted.ticket)
            attached.listener.on_submitted(submitted.ticket, submitted.run, submitted.level)

    def _submit_failed(self, failed: SubmitFailed) -> None:
        attached = self._sessions.get(failed.uid)
        if attached is not None:
            attached.left_window(failed.ticket)
            attached.listener.on_submit_failed(failed.ticket, failed.error)

    def _deliver(self, results: Results) -> None:
        attached = self._sessions.get(results.uid)
        if attached is not None and attached.listener.on_results(results):
            self._feed(Consumed(results.uid, results.index + 1))

    def _trimmed(self, trimmed: Trimmed) -> None:
        listener = self._listener(trimmed.uid)
        if listener is not None:
            listener.on_trimmed(trimmed.begin, trimmed.end)

    def _watch_failed(self, failed: WatchFailed) -> None:
        listener = self._listener(failed.uid)
        if listener is not None:
            listener.on_watch_failed(failed.error)

    def _changed(self, change: SessionChanged) -> None:
        listener = self._listener(change.uid)
        if listener is not None:
            listener.on_changed(change)

    def _progressed(self, progress: Progress) -> None:
        listener = self._listener(progress.uid)
        if listener is not None:
            listener.on_progress(progress)

    def _lost(self, lost: Lost) -> None:
        listener = self._listener(lost.uid)
        if listener is not None:
            listener.on_lost(lost.run)

    def _link_up(self, link: LinkUp) -> None:
        with self._state:
            self._welcome = link.welcome
            self._state.notify_all()
        self._tell_up(link.welcome)
        self._loss = None
        if self._told_loss:
            self._told_loss = False
            _LOG.info("the link to the broker at %s is back", self.endpoint)

    def _link_down(self, down: LinkDown) -> None:
        with self._state:
            self._welcome = None
        self._loss, self._lost_at_us = down.reason, self._now_us

    def _rejected(self, rejected: Rejected) -> None:
        with self._state:
            self._rejection = rejected.error
            self._state.notify_all()
        self._tell_up(rejected.error)
        self._tell_loss(rejected.error)

    def _tell_up(self, what: Welcome | Error) -> None:
        waits, self._up_waits = self._up_waits, []
        for reply in waits:
            reply(what)

    _PERFORMERS: dict[type[Any], Callable[[Any, Any], None]] = {
        OpenSocket: _open_socket,
        Send: _send,
        Answer: _answer,
        Submitted: _submitted,
        SubmitFailed: _submit_failed,
        Results: _deliver,
        Trimmed: _trimmed,
        WatchFailed: _watch_failed,
        SessionChanged: _changed,
        Progress: _progressed,
        Lost: _lost,
        LinkUp: _link_up,
        LinkDown: _link_down,
        Rejected: _rejected,
    }


# The enumerations of pyzmq take longer to combine than a message to send.
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)
_RCVMORE = int(zmq.RCVMORE)
_NOBLOCK = int(zmq.NOBLOCK)
_NOBLOCK_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


def _pipe() -> tuple[io.FileIO, io.FileIO]:
    """To read from and to write to, without waiting. Objects, for what is written to a closed one
    must not go to whoever has its number now."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return io.FileIO(ends[0], "r"), io.FileIO(ends[1], "w")


def _value_or_raise(value: Any) -> Any:
    if isinstance(value, Error):
        raise exception_of(value)
    return value


def check_message(message: Any) -> None:
    """Raises FlameError, and names the field, where the broker could not read it. On the caller's
    thread: a wrong argument is one caller's."""
    try:
        check(message)
    except BadFrame as error:
        name = MESSAGES[TYPE_OF[type(message)]][0]
        raise FlameError(Code.BAD_REQUEST, f"{name}: {error}") from None


_OPEN: weakref.WeakSet[Connection] = weakref.WeakSet()


def _close_all() -> None:
    for connection in list(_OPEN):
        connection.close(_EXIT_FLUSH_SECONDS)


def _after_fork() -> None:
    for connection in list(_OPEN):
        connection.forked = connection.unusable = True


atexit.register(_close_all)
# Not asked for by each call: a system call would be a third of a submit.
os.register_at_fork(after_in_child=_after_fork)
