# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The client as a pure state machine: it keeps the link to the broker alive, and everything that
was asked over it true across broken links, restarted brokers and lost messages. The shell
(_connection.py) owns one on its I/O thread.

    link:  connecting --hello sent--> greeting --welcome--> up
               ^------------- resync, gap, silence, failed send -------'

On every new link absolutes are said again: each attached session is opened once more (which tells
what the broker has of our submits), held submits are resent, each watch is asked again from its
cursor.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Callable, NamedTuple, cast

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
    Received,
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
from flamepy._core.request_table import Failed, RequestTable
from flamepy._core.result_cursor import Order, ResultCursor
from flamepy._core.submit_window import Refusal, SubmitWindow
from flamepy._proto import limits
from flamepy._proto import messages as m
from flamepy._proto.epoch import NewestEpoch
from flamepy._proto.errors import NO_ERROR, Code, Error
from flamepy._proto.link import Link, Verdict

_HELLO_WAIT_FIRST_US = 1_000
_HELLO_WAIT_MOST_US = 200_000
_HELLO_ANSWER_US = 2_000_000
# A link that lasted this long was a good one: the next hello is not held back.
_STEADY_US = 2_000_000
_HELLOS_PER_SOCKET = 3


class ClientConfig(NamedTuple):
    client: str
    """32 hex digits, drawn once per client."""
    endpoint: str
    """Only for error texts."""
    version: str
    cluster: str = ""
    first_link: int = 1
    """Random, so that an earlier process' link is not taken for ours."""


class _Phase(Enum):
    CONNECTING = 0
    GREETING = 1
    UP = 2
    REJECTED = 3
    LEFT = 4


class _Session:
    def __init__(self, info: m.SessionInfo) -> None:
        self.name = info.session
        self.synced = True  # opened on this link; only then submits and watches go out
        self.open_request = 0
        self.watch_request = 0
        self.submits = SubmitWindow(info.last_submit)
        self.results = ResultCursor()

    def due_at_us(self) -> int:
        """When it has something to send; what waits for a new link is told when that is there."""
        return min(self.submits.due_at_us, self.results.ack_at_us) if self.synced else NEVER


