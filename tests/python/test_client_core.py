# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The core as the broker sees it, in the words of tests/unit/client/client_core_test.cpp. Time
stands still unless a test moves it."""

import pytest

from flamepy._core import client_core
from flamepy._core import events as e
from flamepy._core.client_core import ClientConfig, ClientCore
from flamepy._core.result_cursor import ACK_BYTES
from flamepy._proto import messages as m
from flamepy._proto.errors import Code, Error
from flamepy._proto.link import Link


class World:
    """Speaks the broker's part by hand."""

    def __init__(self):
        self.core = ClientCore(ClientConfig("c1", "tcp://here:1", "test", first_link=5))
        self.now_us = 10_000_000
        self.broker = Link()
        self.sequence = 0
        self.request = 0  # of the last request sent
        self.lineage = "A"
        self.said_lineage = None

    def on(self, event):
        """Feeds and returns what it caused, in words."""
        actions = []
        self.core.on(event, self.now_us, actions)
        # An event that is calm must not have made anything due.
        assert self.core._due_at_us <= self.core._next_due()
        return [self.tell(action) for action in actions]

    def after_ms(self, ms):
        self.now_us += ms * 1000
        return self.on(e.Tick())

    def hear(self, message):
        return self.on(e.Received(self.broker.id, self.broker.next(), message))

    def welcome(self, epoch="", serving=True):
        return m.Welcome(lineage=self.lineage, epoch=epoch, serving=serving)

    def info(self, request=0, uid=7, last_submit=0, done_end=0):
        return m.SessionInfo(request, "s", uid, last_submit=last_submit, done_end=done_end)

    def connect(self):
        self.on(e.Tick())
        self.hear(self.welcome())

    def connect_with_session(self):
        self.connect()
        self.on(e.Attach(self.info()))

    def watch(self, index=0):
        self.on(e.WatchFrom(7, index))
        self.hear(m.Watching(self.request, 7, index, index))

    def break_link(self):
        assert self.on(e.SendFailed()) == ["down"]
        assert self.after_ms(1) == ["client_hello"]

    def submit(self, ticket):
        return self.on(e.SubmitRun(7, ticket, 5, b""))

    def ack(self, *items):
        runs = [m.SubmitAckItem(number, m.Run(first, 5)) for number, first in items]
        return self.hear(m.SubmitAck(7, m.Durability.STORED, runs))

    def refuse(self, code, text="", retry_ms=0):
        return self.hear(m.ErrorReply(self.request, code, text, retry_ms))

    @staticmethod
    def entry(index, payload=b"o"):
        return m.Results(7, index, m.Run(index + 1, 1), "x", 1, payload=payload)

    def tell(self, action):
        return getattr(self, f"tell_{type(action).__name__}")(action)

    def tell_OpenSocket(self, _):
        return "socket"

    def tell_Send(self, send):
        message = send.message
        if isinstance(message, m.ClientHello):
            self.broker = Link(send.link)
            self.sequence = 0
            self.said_lineage = message.lineage
        self.sequence += 1
        assert (send.link, send.sequence) == (self.broker.id, self.sequence)
        word = m.MESSAGES[m.TYPE_OF[type(message)]][0]
        if isinstance(message, (m.Watch, m.OpenSession, m.ListKind, m.CreateSession)):
            self.request = message.request
        if isinstance(message, m.Submit):
            word += f" {message.number}"
        if isinstance(message, (m.ResultsAck, m.Watch)):
            word += f" {message.index}"
        if isinstance(message, m.CreateSession) and message.open_or_create:
            word += " or open"
        return word

    def tell_Answer(self, answer):
        failed = isinstance(answer.result, Error)
        return f"answer {answer.ticket} {answer.result.code.text if failed else 'ok'}"

    def tell_Submitted(self, submitted):
        return f"submitted {submitted.ticket} as {submitted.run}"

    def tell_SubmitFailed(self, failed):
        return f"submit {failed.ticket} failed {failed.error.code.text}"

    def tell_Results(self, results):
        return f"entry {results.index}"

    def tell_Trimmed(self, trimmed):
        return f"trimmed to {trimmed.end}"

    def tell_WatchFailed(self, failed):
        return f"watch failed {failed.error.code.text}"

    def tell_SessionChanged(self, change):
        return f"state {change.state.name.capitalize()}"

    def tell_Lost(self, lost):
        return f"lost {lost.run}"

    def tell_LinkUp(self, _):
        return "up"

    def tell_LinkDown(self, _):
        return "down"

    def tell_Rejected(self, rejected):
        return f"rejected {rejected.error.code.text}"


@pytest.fixture
def world():
    return World()


