# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""As tests/unit/client/submit_window_test.cpp."""

import pytest

from flamepy._core.events import NEVER, SubmitRun
from flamepy._core.submit_window import Refusal, SubmitWindow
from flamepy._proto.errors import Code
from flamepy._proto.limits import SUBMITS_UNACKED_MAX
from flamepy._proto.messages import ErrorReply, Run, SubmitAckItem

BEGIN_US = 1_000_000


class Story:
    def __init__(self, last_number=0):
        self.window = SubmitWindow(last_number)

    def add(self, *tickets):
        for ticket in tickets:
            self.window.add(SubmitRun(7, ticket, 10, b""))

    def sent(self, ms):
        return [submit.number for submit in self.window.due(BEGIN_US + ms * 1000)]

    def ack(self, number, first):
        return self.window.acknowledge(SubmitAckItem(number, Run(first, 10)))

    def refuse(self, number, code, ms, retry_ms=0):
        reply = ErrorReply(0, code, "", retry_ms, 7, number)
        return self.window.refuse(reply, BEGIN_US + ms * 1000)


@pytest.fixture
def story():
    return Story()


def test_numbers_from_one_and_sends_each_once(story):
    story.add(101, 102)
    assert story.sent(0) == [1, 2]
    assert story.sent(0) == []
    assert story.ack(1, 1) == 101
    assert story.ack(1, 1) is None  # a repeated answer
    assert story.ack(2, 11) == 102
    assert len(story.window) == 0
    assert story.window.due_at_us == NEVER


def test_continues_behind_what_the_broker_has():
    story = Story(41)
    story.add(1)
    assert story.sent(0) == [42]


def test_is_full_at_the_limit(story):
    for ticket in range(SUBMITS_UNACKED_MAX):
        assert story.window.room()
        story.add(ticket + 1)
    assert not story.window.room()
    story.sent(0)
    story.ack(1, 1)
    assert story.window.room()


def test_busy_holds_everything_and_then_resends_in_order(story):
    story.add(1, 2, 3)
    story.sent(0)
    assert story.refuse(1, Code.BUSY, 1, 20).kind is Refusal.RETRY
    assert story.refuse(1, Code.GAP, 1).kind is Refusal.RETRY  # for 2
    assert story.refuse(1, Code.GAP, 1).kind is Refusal.RETRY  # for 3
    story.add(4)
    assert story.sent(20) == []
    assert story.window.due_at_us == BEGIN_US + 21_000
    assert story.sent(21) == [1, 2, 3, 4]


def test_late_refusals_of_the_first_sending_do_not_cause_a_third(story):
    story.add(1, 2, 3)
    story.sent(0)
    story.refuse(1, Code.BUSY, 0, 1)
    story.refuse(1, Code.GAP, 0)  # for 2
    assert story.sent(1) == [1, 2]  # 3 is still on its first way
    story.refuse(1, Code.GAP, 2)  # for the first 3
    assert story.sent(3) == [3]
    assert [story.ack(number, number * 10 - 9) for number in (1, 2, 3)] == [1, 2, 3]
    assert len(story.window) == 0


def test_final_refusal_fails_only_its_ticket(story):
    story.add(1, 2)
    story.sent(0)
    assert story.refuse(1, Code.TOO_LARGE, 0) == (Refusal.FINAL, 1)
    assert story.ack(2, 1) == 2
    assert story.window.resume(2) == []


def test_broken_link_resends_the_same_numbers(story):
    story.add(1, 2)
    story.sent(0)
    story.window.link_lost()
    assert story.window.resume(1) == []  # 1 arrived, its answer did not
    assert story.sent(5) == [1, 2]


def test_lost_acknowledged_runs_are_named_and_the_rest_is_numbered_anew(story):
    story.add(1, 2, 3, 4)
    story.sent(0)
    story.ack(1, 1), story.ack(2, 11), story.ack(3, 21)
    story.window.link_lost()
    assert story.window.resume(1) == [(11, 10), (21, 10)]
    assert story.sent(1) == [2]
    assert story.ack(2, 11) == 4
    assert story.window.resume(2) == []  # told once


def test_a_missing_one_that_is_not_held_means_asking(story):
    story.add(1, 2)
    story.sent(0)
    story.ack(1, 1)
    assert story.refuse(1, Code.GAP, 0).kind is Refusal.UNKNOWN


def test_answers_to_nothing_are_ignored(story):
    assert story.refuse(9, Code.BUSY, 0).kind is Refusal.IGNORED
    assert story.refuse(9, Code.GAP, 0).kind is Refusal.IGNORED
    assert story.ack(9, 1) is None
    assert story.sent(1000) == []
