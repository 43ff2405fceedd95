# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a notebook shows: tables whose contents are other people's, and so escaped."""

import asyncio
import xml.etree.ElementTree as xml

import pytest

import flamepy
import flamepy.aio
from flamepy import _verbs
from flamepy._html import Rows
from flamepy._proto import messages as m

from conftest import PATIENCE, register

EVIL = "<script>alert('1')</script>&"


def cells(shown):
    """Rows of texts; what is not well-formed or brings tags of its own is no table of ours."""
    table = xml.fromstring(shown._repr_html_())
    assert {element.tag for element in table.iter()} <= {"table", "tr", "th", "td"}
    return [[cell.text or "" for cell in row] for row in table]


@pytest.fixture
def session(shared):
    with shared.create_session(register(shared, "echo")) as made:
        yield made


def test_a_session(session):
    session.invoke(b"a")
    shown = dict(cells(session.wait(PATIENCE)))
    assert (shown["id"], shown["application"], shown["state"]) == (session.id, "echo", "open")
    assert (shown["tasks"], shown["succeed"], shown["closed"]) == ("1", "1", "")
    assert (shown["priority"], shown["batch_size"]) == ("0", "1")
    assert shown["created"].endswith(" UTC")


def test_results_also_of_others_text(session):
    evil = EVIL.encode()
    futures = [session.run(data) for data in (evil, b"fail:" + evil, b"large:1000")]
    flamepy.wait(futures, PATIENCE)
    good, bad, large = (dict(cells(result)) for result in sorted(session.results()))
    assert (good["task_id"], good["output"]) == ("1", repr(evil))
    assert EVIL in bad["error"] and "output" not in bad
    assert large["output"].endswith("(1000 bytes)") and len(large["output"]) < 250
    assert "<script" not in "".join(result._repr_html_() for result in session.results())


def test_lists_of_sessions_applications_and_executors(shared, session):
    shared.register_application("evil", {"command": "cat", "shim": "shell", "description": EVIL})
    head, *rows = cells(shared.list_applications())
    assert EVIL in next(row for row in rows if row[head.index("name")] == "evil")
    assert dict(cells(shared.get_application("evil")))["description"] == EVIL
    urgent = shared.create_session("echo", priority=7, batch_size=3)
    head, *rows = cells(shared.list_sessions())
    assert session.id in [row[head.index("id")] for row in rows]
    row = next(row for row in rows if row[head.index("id")] == urgent.id)
    assert (row[head.index("priority")], row[head.index("batch_size")]) == ("7", "3")
    urgent.close()
    (head, row), executor = cells(shared.list_executors()), shared.list_executors()[0]
    assert row[head.index("id")] == executor.id and row[head.index("slots")] == "2"
    assert dict(cells(executor))["id"] == executor.id
    task = session.create_task(EVIL.encode())
    assert dict(cells(task))["state"] == "pending"
    assert shared.list_applications() == list(shared.list_applications())
    shared.unregister_application("evil")


def test_a_list_that_the_broker_cut_says_so(caplog):
    for cut in (False, True):
        rows = _verbs.list_sessions().meaning(m.Listing(1, cut, b""))
        assert rows == [] and len(caplog.messages) == cut
    assert caplog.messages == ["0 sessions are listed, and there are older ones"]


def test_lists_of_the_asyncio_client(shared, session):
    async def main():
        async with flamepy.aio.connect(shared.addr) as connection:
            return await connection.list_sessions(), await connection.list_executors()

    for shown in asyncio.run(main()):
        assert len(cells(shown)) == len(shown) + 1


def test_a_long_list_is_cut_and_an_empty_one_says_so():
    task = flamepy.TaskResult(1, b"x", None, "executor", 1)
    assert Rows([task] * 101)._repr_html_().endswith("</table><p>and 1 more</p>")
    assert Rows([task] * 101)._repr_html_().count("<tr>") == 101
    assert Rows()._repr_html_() == "<p>none</p>"