class ClientCore:
    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._phase = _Phase.CONNECTING
        self._socket_open = False
        self._link = Link()
        self._next_link = max(1, config.first_link)
        self._hello_at_us = 0  # connecting: when to try; greeting: when to try again
        self._hello_wait_us = 0  # doubles from try to try
        self._hellos_unanswered = 0
        self._beat_at_us = NEVER
        self._heard_at_us = 0
        self._up_since_us = 0
        self._beat_us = limits.BEAT_MS * 1000
        self._lease_us = limits.CLIENT_LEASE_MS * 1000
        self._lineage = ""
        self._serving = True  # False: the broker answers reads; what it lacks may still be found
        self._newest_epoch = NewestEpoch()
        self._rejection = NO_ERROR
        self._not_yet = NO_ERROR  # the answer to the last hello, while that is "later"
        self._requests = RequestTable()
        self._sessions: dict[int, _Session] = {}
        self._restless: dict[int, _Session] = {}
        """Those of them that may have something to send later: a client may have thousands open."""
        self._due_at_us = 0
        """When _flush has something to do."""
        # Of the call of on() that is running.
        self._now_us = 0
        self._actions: list[Action] = []

    # ---- the face --------------------------------------------------------------------------------

    def on(self, event: Event, now_us: int, actions: list[Action]) -> None:
        self._now_us = now_us
        self._actions = actions
        calm = self._HANDLERS[type(event)](self, event)
        if not calm or now_us >= self._due_at_us:
            self._flush()
            self._due_at_us = self._next_due()

    def next_deadline(self) -> int:
        """A Tick is due then; NEVER while nothing is."""
        if self._phase is _Phase.UP:
            return min(self._due_at_us, self._heard_at_us + self._lease_us)
        return self._due_at_us

    def _next_due(self) -> int:
        if self._phase in (_Phase.REJECTED, _Phase.LEFT):
            return NEVER
        up = self._phase is _Phase.UP
        at = self._requests.deadline(up) if self._requests else NEVER
        if not up:
            return min(at, self._hello_at_us)
        at = min(at, self._beat_at_us)
        for session in self._restless.values():
            at = min(at, session.due_at_us())
        return at

    @property
    def up(self) -> bool:
        return self._phase is _Phase.UP

    @property
    def lineage(self) -> str:
        return self._lineage

    def not_connected(self) -> Error:
        """While there is no link: that nobody is there, or why who is there does not serve yet."""
        if self._not_yet.code is not Code.OK:
            return Error(
                self._not_yet.code,
                f"The broker at {self._config.endpoint} does not serve yet: "
                f"{self._not_yet.message}",
            )
        return Error(Code.NO_BROKER, f"No broker at {self._config.endpoint}. Start one: flmctl up")

    def room(self, uid: int) -> int:
        """How many runs the session's window takes; none if it is not attached."""
        session = self._sessions.get(uid)
        return 0 if session is None else session.submits.room()

    # ---- the link --------------------------------------------------------------------------------

    def _on_tick(self, _: Tick) -> None:
        if self.up and self._now_us >= self._heard_at_us + self._lease_us:
            seconds = self._lease_us // 1_000_000
            self._drop_link(f"the broker was silent for {seconds} s", new_socket=True)

    def _flush(self) -> None:
        """Whatever an event made possible, and whatever is due by time."""
        if self._phase in (_Phase.REJECTED, _Phase.LEFT):
            return
        now_us = self._now_us
        anything_asked = bool(self._requests)
        if anything_asked:
            down = NO_ERROR if self.up else self.not_connected()
            self._answer_all(self._requests.expire(now_us, down))
        if self._phase is not _Phase.UP:
            if now_us >= self._hello_at_us:
                self._say_hello()
            return
        if anything_asked:
            for message in self._requests.due(now_us):
                self._send(message)
        for uid, session in list(self._restless.items()):
            if session.synced and session.submits.due_at_us <= now_us:
                self._send_due(session)
            if session.synced and session.results.ack_at_us <= now_us:
                self._send(m.ResultsAck(uid, session.results.take_ack()))
            if session.due_at_us() == NEVER:
                del self._restless[uid]
        if now_us >= self._beat_at_us:
            self._beat_at_us = now_us + self._beat_us
            self._send(m.Beat(0, 0, self._link.received))

    def _send_due(self, session: _Session) -> None:
        for submit in session.submits.due(self._now_us):
            self._send(submit)

    def _say_hello(self) -> None:
        if not self._socket_open or self._hellos_unanswered >= _HELLOS_PER_SOCKET:
            self._actions.append(OpenSocket())
            self._socket_open = True
            self._hellos_unanswered = 0
        self._phase = _Phase.GREETING
        self._hello_at_us = self._now_us + _HELLO_ANSWER_US
        self._hellos_unanswered += 1
        self._link = Link(self._next_link)
        self._next_link = self._next_link % 0xFFFFFFFF + 1
        config = self._config
        self._send(
            m.ClientHello(
                m.PROTOCOL_MINOR, config.cluster, config.client, self._lineage, config.version
            )
        )

    def _on_send_failed(self, _: SendFailed) -> None:
        if self.up:
            self._drop_link("the connection to the broker is closed", new_socket=False)
            return
        if self._phase is not _Phase.GREETING:
            return
        self._phase = _Phase.CONNECTING
        self._hellos_unanswered = 0  # it did not even leave; libzmq is connecting
        self._not_yet = NO_ERROR
        self._hello_wait_us = self._longer_wait()
        self._hello_at_us = self._now_us + self._hello_wait_us

    def _on_unsendable(self, event: Unsendable) -> None:
        """As if the broker had refused it."""
        uid, submit, request = (
            getattr(event.message, name, 0) for name in ("uid", "number", "request")
        )
        self._receive_error(m.ErrorReply(request, Code.BAD_REQUEST, event.reason, 0, uid, submit))

    def _longer_wait(self) -> int:
        return min(max(self._hello_wait_us * 2, _HELLO_WAIT_FIRST_US), _HELLO_WAIT_MOST_US)

    def _drop_link(self, reason: str, *, new_socket: bool) -> None:
        steady = self.up and self._now_us - self._up_since_us >= _STEADY_US
        if self.up:
            self._actions.append(LinkDown(reason))
        self._phase = _Phase.CONNECTING
        self._link = Link()
        if new_socket:
            self._socket_open = False
        self._hello_wait_us = 0 if steady else self._longer_wait()
        self._hello_at_us = self._now_us + self._hello_wait_us
        for session in self._sessions.values():
            session.synced = False
            self._requests.answer(session.open_request)
            self._requests.answer(session.watch_request)
            session.open_request = session.watch_request = 0
            session.submits.link_lost()
        self._answer_all(self._requests.link_lost())

    def _send(self, message: m.Message) -> None:
        self._actions.append(Send(self._link.id, self._link.next(), message))

    def _on_received(self, event: Received) -> bool:
        link, sequence, message = event
        if link != self._link.id or link == 0:
            return False  # of an older link
        # Resync and refusals of a hello come from a broker that does not know the link, so it
        # cannot number them.
        if type(message) is m.Resync:
            self._drop_link(message.reason, new_socket=False)
            return False
        self._heard_at_us = self._now_us
        if self._phase is _Phase.GREETING and type(message) is m.ErrorReply:
            self._hello_refused(message)
            return False
        verdict = self._link.receive(sequence)
        if verdict is Verdict.GAP:
            self._drop_link("messages from the broker were lost", new_socket=False)
        if verdict is not Verdict.ACCEPT:
            return False
        receive = self._RECEIVERS.get(type(message))
        # others are not for clients
        return receive is not None and receive(self, message) is True

    def _receive_bye(self, bye: m.Bye) -> None:
        self._drop_link("the broker left: " + bye.reason, new_socket=False)

    def _receive_welcome(self, welcome: m.Welcome) -> None:
        if self._phase is not _Phase.GREETING:
            return
        if not self._newest_epoch.accept(welcome.lineage, welcome.epoch):
            self._drop_link(
                f"a broker that was replaced answered (epoch {welcome.epoch[:60]!r}); looking for "
                "its successor",
                new_socket=True,
            )
            return
        now_us = self._now_us
        self._phase = _Phase.UP
        self._not_yet = NO_ERROR
        self._hellos_unanswered = 0
        self._up_since_us = self._heard_at_us = now_us
        self._beat_us = max(welcome.beat_ms, 10) * 1000
        self._lease_us = max(welcome.lease_ms * 1000, 3 * self._beat_us)
        self._beat_at_us = now_us + self._beat_us
        self._lineage = welcome.lineage
        self._serving = welcome.serving
        self._actions.append(LinkUp(welcome))
        for session in self._sessions.values():
            self._open_again(session)

    def _hello_refused(self, reply: m.ErrorReply) -> None:
        error = Error(reply.code, reply.message, reply.retry_after_ms)
        if reply.code.retry != "no":  # not yet: hello again after a while
            self._drop_link(reply.message, new_socket=False)
            self._not_yet = error
            wait_us = reply.retry_after_ms * 1000
            self._hello_at_us = max(self._hello_at_us, self._now_us + wait_us)
            return
        self._phase = _Phase.REJECTED
        self._rejection = error
        self._answer_all(self._requests.fail_all(error))
        self._actions.append(Rejected(error))

    def _on_leave(self, _: Leave) -> None:
        if self.up:
            for uid, session in self._sessions.items():
                if session.results.anything_to_ack():
                    self._send(m.ResultsAck(uid, session.results.take_ack()))
            self._send(m.Bye("done"))
        self._phase = _Phase.LEFT
        closed = Error(Code.INTERRUPTED, "the client was closed")
        self._answer_all(self._requests.fail_all(closed))

    # ---- requests --------------------------------------------------------------------------------

    def _on_request(self, event: Request) -> None:
        if self._phase is _Phase.REJECTED:
            self._answer_all([(event.ticket, self._rejection)])
        elif self._phase is _Phase.LEFT:
            self._answer_all([(event.ticket, Error(Code.INTERRUPTED, "the client was closed"))])
        else:
            self._requests.add(event, self._now_us)

    def _on_forget(self, event: Forget) -> None:
        self._requests.forget(event.ticket)

    def _ask(self, message: m.Message) -> int:
        return self._requests.add(Request(0, message), self._now_us)

    def _answer(self, number: int, result: Any) -> None:
        ticket = self._requests.answer(number)
        if ticket:
            self._actions.append(Answer(ticket, result))

    def _answer_all(self, failed: Failed) -> None:
        self._actions.extend(Answer(ticket, error) for ticket, error in failed if ticket)

    def _pass_on(self, reply: Any) -> None:
        self._answer(reply.request, reply)

    def _receive_error(self, reply: m.ErrorReply) -> None:
        if reply.submit:
            self._refuse_submit(reply)
        elif reply.request == 0:
            if reply.code is Code.RESYNC:
                self._drop_link(reply.message, new_socket=False)
            elif reply.code.retry != "no":
                self._requests.held_up(Error(reply.code, reply.message, reply.retry_after_ms))
        elif not self._requests.retry_later(reply, self._now_us) and not self._refuse_own(reply):
            self._answer(reply.request, Error(reply.code, reply.message, reply.retry_after_ms))

    def _receive_beat(self, beat: m.Beat) -> None:
        if beat.status == 1:
            self._requests.held_up(NO_ERROR)

    def _refuse_own(self, reply: m.ErrorReply) -> bool:
        """An error to a request of the core's own."""
        error = Error(reply.code, reply.message, reply.retry_after_ms)
        for uid, session in self._sessions.items():
            if session.open_request == reply.request:
                self._requests.answer(reply.request)
                session.open_request = 0
                if reply.code in (Code.NOT_FOUND, Code.GONE):
                    self._session_gone(uid, session, error)
                return True
            if session.watch_request == reply.request:
                self._requests.answer(reply.request)
                session.watch_request = 0
                session.results.stop()
                self._actions.append(WatchFailed(uid, error))
                return True
        return False

    # ---- attached sessions: submits, watches, what a new link or lineage means for them ----------

    def _on_attach(self, event: Attach) -> None:
        if event.info.uid in self._sessions:
            return
        session = self._sessions[event.info.uid] = _Session(event.info)
        # Answered on a link that has broken since: look again on the next one.
        session.synced = self.up

    def _on_detach(self, event: Detach) -> None:
        session = self._sessions.pop(event.uid, None)
        self._restless.pop(event.uid, None)
        if session is None:
            return
        if self.up and session.results.anything_to_ack():
            self._send(m.ResultsAck(event.uid, session.results.take_ack()))
        self._requests.answer(session.open_request)
        self._requests.answer(session.watch_request)

    def _on_submit_run(self, event: SubmitRun) -> bool:
        session = self._sessions.get(event.uid)
        if session is None:
            error = Error(Code.GONE, "the session is not open in this client")
            self._actions.append(SubmitFailed(event.uid, event.ticket, error))
            return True
        session.submits.add(event)
        if session.synced and self._phase is _Phase.UP:
            self._send_due(session)
        return True

    def _on_watch_from(self, event: WatchFrom) -> None:
        session = self._sessions.get(event.uid)
        if session is None:
            return
        session.results.start(event, self._lineage)
        if session.synced:
            self._watch(event.uid, session)

    def _on_consumed(self, event: Consumed) -> bool:
        session = self._sessions.get(event.uid)
        if session is not None:
            session.results.consume(event.index, self._now_us)
            if session.synced:
                self._restless[event.uid] = session
                self._due_at_us = min(self._due_at_us, session.results.ack_at_us)
        return True

    def _watch(self, uid: int, session: _Session) -> None:
        self._requests.answer(session.watch_request)
        cursor = session.results
        session.watch_request = self._ask(
            m.Watch(uid=uid, index=cursor.next, reader=cursor.reader, lineage=cursor.lineage)
        )

    def _open_again(self, session: _Session) -> None:
        session.open_request = self._ask(m.OpenSession(0, session.name))

    def _receive_session_info(self, info: m.SessionInfo) -> None:
        for uid, session in self._sessions.items():
            if session.open_request != info.request:
                continue
            self._requests.answer(info.request)
            session.open_request = 0
            if info.uid == uid:
                self._session_opened(uid, session, info)
                return
            text = f"session '{session.name}' was deleted; another one has its name now"
            self._session_gone(uid, session, Error(Code.GONE, text))
            return
        self._pass_on(info)

    def _session_opened(self, uid: int, session: _Session, info: m.SessionInfo) -> None:
        session.synced = True
        self._restless[uid] = session
        if self._serving:
            self._compare(uid, session, info)
        # Ahead of one that waits for a person: it says Resync when it serves again.
        if session.results.watching and session.results.next <= info.done_end:
            self._watch(uid, session)
        change = m.SessionChanged(uid, info.state, info.counters, info.done_end, "")
        self._actions.append(change)

    def _compare(self, uid: int, session: _Session, info: m.SessionInfo) -> None:
        """What the broker has with what this client knows."""
        for run in session.submits.resume(info.last_submit):
            self._actions.append(Lost(uid, run))
        cursor = session.results
        # Ahead of the broker: results of a `memory` session ended with the broker that had them.
        if cursor.watching and (cursor.next > info.done_end or cursor.lineage != self._lineage):
            cursor.rebase(self._lineage, info.done_end)

    def _session_gone(self, uid: int, session: _Session, error: Error) -> None:
        for ticket in session.submits.take_all():
            self._actions.append(SubmitFailed(uid, ticket, error))
        if session.results.watching:
            self._actions.append(WatchFailed(uid, error))
        del self._sessions[uid]
        self._restless.pop(uid, None)

    def _receive_submit_ack(self, ack: m.SubmitAck) -> bool:
        session = self._sessions.get(ack.uid)
        if session is None:
            return True
        for item in ack.items:
            ticket = session.submits.acknowledge(item)
            if ticket is not None:
                self._actions.append(Submitted(ack.uid, ticket, item.run, ack.level))
        return True

    def _refuse_submit(self, reply: m.ErrorReply) -> None:
        session = self._sessions.get(reply.uid)
        if session is None:
            return
        refused = session.submits.refuse(reply, self._now_us)
        self._restless[reply.uid] = session
        if refused.kind is Refusal.FINAL:
            error = Error(reply.code, reply.message, reply.retry_after_ms)
            self._actions.append(SubmitFailed(reply.uid, refused.ticket, error))
        elif refused.kind is Refusal.UNKNOWN and session.open_request == 0:
            session.synced = False
            session.submits.link_lost()
            self._open_again(session)

    def _receive_results(self, results: m.Results) -> bool:
        session = self._sessions.get(results.uid)
        if session is None or session.watch_request:  # of the watch before
            return True
        order = session.results.receive(results)
        if order is Order.ACCEPT:
            self._actions.append(results)
        elif order is Order.GAP:
            self._watch(results.uid, session)
        return order is not Order.GAP

    def _receive_watching(self, watching: m.Watching) -> None:
        session = self._sessions.get(watching.uid)
        if session is None or session.watch_request != watching.request:
            return
        self._requests.answer(watching.request)
        session.watch_request = 0
        asked = session.results.next
        if watching.index != asked:
            session.results.move(watching.index)
        if watching.index > asked:
            self._actions.append(Trimmed(watching.uid, asked, watching.index))

    def _receive_changed(self, change: m.SessionChanged) -> None:
        session = self._sessions.get(change.uid)
        if session is None:
            return
        self._actions.append(change)
        # No result comes any more, and whoever waits for one must not wait for ever.
        if change.state is m.SessionState.DELETING:
            error = Error(Code.GONE, f"session '{session.name}' was deleted")
            self._session_gone(change.uid, session, error)

    def _receive_progress(self, progress: m.Progress) -> None:
        if progress.uid in self._sessions:
            self._actions.append(progress)

    # True: calm. By this nothing became due that `_due_at_us` does not say. Of others it is not
    # known; those of each task say it, for else each would go through all sessions.
    _HANDLERS = cast(
        "dict[type[Event], Callable[[ClientCore, Any], bool | None]]",
        {
            Tick: _on_tick,
            Received: _on_received,
            SendFailed: _on_send_failed,
            Unsendable: _on_unsendable,
            Request: _on_request,
            Forget: _on_forget,
            Attach: _on_attach,
            Detach: _on_detach,
            SubmitRun: _on_submit_run,
            WatchFrom: _on_watch_from,
            Consumed: _on_consumed,
            Leave: _on_leave,
        },
    )
    _RECEIVERS = cast(
        "dict[type[m.Message], Callable[[ClientCore, Any], bool | None]]",
        {
            m.ErrorReply: _receive_error,
            m.Beat: _receive_beat,
            m.Bye: _receive_bye,
            m.Welcome: _receive_welcome,
            m.Ok: _pass_on,
            m.SessionInfo: _receive_session_info,
            m.SubmitAck: _receive_submit_ack,
            m.Watching: _receive_watching,
            m.Results: _receive_results,
            m.Cancelled: _pass_on,
            m.Tasks: _pass_on,
            m.CommonData: _pass_on,
            m.Logs: _pass_on,
            m.Progress: _receive_progress,
            m.Listing: _pass_on,
            m.SessionChanged: _receive_changed,
        },
    )
