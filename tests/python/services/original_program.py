# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A program and its service as users of the original Flame have them: only names of flamepy 0.6.0,
and the address comes from FLAME_ENDPOINT. argv: the application, then "host" for the shim that its
services have there, or "default" for none."""

import logging
import sys
import time
from concurrent.futures import as_completed, wait
from dataclasses import dataclass
from typing import Optional

import flamepy
from flamepy.core import (
    ApplicationAttributes,
    ApplicationSchema,
    FlameError,
    FlameErrorCode,
    FlameService,
    ResourceRequirement,
    SessionAttributes,
    SessionContext,
    SessionState,
    Shim,
    TaskContext,
    TaskInformer,
    TaskOutput,
    TaskState,
    run,
    short_name,
)

logger = logging.getLogger(__name__)


@dataclass
class Seen:
    tasks: int = 0
    session: Optional[SessionContext] = None


class Counting(FlameService):
    def __init__(self):
        self._seen = Seen()

    def on_session_enter(self, context: SessionContext) -> bool:
        logger.info("enter %s of %s", context.session_id, context.application.name)
        if context.common_data() == b"refuse":
            raise RuntimeError("intentional session enter failure")
        self._seen = Seen(session=context)
        return True

    def on_task_invoke(self, context: TaskContext) -> Optional[TaskOutput]:
        self._seen.tasks += 1
        if context.input == b"fail":
            raise ValueError(f"task {context.task_id} of {context.session_id} fails")
        if not context.input:
            return None
        shared = self._seen.session.common_data() or b"nothing"
        return TaskOutput(b"%d:%s:%s" % (self._seen.tasks, shared, context.input))

    def on_session_leave(self) -> bool:
        self._seen = Seen()
        return True


class Collecting(TaskInformer):
    def __init__(self):
        self.states = []

    def on_update(self, task):
        self.states.append(task.state)


def attributes(shim):
    words = [__file__, "serve"]
    more = {"shim": Shim.HOST} if shim == "host" else {}
    return ApplicationAttributes(
        command=sys.executable,
        arguments=words,
        description="counts",
        labels=["test"],
        environments={"COLOUR": "red"},
        max_instances=2,
        delay_release=30,
        schema=ApplicationSchema(input='{"type": "string"}'),
        **more,
    )


def follow(session, task_id):
    informer = Collecting()
    for task in session.watch_task(task_id, timeout=30):
        informer.on_update(task)
    return task, informer.states


def sessions(name):
    session = flamepy.create_session(
        application=name,
        common_data=b"shared",
        session_id=short_name(name),
        min_instances=0,
        max_instances=1,
        batch_size=1,
        resreq=ResourceRequirement.from_string("cpu=1,mem=64m,gpu=0"),
    )
    assert session.state == SessionState.OPEN and session.application == name
    assert session.common_data() == b"shared" and session.completion_time is None

    assert session.invoke(b"sync") == b"1:shared:sync"
    future = session.run(input_data=b"async")
    called = []
    future.add_done_callback(lambda done: called.append(done.result()))
    assert future.result(timeout=30) == b"2:shared:async"
    assert not session.invoke(b"")
    futures = [session.run(f"input {i}".encode()) for i in range(10)]
    assert wait(futures, timeout=30).done == set(futures)
    outputs = sorted(done.result().split(b":")[2] for done in as_completed(futures, timeout=30))
    assert outputs == sorted(f"input {i}".encode() for i in range(10))
    assert called == [b"2:shared:async"]
    return session


def tasks(session):
    task = session.create_task(b"one")
    assert task.session_id == session.id and task.creation_time.tzinfo is not None
    task, states = follow(session, task.id)
    assert task.is_completed() and not task.is_failed() and states[-1] == TaskState.SUCCEED
    assert task.output.endswith(b":one") and session.get_task(task.id).output == task.output

    task, states = follow(session, session.create_task(b"fail").id)
    assert task.state == TaskState.FAILED and task.is_failed() and task.is_completed()
    failed = [event for event in task.events if event.code == TaskState.FAILED]
    assert len(failed) == 1 and "fails" in failed[0].message
    try:
        session.run(b"fail").result()
        raise AssertionError("it must fail")
    except FlameError as error:
        assert error.code == FlameErrorCode.INTERNAL and "fails" in error.message
    listed = list(session.list_tasks())
    assert [listed_task.id for listed_task in listed] == [str(i + 1) for i in range(len(listed))]
    assert listed[0].output == b"1:shared:sync" and listed[0].state == TaskState.SUCCEED
    now = flamepy.get_session(session.id)
    assert (now.failed, now.pending, now.running) == (2, 0, 0) and now.succeed == len(listed) - 2


def opened_and_closed(name, session):
    assert flamepy.open_session(session.id).id == session.id
    assert session.id in [each.id for each in flamepy.list_sessions()]
    closed = flamepy.close_session(session.id)
    assert closed.state == SessionState.CLOSED and closed.completion_time >= closed.creation_time
    spec = SessionAttributes(application=name, min_instances=0, max_instances=2)
    chosen = short_name("chosen")
    first = flamepy.open_session(chosen, spec=spec)
    assert flamepy.open_session(chosen, spec).id == first.id == chosen
    other = SessionAttributes(application=name, min_instances=0, max_instances=1)
    assert code_of(lambda: flamepy.open_session(chosen, other)) == FlameErrorCode.INVALID_ARGUMENT
    first.close()
    assert code_of(lambda: flamepy.open_session("there-is-none")) == FlameErrorCode.NOT_FOUND
    text = "common_data is text"
    assert code_of(lambda: flamepy.create_session(name, text)) == FlameErrorCode.INVALID_ARGUMENT


def code_of(call):
    try:
        call()
    except FlameError as error:
        assert isinstance(error.code, FlameErrorCode) and error.message in str(error)
        return error.code
    return None


def refused(name):
    session = flamepy.create_session(name, b"refuse", max_instances=1)
    session.create_task(b"x")
    until = time.monotonic() + 30
    while not any(event.code == 1001 for event in flamepy.get_session(session.id).events):
        assert time.monotonic() < until, session.events
    session.close()


def main():
    name, shim = sys.argv[1:]
    flamepy.register_application(name, attributes(shim))
    found = flamepy.get_application(name)
    assert (found.name, found.description, found.labels) == (name, "counts", ["test"])
    assert found.state == flamepy.ApplicationState.ENABLED and found.command == sys.executable
    assert found.environments == {"COLOUR": "red"} and found.arguments == [__file__, "serve"]
    assert (found.max_instances, found.delay_release) == (2, 30)
    assert found.schema.input == '{"type": "string"}' and found.schema.output is None
    assert shim != "host" or found.shim == Shim.HOST
    assert name in [each.name for each in flamepy.list_applications()]
    assert flamepy.get_application("there-is-none") is None
    assert len(flamepy.list_executors()) == 1 and len(flamepy.list_nodes()) == 1
    session = sessions(name)
    tasks(session)
    opened_and_closed(name, session)
    refused(name)
    flamepy.unregister_application(name)
    print("done")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        run(Counting())
    else:
        main()