SESSIONS = m.ListKind(0, "session")


# ---- the link ------------------------------------------------------------------------------------


def test_says_hello_first_and_beats_when_up(world):
    assert world.on(e.Tick()) == ["socket", "client_hello"]
    assert world.hear(world.welcome()) == ["up"]
    assert world.core.up
    assert world.after_ms(999) == []
    assert world.after_ms(1) == ["beat"]


def test_tries_again_soon_while_nobody_is_connected(world):
    world.on(e.Tick())
    assert world.on(e.SendFailed()) == []
    assert world.core.next_deadline() - world.now_us <= 2_000
    assert world.after_ms(2) == ["client_hello"]


def test_makes_a_new_socket_after_three_unanswered_hellos(world):
    world.on(e.Tick())
    assert world.after_ms(2_000) == ["client_hello"]
    assert world.after_ms(2_000) == ["client_hello"]
    assert world.after_ms(2_000) == ["socket", "client_hello"]


def test_refusal_of_the_hello_is_final(world):
    world.on(e.Tick())
    world.on(e.Request(1, SESSIONS))
    refusal = m.ErrorReply(0, Code.VERSION, "v2 here")
    assert world.hear(refusal) == ["answer 1 version", "rejected version"]
    assert world.core.next_deadline() == e.NEVER
    assert world.on(e.Request(2, SESSIONS)) == ["answer 2 version"]


def test_a_gap_from_the_broker_leads_to_a_new_link(world):
    world.connect()
    world.broker.next()  # lost
    assert world.hear(m.Beat()) == ["down"]
    assert world.after_ms(1) == ["client_hello"]


def test_messages_of_an_old_link_are_dropped(world):
    world.connect()
    old = world.broker
    world.break_link()
    assert world.on(e.Received(old.id, old.next(), m.Beat())) == []
    assert world.on(e.Received(old.id, old.next(), m.Resync("?"))) == []
    assert world.hear(world.welcome()) == ["up"]


def test_a_silent_broker_gets_a_new_socket(world):
    world.connect()
    for _ in range(29):
        assert world.after_ms(1_000) == ["beat"]
    assert world.after_ms(1_000) == ["down", "socket", "client_hello"]


def test_what_a_broker_that_was_replaced_says_is_no_loss(world):
    world.connect_with_session()

    def greet(epoch):
        world.hear(m.Resync("again"))
        world.after_ms(1_000)
        return world.hear(world.welcome(epoch))

    assert greet("8-aa") == ["up", "open_session"]
    assert greet("6-bb") == []
    assert world.after_ms(1_000) == ["socket", "client_hello"]
    assert world.hear(world.welcome("9-cc")) == ["up", "open_session"]


# ---- requests ------------------------------------------------------------------------------------


def test_requests_wait_for_the_link_and_are_answered_once(world):
    assert world.on(e.Request(1, SESSIONS)) == ["socket", "client_hello"]
    assert world.hear(world.welcome()) == ["up", "list"]
    assert world.hear(m.Listing(world.request)) == ["answer 1 ok"]
    assert world.hear(m.Listing(world.request)) == []


def test_a_forgotten_request_leaves_nothing_behind(world):
    world.connect()
    assert world.on(e.Request(1, SESSIONS)) == ["list"]
    assert world.on(e.Forget(1)) == world.on(e.Forget(1)) == []
    assert not world.core._requests
    assert world.hear(m.Listing(world.request)) == []
    world.break_link()
    assert world.hear(world.welcome()) == ["up"]


def test_requests_give_up_at_their_deadline_and_say_why(world):
    world.on(e.Request(1, SESSIONS, 1_000_000))
    assert world.after_ms(1_000) == ["answer 1 no_broker"]
    world.hear(world.welcome())
    world.on(e.Request(2, SESSIONS, 100_000))
    assert world.after_ms(100) == ["answer 2 timeout"]


def test_says_why_the_broker_that_is_there_does_not_serve_yet(world):
    world.on(e.Request(1, SESSIONS, 1_000_000))
    world.hear(m.ErrorReply(0, Code.RECOVERING, "Redis is loading", 100))
    assert world.core.not_connected().code is Code.RECOVERING
    assert "Redis is loading" in world.core.not_connected().message
    assert world.after_ms(100) == ["client_hello"]
    world.hear(world.welcome())
    assert world.core.up


def test_later_means_later(world):
    world.connect()
    world.on(e.Request(1, SESSIONS, 1_000_000))
    assert world.refuse(Code.RECOVERING, "reading", 300) == []
    assert world.after_ms(299) == []
    assert world.after_ms(1) == ["list"]
    world.refuse(Code.RECOVERING, "reading", 300)
    assert world.after_ms(300) == ["list"]
    # The last word before the deadline is what the caller hears.
    assert world.refuse(Code.STORE_DOWN, "no Redis", 500) == ["answer 1 store_down"]


