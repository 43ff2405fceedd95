# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What is recorded of single tasks, asked for by both clients."""

import asyncio

import pytest

import flamepy
import flamepy.aio
from flamepy._proto.codec import BadFrame
from flamepy._proto.elements import pack_elements
from flamepy._proto.rows import decode_rows, decode_tasks

from conftest import PATIENCE, register, wait_until

FAILED, PENDING, RUNNING, SUCCEED = (
    flamepy.TaskState.FAILED,
    flamepy.TaskState.PENDING,
    flamepy.TaskState.RUNNING,
    flamepy.TaskState.SUCCEED,
)


@pytest.fixture
def session(shared):
    with shared.create_session(register(shared, "echo"), max_instances=1) as made:
        yield made


def test_a_failed_task_is_found_among_many(session):
    inputs = [b"%d" % i for i in range(2500)]
    inputs[1800] = b"fail:why"
    for data in inputs:
        session.run(data)
    session.wait(PATIENCE)
    (task,) = session.list_tasks([FAILED], payloads=True)
    assert (task.id, task.state, task.input, task.output) == ("1801", FAILED, b"fail:why", None)
    assert task.code is flamepy.Code.TASK_FAILED and "why" in task.reason
    assert task.completion_time >= task.start_time and task.executor and task.attempt == 1
    tasks = list(session.list_tasks(start=2000, payloads=True))
    assert [int(task.id) for task in tasks] == list(range(2000, 2501))
    assert {task.state for task in tasks} == {SUCCEED}
    assert [task.output for task in tasks] == inputs[1999:]
    assert session.get_task("1").output == b"0"
    with pytest.raises(flamepy.FlameError) as raised:
        session.get_task(2501)
    assert raised.value.code == flamepy.FlameErrorCode.NOT_FOUND


def test_what_runs_and_what_waits(session, tmp_path):
    session.run(b"hold:%s" % bytes(tmp_path / "began"))
    waits = session.run(b"waits")
    session.flush(PATIENCE)
    wait_until((tmp_path / "began").exists, "the first task runs")
    runs = session.get_task(1)
    assert (runs.state, runs.attempt, runs.output) == (RUNNING, 1, None) and runs.executor
    task = session.get_task(waits.task_id)  # an executor may have it in hand already
    assert task.state in (PENDING, RUNNING) and task.input == b"waits" and not task.is_completed()
    session.cancel(running=True)
    assert {task.state for task in session.list_tasks()} == {flamepy.TaskState.CANCELLED}


def test_the_same_with_asyncio(shared):
    register(shared, "echo")

    async def main():
        connection = await flamepy.aio.connect(shared.addr)
        async with connection, connection.create_session("echo") as session:
            await asyncio.gather(session.run(b"a"), session.run(b"b"))
            assert (await session.get_task(2)).output == b"b"
            return [task.state async for task in session.list_tasks([SUCCEED])]

    assert asyncio.run(main()) == [SUCCEED, SUCCEED]


@pytest.mark.parametrize("payload", [b"\xc4\x05\x81", b"\xc1", pack_elements([b"\x01"]), b"\x01"])
def test_rows_that_are_none(payload):
    for decode in (decode_rows, decode_tasks):
        with pytest.raises(BadFrame):
            decode(payload)
