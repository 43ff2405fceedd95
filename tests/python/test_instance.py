# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Services of one function and their sessions, and coroutines, against a real cluster."""

import sys

import pytest

import flamepy
from flamepy import service

from conftest import PATIENCE, SERVICES, register, wait_until


@pytest.fixture
def application(shared, monkeypatch):
    """Makes an application of the function that is named; the module's connection is this one."""
    monkeypatch.setattr("flamepy._client._default", shared)

    def make(function):
        program = str(SERVICES / "instance.py")
        command = {"command": sys.executable, "arguments": [program, function]}
        shared.register_application(f"instance-{function}", command)
        return f"instance-{function}"

    return make


@pytest.mark.parametrize("function", ["plain", "async"])
def test_any_objects_and_the_context(application, function):
    context = {"who": ["Ada"]}
    with service.Session(application(function), context) as session:
        assert session.invoke(("why", 7)) == (context, ("why", 7))
        assert session.invoke(None) is None
        assert session.context() == context
        again = service.Session(session_id=session.id())
        assert again.invoke("and you") == (context, "and you")
        assert session.invoke("update") == ("new", "update")
        assert again.invoke("and now") == ("new", "and now")
        assert again.context() == "new"
    with pytest.raises(flamepy.SessionClosedError):
        session.invoke("too late")


def test_without_a_context_and_without_a_parameter(application):
    with service.Session(application("plain")) as session:
        assert session.invoke(1) == (None, 1) and session.context() is None
    with service.Session(application("nothing")) as session:
        assert session.invoke("ignored") == "nothing was asked"


def test_what_cannot_be_an_entrypoint_or_a_session():
    instance = service.FlameInstance()
    with pytest.raises(TypeError, match="one parameter or none; pow has 3"):
        instance.entrypoint(pow)
    for arguments in ({}, {"name": "a", "session_id": "b"}):
        with pytest.raises(ValueError, match="not both"):
            service.Session(**arguments)


def test_coroutines_in_a_cluster(shared, tmp_path):
    with shared.create_session(register(shared, "coroutines")) as session:
        inputs = [b"%d" % i for i in range(3000)]
        assert list(session.map(inputs)) == inputs
        began = tmp_path / "began"
        holding = session.run(b"hold:%s" % bytes(began))
        wait_until(began.exists, "a task to run")
        assert session.cancel(running=True).running == 1
        with pytest.raises(flamepy.TaskCancelledError):
            holding.result(PATIENCE)
        assert session.run(b"a").result(PATIENCE) == b"a"