def test_a_time_out_says_why_the_broker_could_not_record_what_it_took(world):
    full = m.ErrorReply(0, Code.STORE_REFUSED, "Redis is full", 500)
    world.connect()
    world.on(e.Request(1, m.CloseSession(0, "s"), 10_000_000, True, False))
    assert world.hear(full) == []
    assert world.hear(m.Beat(0)) == []
    assert "answer 1 store_refused" in world.after_ms(11_000)
    world.on(e.Request(2, m.CloseSession(0, "s"), 10_000_000, True, False))
    world.hear(full)
    assert world.hear(m.Beat(1)) == [], "it records again"
    assert "answer 2 timeout" in world.after_ms(11_000)


def test_lost_lineage_needs_a_person_so_it_is_an_answer(world):
    world.connect()
    world.on(e.Request(1, SESSIONS))
    assert world.refuse(Code.LOST_LINEAGE, "recover", 100) == ["answer 1 lost_lineage"]


def test_resync_leads_to_a_new_link_with_the_same_requests(world):
    world.connect()
    world.on(e.Request(1, SESSIONS))
    world.on(e.Request(2, m.CreateSession(0, "app-drawn1"), drawn_name=True))
    resync = e.Received(world.broker.id, 0, m.Resync("who are you"))
    assert world.on(resync) == ["down"]
    assert world.after_ms(1) == ["client_hello"]
    assert world.said_lineage == "A"
    assert world.hear(world.welcome()) == ["up", "list", "create_session or open"]


def test_leaving_acknowledges_and_says_goodbye(world):
    world.connect_with_session()
    world.watch()
    world.hear(world.entry(0))
    world.on(e.Consumed(7, 1))
    world.on(e.Request(5, m.WaitSession(0, "s")))
    assert world.on(e.Leave()) == ["results_ack 1", "bye", "answer 5 interrupted"]
    assert world.after_ms(5_000) == []


# ---- submits -------------------------------------------------------------------------------------


def test_submits_are_acknowledged_by_ticket(world):
    world.connect_with_session()
    assert world.submit(11) == ["submit 1"]
    assert world.submit(12) == ["submit 2"]
    assert world.ack((1, 1), (2, 6)) == ["submitted 11 as 1-5", "submitted 12 as 6-10"]


def test_busy_is_retried_with_the_same_number(world):
    world.connect_with_session()
    world.submit(11)
    assert world.hear(m.ErrorReply(0, Code.BUSY, "full", 40, 7, 1)) == []
    assert world.submit(12) == []
    assert world.after_ms(40) == ["submit 1", "submit 2"]


def test_submit_to_an_unknown_session_fails(world):
    world.connect()
    assert world.on(e.SubmitRun(9, 11, 5, b"")) == ["submit 11 failed gone"]
    assert not world.core.room(9)


def test_after_a_new_link_everything_is_said_again(world):
    world.connect_with_session()
    world.watch()
    world.hear(world.entry(0))
    world.submit(11)
    assert world.on(e.SendFailed()) == ["down"]
    assert world.submit(12) == []
    world.after_ms(1)
    assert world.hear(world.welcome()) == ["up", "open_session"]
    opened = world.info(world.request, last_submit=1, done_end=1)  # the first had arrived
    assert world.hear(opened) == ["state Open", "watch 1", "submit 1", "submit 2"]


def break_with_two_of_three_acknowledged(world):
    world.connect_with_session()
    world.watch()
    world.submit(11), world.submit(12), world.submit(13)
    world.ack((1, 1), (2, 6))
    world.hear(world.entry(0)), world.hear(world.entry(1))
    world.break_link()


def test_a_new_lineage_names_what_is_lost_and_goes_on(world):
    break_with_two_of_three_acknowledged(world)
    world.lineage = "B"
    world.hear(world.welcome())
    opened = world.info(world.request, last_submit=1, done_end=1)
    assert world.hear(opened) == ["lost 6-10", "state Open", "watch 1", "submit 2"]
    assert world.ack((2, 6)) == ["submitted 13 as 6-10"]


