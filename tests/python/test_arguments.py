# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""An argument that no message can carry fails its call, says which it is, and disturbs nobody else
on the connection."""

import asyncio

import pytest

import flamepy
import flamepy.aio
from flamepy._core.events import Request
from flamepy._proto import codec
from flamepy._proto import messages as m

from conftest import PATIENCE, register

HUGE = 2**70
WRONG = [
    (lambda _, session: session.get_task(HUGE), "start"),
    (lambda _, session: session.get_task(-5), "start: -5 where a number from 0 on belongs"),
    (lambda _, session: session.cancel([HUGE]), "runs"),
    (lambda _, session: session.cancel([-3]), "runs"),
    (lambda _, session: session.logs(-1), "task"),
    (lambda c, _: c.create_session("echo", priority="high"), "priority"),
    (lambda c, _: c.create_session("echo", max_instances=-1), "max_instances"),
    (lambda c, _: c.create_session("echo", durability="foo"), "durability: 'foo' .*STORED"),
    (lambda c, _: c.create_session("ech\ud800o", session_id="s"), "spec: application"),
    (lambda c, _: c.create_session("echo", session_id="x" * 300_000), "session"),
    (lambda c, _: c.open_session(3), "session"),
    (lambda c, _: c.delete_session("x", force=1), "force"),
    (lambda c, _: c.register_application("x", {"command": object()}), "application"),
    (lambda c, _: c.register_application("x", {"rest": {"timeout": 2**63}}), "application"),
    (lambda c, _: c.register_application("x", {"labels": [[[[[[[["a"]]]]]]]]}), "application"),
]


@pytest.fixture(autouse=True)
def echo(shared):
    register(shared, "echo")


@pytest.mark.parametrize(("call", "field"), WRONG)
def test_a_wrong_argument_fails_its_call_alone(shared, call, field):
    with shared.create_session("echo") as session:
        with pytest.raises(flamepy.FlameError, match=field) as raised:
            call(shared, session)
        assert raised.value.kind is flamepy.Code.BAD_REQUEST
        assert session.invoke(b"x", PATIENCE) == b"x"


@pytest.mark.parametrize(("call", "field"), WRONG)
def test_in_an_event_loop_too(shared, call, field):
    async def main():
        async with flamepy.aio.connect(shared.addr) as c, c.create_session("echo") as session:
            with pytest.raises(flamepy.FlameError, match=field) as raised:
                await call(c, session)
            assert raised.value.kind is flamepy.Code.BAD_REQUEST
            assert await session.invoke(b"x", PATIENCE) == b"x"

    asyncio.run(main())


def test_a_list_or_a_watch_of_no_task(shared):
    with shared.create_session("echo") as session:
        for wrong in (lambda: list(session.list_tasks(start=HUGE)), session.watch_task(HUGE)):
            with pytest.raises(flamepy.FlameError, match="start|task"):
                wrong() if callable(wrong) else next(wrong)
        assert session.invoke(b"x", PATIENCE) == b"x"


@pytest.mark.parametrize(
    "wrong", [{"reader": 5}, {"reader": "\ud800"}, {"after": f"A:{HUGE}"}, {"after": 5}]
)
def test_a_wrong_reader_leaves_the_results_of_futures_alone(shared, wrong):
    async def main():
        async with flamepy.aio.connect(shared.addr) as c, c.create_session("echo") as session:
            with pytest.raises(flamepy.FlameError, match="reader|index|is a cursor"):
                async for _ in session.results(**wrong):
                    pass
            assert await session.invoke(b"x", PATIENCE) == b"x"

    with shared.create_session("echo") as session:
        with pytest.raises(flamepy.FlameError, match="reader|index|is a cursor"):
            session.results(**wrong)
        assert session.invoke(b"x", PATIENCE) == b"x"
    asyncio.run(main())


def test_a_missing_await_is_said(shared):
    async def main():
        async with flamepy.aio.connect(shared.addr) as c:
            opening = c.create_session("echo")
            with pytest.raises(AttributeError, match="no 'invoke' .*`await` is missing"):
                opening.invoke(b"x")
            await (await opening).close()

    asyncio.run(main())


@pytest.mark.parametrize("cluster", ["\ud800", 5])
def test_a_wrong_name_of_a_cluster(shared, cluster):
    with pytest.raises(flamepy.FlameError, match="cluster"):
        flamepy.connect(shared.addr, cluster=cluster)


def test_what_cannot_be_encoded_fails_its_request_and_not_the_connection(shared):
    """As above; what got by the check all the same is told by the connection's own thread."""
    with shared.create_session("echo") as session:
        io, told = shared._io, []
        running = session.run(b"sleep:0.1")
        for ticket, message in enumerate((m.ListKind(0, "\ud800"), m.GetTasks(0, "s", HUGE)), 1000):
            event = Request(ticket, message)
            io.post(lambda event=event: io._request(event, told.append))
        io.post(lambda: io.watch(session._attached.uid, 0, HUGE, ""))
        assert shared.get_session(session.id).id == session.id
        assert [error.code for error in told] == [flamepy.Code.BAD_REQUEST] * 2
        with pytest.raises(flamepy.FlameError, match="out of range"):
            running.result(PATIENCE)


def test_every_request_of_ours_passes_the_check():
    for number, (_, kind) in m.MESSAGES.items():
        message = kind()
        assert codec.check(message) < 200, number
        assert codec.decode(codec.Encoder().encode(0, 0, message)).message == message