def test_while_a_person_has_to_decide_nothing_counts_as_lost(world):
    break_with_two_of_three_acknowledged(world)
    world.hear(world.welcome(serving=False))
    opened = world.info(world.request, last_submit=1, done_end=1)
    assert world.hear(opened) == ["state Open", "submit 3"]
    assert world.hear(m.ErrorReply(0, Code.LOST_LINEAGE, "recover", 1000, 7, 3)) == []
    world.hear(m.Resync("the state was read again"))
    assert world.after_ms(100) == ["client_hello"]
    world.lineage = "B"
    world.hear(world.welcome())
    opened = world.info(world.request, last_submit=1, done_end=1)
    assert world.hear(opened) == ["lost 6-10", "state Open", "watch 1", "submit 2"]


def test_while_a_person_has_to_decide_results_are_read(world):
    world.connect_with_session()
    world.watch()
    world.break_link()
    world.hear(world.welcome(serving=False))
    assert world.hear(world.info(world.request, done_end=1)) == ["state Open", "watch 0"]


def test_a_deleted_session_fails_what_is_held(world):
    world.connect_with_session()
    world.watch()
    world.submit(11)
    world.break_link()
    world.hear(world.welcome())
    assert world.refuse(Code.NOT_FOUND, "gone") == [
        "submit 11 failed not_found",
        "watch failed not_found",
    ]
    assert not world.core.room(7)


def test_another_session_of_the_same_name_is_not_ours(world):
    world.connect_with_session()
    world.submit(11)
    world.break_link()
    world.hear(world.welcome())
    assert world.hear(world.info(world.request, uid=8)) == ["submit 11 failed gone"]


def test_who_waits_for_results_of_a_deleted_session_is_told(world):
    world.connect_with_session()
    world.watch()
    world.submit(1)
    assert world.hear(m.SessionChanged(7, m.SessionState.DELETING)) == [
        "state Deleting",
        "submit 1 failed gone",
        "watch failed gone",
    ]
    assert not world.core.room(7)


# ---- results -------------------------------------------------------------------------------------


def test_results_come_once_and_in_order_and_gaps_are_asked_for(world):
    world.connect_with_session()
    assert world.on(e.WatchFrom(7, 0)) == ["watch 0"]
    world.hear(m.Watching(world.request, 7, 0, 3))
    assert world.hear(world.entry(0)) == ["entry 0"]
    assert world.hear(world.entry(0)) == []
    assert world.hear(world.entry(2)) == ["watch 1"]
    assert world.hear(world.entry(3)) == []  # of the watch before
    world.hear(m.Watching(world.request, 7, 1, 3))
    assert world.hear(world.entry(1)) == ["entry 1"]
    assert world.hear(world.entry(2)) == ["entry 2"]


def test_a_cursor_ahead_of_the_broker_goes_back_to_its_end(world):
    world.connect_with_session()
    world.watch()
    world.hear(world.entry(0)), world.hear(world.entry(1))
    world.break_link()
    world.hear(world.welcome())
    # Of a `memory` session: the broker died with the rest.
    opened = world.info(world.request, done_end=1)
    assert world.hear(opened) == ["state Open", "watch 1"]


def test_trimmed_results_are_reported(world):
    world.connect_with_session()
    world.on(e.WatchFrom(7, 2))
    assert world.hear(m.Watching(world.request, 7, 9, 20)) == ["trimmed to 9"]
    assert world.hear(world.entry(9)) == ["entry 9"]


def test_consumed_entries_are_acknowledged_together_after_a_while(world):
    world.connect_with_session()
    world.watch()
    world.hear(world.entry(0)), world.hear(world.entry(1))
    assert world.on(e.Consumed(7, 1)) == []
    assert world.on(e.Consumed(7, 2)) == []
    assert world.core.next_deadline() == world.now_us + 20_000
    assert world.after_ms(20) == ["results_ack 2"]
    assert world.after_ms(20) == []


def test_many_consumed_bytes_are_acknowledged_at_once(world):
    world.connect_with_session()
    world.watch()
    world.hear(world.entry(0, b"x" * ACK_BYTES))
    assert world.on(e.Consumed(7, 1)) == ["results_ack 1"]


def test_a_cursor_of_another_lineage_is_the_callers_problem(world):
    world.connect_with_session()
    world.on(e.WatchFrom(7, 5, "", "Z"))
    assert world.refuse(Code.LOST_LINEAGE, "other lineage") == ["watch failed lost_lineage"]


def test_quiet_sessions_are_not_looked_at_for_each_request(world, monkeypatch):
    looked, due = [], client_core._Session.due_at_us
    monkeypatch.setattr(
        client_core._Session, "due_at_us", lambda session: looked.append(1) or due(session)
    )
    world.connect()
    for uid in range(100, 1100):
        world.on(e.Attach(world.info()._replace(uid=uid, session=f"s{uid}")))
    world.on(e.Request(1, SESSIONS))
    assert not looked
