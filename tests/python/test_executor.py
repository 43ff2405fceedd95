# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flamepy.Executor as a concurrent.futures.Executor."""

import concurrent.futures as standard
import functools
import itertools
import math
import os
import re
import subprocess
import sys
import threading

import msgpack
import pytest

import flamepy
from flamepy import _work, worker

from conftest import PATIENCE, TASKS, wait_until

# This module is not importable where the workers run, unless through the client's sys.path.


class Point:
    def __init__(self, x):
        self.x = x

    def moved(self, by=1):
        return Point(self.x + by)


class OddError(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


def fail(kind, *arguments):
    raise kind(*arguments)


def unpicklable():
    return threading.Lock()


@pytest.fixture
def executor(shared):
    with flamepy.Executor(connection=shared) as made:
        yield made


def test_functions_of_every_kind(executor):
    factor = 3
    calls = [
        (executor.submit(math.sqrt, 16), 4.0),
        (executor.submit(pow, 2, exp=5), 32),
        (executor.submit(lambda x: factor * x, 5), 15),
        (executor.submit(dict, a=1), {"a": 1}),
        (executor.submit(Point(1).moved), 2),
        (executor.submit(Point(1).moved, by=9), 10),
    ]
    results = [future.result(PATIENCE) for future, _ in calls]
    shown = [result.x if isinstance(result, Point) else result for result in results]
    assert shown == [expected for _, expected in calls]
    assert isinstance(results[4], Point)


# ---- several functions in one session ------------------------------------------------------------


def one_session_of(executor, before):
    """The only one that the executor opened, with how often its functions were published."""
    (session,) = [s for s in executor._connection.list_sessions() if s.id not in before]
    return session, sum(event.message.startswith("updated") for event in session.events)


@pytest.fixture
def before(shared):
    return {session.id for session in shared.list_sessions()}


def test_functions_share_a_session_and_keep_their_state(shared, before, tmp_path):
    marks = tmp_path / "marks"

    def prepare():
        with open(marks, "a") as file:
            print("prepared", file=file)

    def count(seen=[]):  # noqa: B006  its state
        seen.append(1)
        return len(seen)

    def double(x):
        return 2 * x

    with flamepy.Executor(1, connection=shared, initializer=prepare) as executor:
        assert [executor.submit(count).result(PATIENCE) for _ in range(3)] == [1, 2, 3]
        assert executor.submit(double, 1).result(PATIENCE) == 2  # brings itself along
        assert one_session_of(executor, before)[1] == 0
        assert [executor.submit(double, i).result(PATIENCE) for i in range(3)] == [0, 2, 4]
        assert list(executor.map(math.sqrt, [4, 9], timeout=PATIENCE)) == [2, 3]
        assert executor.submit(count).result(PATIENCE) == 4
        mixed = [executor.submit(f, i) for i in range(2000) for f in (double, math.sqrt, abs)]
        expected = [f(i) for i in range(2000) for f in (double, math.sqrt, abs)]
        assert [future.result(PATIENCE) for future in mixed] == expected
        session, published = one_session_of(executor, before)
        assert published == 3 and session.tasks == 10 + 6000
    assert marks.read_text() == "prepared\n"


def test_a_new_function_at_each_call_publishes_nothing(executor, before):
    futures = [executor.submit(lambda x, y=i: x + y, 1000) for i in range(200)]
    assert [future.result(PATIENCE) for future in futures] == list(range(1000, 1200))
    assert one_session_of(executor, before)[1] == 0


def test_a_table_that_is_full_leaves_functions_with_their_tasks(executor, before, monkeypatch):
    monkeypatch.setattr("flamepy._function_table.FUNCTIONS_MAX", 2)
    for function, expected in ((abs, [1, 2]), (float, [1.0, 2.0]), (str, ["1", "2"])):
        assert list(executor.map(function, [1, 2], timeout=PATIENCE)) == expected
        assert executor.submit(function, 1).result(PATIENCE) == expected[0]
    assert executor.submit(int, "ff", base=16).result(PATIENCE) == 255
    assert one_session_of(executor, before)[1] == 1


def test_a_large_function_never_travels_with_each_item(executor, before):
    assert executor.submit(abs, -1).result(PATIENCE) == 1
    large, larger = b"x" * (17 << 20), b"x" * (47 << 20)
    items = range(1000)
    assert sum(executor.map(lambda i: large[i], items, timeout=PATIENCE)) == 1000 * ord("x")
    assert one_session_of(executor, before)[1] == 1
    with pytest.raises(flamepy.TooLargeError, match="beside the 2 others .* executor of its own"):
        executor.map(lambda i: larger[i], items)
    assert executor.submit(lambda i: larger[i], 0).result(PATIENCE) == ord("x")


def test_large_arguments_are_not_all_pickled_before_the_first_is_sent(executor):
    made = []

    def arguments():
        for i in range(64):
            made.append(i)
            yield bytes(1 << 20)

    results = executor.map(len, arguments(), buffersize=4)
    assert next(results) == 1 << 20 and len(made) < 8
    assert sum(results) == 63 << 20


class Model:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return self.weight * x


@pytest.mark.parametrize("kind", [lambda m: m.__call__, lambda m: m, functools.partial])
def test_an_object_is_what_it_is_when_it_is_used(executor, kind):
    model = Model(0)
    call = kind(model)
    for weight in (1, 10, 100, 1000, 10):
        model.weight = weight
        assert executor.submit(call, 1).result(PATIENCE) == weight
        assert list(executor.map(call, [1, 2], timeout=PATIENCE)) == [weight, 2 * weight]


def test_what_did_not_change_is_published_once(executor, before):
    model = Model(3)
    for _ in range(3):
        for function in (model, model.__call__, functools.partial(model), abs):
            assert len(list(executor.map(function, [1, 2], timeout=PATIENCE))) == 2
    assert one_session_of(executor, before)[1] == 3


def test_the_next_map_sees_what_a_function_refers_to(executor):
    factor = 1

    def scaled(x):
        return factor * x

    assert list(executor.map(scaled, [1], timeout=PATIENCE)) == [1]
    factor = 10
    assert executor.submit(scaled, 1).result(PATIENCE) == 1
    assert list(executor.map(scaled, [1], timeout=PATIENCE)) == [10]
    assert executor.submit(scaled, 1).result(PATIENCE) == 10


class Unhashable:
    __hash__ = None

    def __eq__(self, other):
        return True

    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x + self.by


def missing_there():
    raise ModuleNotFoundError("only here")


class OnlyHere:
    def __reduce__(self):
        return missing_there, ()

    def __call__(self):
        return 1


def test_a_function_that_cannot_be_read_there_fails_alone(executor):
    one, two = Unhashable(1), Unhashable(2)
    for _ in range(2):
        assert [executor.submit(f, 1).result(PATIENCE) for f in (one, two)] == [2, 3]
        error = executor.submit(OnlyHere()).exception(PATIENCE)
        assert type(error) is ModuleNotFoundError and "only here" in str(error)
    with pytest.raises(ModuleNotFoundError):
        list(executor.map(OnlyHere(), [1], timeout=PATIENCE))
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_a_function_is_there_after_a_restart_of_the_broker(running, client):
    with flamepy.Executor(connection=client) as executor:
        assert executor.submit(abs, -1).result(PATIENCE) == 1
        running.kill("broker")
        assert list(executor.map(math.sqrt, [4] * 500, timeout=PATIENCE)) == [2.0] * 500
        running.kill("broker")
        assert executor.submit(math.sqrt, 9).result(PATIENCE) == 3


def test_a_function_hears_that_its_task_is_cancelled(client, tmp_path):
    began, told = tmp_path / "began", tmp_path / "told"

    def hold():
        import time

        began.touch()
        try:
            time.sleep(600)
        except flamepy.TaskCancelled:
            told.touch()
            raise

    with flamepy.Executor(1, connection=client) as executor:
        pid = executor.submit(__import__("os").getpid).result(PATIENCE)
        future = executor.submit(hold)
        wait_until(began.exists, "it runs")
        executor.cancel(running=True)
        with pytest.raises(standard.CancelledError):
            future.result(PATIENCE)
        wait_until(told.exists, "it was told")
        assert executor.submit(__import__("os").getpid).result(PATIENCE) == pid


def printed(session):
    return "".join(log.text for log in session.logs())


def test_what_a_task_prints_is_in_the_log(shared):
    def last_words():
        print("I know why")
        __import__("os")._exit(1)

    with flamepy.Executor(1, connection=shared) as executor:
        executor.submit(print, "a plain print").result(PATIENCE)
        session = executor.session
        wait_until(lambda: "a plain print" in printed(session), "it is in the log")
        with pytest.raises(flamepy.TaskError):
            executor.submit(last_words).result(PATIENCE)
        wait_until(lambda: "I know why" in printed(session), "it is in the log")


def test_an_executor_in_a_worker_works_and_warns_once(shared):
    def nested(x):
        with flamepy.Executor() as inner:
            return inner.submit(abs, x).result()

    with flamepy.Executor(1, connection=shared) as executor:
        assert list(executor.map(nested, [-1, -2], timeout=PATIENCE)) == [1, 2]
        wait_until(lambda: "keeps its slot" in printed(executor.session), "it is in the log")
        assert printed(executor.session).count("keeps its slot") == 1


def test_map_in_order_and_of_several_iterables(executor):
    assert list(executor.map(abs, range(-TASKS // 4, 0), timeout=10 * PATIENCE)) == list(
        range(TASKS // 4, 0, -1)
    )
    assert list(executor.map(pow, [2, 3, 4], [5, 2], chunksize=7)) == [32, 9]
    assert list(itertools.islice(executor.map(abs, itertools.count(), buffersize=50), 500)) == list(
        range(500)
    )
    with pytest.raises(standard.TimeoutError):
        list(executor.map(lambda x: __import__("time").sleep(x), [0.5], timeout=0.01))


def test_exceptions_are_those_of_the_function_with_the_remote_traceback(executor):
    for kind, arguments in ((ValueError, ("no luck",)), (KeyError, (5,)), (OddError, (1, 2))):
        error = executor.submit(fail, kind, *arguments).exception(PATIENCE)
        assert (type(error), error.args) == (kind, arguments)
        assert "in fail" in str(error.__cause__)
    with pytest.raises(ZeroDivisionError) as caught:
        list(executor.map(lambda x: 1 // x, [1, 0]))
    where = str(caught.value.__cause__)  # also of what travels by value
    assert f'File "{__file__}", line' in where and "lambda x: 1 // x" in where
    assert isinstance(executor.submit(fail, SystemExit, 3).exception(PATIENCE), SystemExit)
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_what_cannot_be_pickled_says_so(executor):
    with pytest.raises(TypeError, match="pickle"):
        executor.submit(abs, threading.Lock())
    with pytest.raises(TypeError, match="pickle"):
        executor.map(abs, [1, threading.Lock()])
    lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        executor.submit(lambda: lock)
    assert "pickle" in str(executor.submit(unpicklable).exception(PATIENCE))
    error = executor.submit(lambda: fail(ValueError, unpicklable())).exception(PATIENCE)
    assert isinstance(error, flamepy.TaskError) and "ValueError: <unlocked" in str(error)


class Unwilling:
    """Raises where it is pickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(3), KeyboardInterrupt()])
def test_what_raises_at_pickling_or_stops_an_iteration_fails_alone(executor, error):
    """One among hundreds that go through C together: nobody is missing, nobody runs twice."""
    kind = type(error)
    raised = RuntimeError if kind is StopIteration else kind  # by a generator

    def odd(x):
        return Unwilling(kind()) if x == 50 else x

    results = executor.map(odd, range(300))
    assert list(itertools.islice(results, 50)) == list(range(50))
    with pytest.raises(raised):
        next(results)
    futures = [executor.submit(odd, x) for x in range(300)]
    assert isinstance(futures[50].exception(PATIENCE), kind)
    assert [x for x in range(300) if x != 50 and futures[x].result(PATIENCE) != x] == []
    with pytest.raises(raised):
        executor.map(abs, [*range(100), Unwilling(kind())])


def test_a_function_that_lets_stop_iteration_pass(executor, tmp_path):
    log = tmp_path / "calls"

    def first(items):
        with open(log, "a", encoding="utf-8") as file:
            print("called", file=file)
        return next(iter(items))

    futures = [executor.submit(first, items) for items in ([1], [], [3])]
    assert [futures[0].result(PATIENCE), futures[2].result(PATIENCE)] == [1, 3]
    with pytest.raises(RuntimeError, match="the call raised StopIteration"):
        futures[1].result(PATIENCE)
    assert log.read_text().count("called") == 3


class WithTwo(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.second = second


def fail_with_two(second):
    raise WithTwo(1, second)


def fail_of_a_class_that_is_here_only(size):
    class Here(Exception):
        """What it says."""

        def __init__(self, text, *, more):
            super().__init__(text)
            self.more = more

    raise Here("x" * size, more=[1, 2])


def test_exceptions_come_back_as_themselves_whatever_they_are_made_of(executor):
    def raised(function, *arguments):
        error = executor.submit(function, *arguments).exception(PATIENCE)
        assert f"in {function.__name__}" in str(error.__cause__)
        return error

    error = raised(fail_with_two, {2})
    assert (type(error), str(error), error.second) == (WithTwo, "1 and {2}", {2})
    error = raised(fail_of_a_class_that_is_here_only, 2)
    assert (type(error).__name__, str(error), error.more) == ("Here", "xx", [1, 2])


@pytest.mark.parametrize("size", [2_500, 10_000, 1 << 20])
def test_of_a_large_exception_comes_the_beginning(executor, size):
    def raised(*arguments):
        return executor.submit(fail, *arguments).exception(PATIENCE)

    for text in ("x" * size, "\N{SNOWMAN}" * size):
        error = raised(ValueError, text, 7)
        assert type(error) is ValueError and error.args[1] == 7
        assert re.fullmatch(f"{text[0]}{{100,1600}}\\.\\.\\.", error.args[0])
        assert str(error.__cause__).startswith("\nValueError: ")
    assert raised(ValueError, list(range(size))).args[0].startswith("[0, 1, 2, ")
    error = raised(FileNotFoundError, 2, "x" * size, "a file")
    assert (type(error), error.errno, error.filename) == (FileNotFoundError, 2, "a file")
    error = raised(UnicodeDecodeError, "utf-8", b"a" * size, 1, 2, "odd")
    assert type(error) is UnicodeDecodeError and "codec can't decode" in str(error)
    error = raised(flamepy.FlameError, flamepy.Code.NOT_FOUND, "y" * size)
    assert type(error) is flamepy.FlameError and error.kind is flamepy.Code.NOT_FOUND
    assert type(executor.submit(fail_with_two, "z" * size).exception(PATIENCE)) is WithTwo
    here = executor.submit(fail_of_a_class_that_is_here_only, size).exception(PATIENCE)
    assert type(here).__name__ == "Here" and str(here).startswith("xxxx")


def test_the_standard_functions_accept_its_futures(executor):
    futures = [executor.submit(abs, -i) for i in range(200)]
    found = {future.result() for future in standard.as_completed(futures, PATIENCE)}
    assert found == set(range(200))
    assert standard.wait(futures).not_done == set()


def test_a_worker_starts_without_a_warning():
    done = subprocess.run(
        [sys.executable, "-m", "flamepy.worker"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("This program is a Flame service")


def test_initializer_runs_before_the_first_task(shared):
    def prepare(value):
        import os

        os.environ["FLAME_TEST_PREPARED"] = value

    def look():
        import os

        return os.environ["FLAME_TEST_PREPARED"]

    with flamepy.Executor(2, connection=shared, initializer=prepare, initargs=("yes",)) as executor:
        assert executor.submit(look).result(PATIENCE) == "yes"


def test_a_failed_initializer_breaks_the_executor(shared):
    with flamepy.Executor(
        connection=shared, initializer=fail, initargs=(OSError, "no disk")
    ) as executor:
        error = executor.submit(abs, 1).exception(PATIENCE)
    assert isinstance(error, flamepy.BrokenWorkerError)
    assert isinstance(error, standard.BrokenExecutor)
    assert "OSError: no disk" in str(error)


def test_another_version_is_refused_with_both_named(monkeypatch, shared):
    monkeypatch.setattr("flamepy._executor.python_version", lambda: "2.7")
    with flamepy.Executor(connection=shared) as executor:
        error = executor.submit(abs, 1).exception(PATIENCE)
    assert isinstance(error, flamepy.BrokenWorkerError)
    assert "Python 2.7" in str(error) and f"Python {_work.python_version()}" in str(error)


@pytest.mark.parametrize("more", [[], [1, 2, 3, 4, 5]])
def test_another_version_may_say_other_things(more):
    service = worker.Worker()
    data = msgpack.packb(["9.9.9", "3.99", *more])
    service.on_session_enter(flamepy.SessionContext(data, "s", None))
    assert "the client has flamepy 9.9.9 with Python 3.99, this" in service._broken


def test_shutdown_waits_and_then_refuses(shared):
    executor = flamepy.Executor(connection=shared)
    futures = [executor.submit(lambda: __import__("time").sleep(0.05)) for _ in range(8)]
    executor.shutdown()
    executor.shutdown()
    assert all(future.done() and future.exception() is None for future in futures)
    for call in (lambda: executor.submit(abs, 1), lambda: executor.map(abs, [1])):
        with pytest.raises(RuntimeError, match="after shutdown"):
            call()


def test_shutdown_that_cancels(client):
    # A cluster of its own: what an instance of long standing has in hand finishes.
    executor = flamepy.Executor(1, connection=client)

    def work():
        __import__("time").sleep(0.02)

    futures = [executor.submit(work) for _ in range(200)]
    futures[0].result(PATIENCE)
    executor.shutdown(cancel_futures=True)
    cancelled = [future for future in futures if future.cancelled()]
    assert cancelled and not futures[0].cancelled()
    assert len(standard.wait(futures, PATIENCE).done) == 200
    with pytest.raises(standard.CancelledError):
        cancelled[0].result()


def test_cancel_leaves_an_executor_that_takes_more(executor):
    def work():
        __import__("time").sleep(0.02)

    futures = [executor.submit(work) for _ in range(50)]
    executor.cancel(running=True)
    assert len(standard.wait(futures, PATIENCE).done) == 50
    assert any(future.cancelled() for future in futures)
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_shutdown_without_waiting_lets_the_rest_finish(running_once):
    executor = flamepy.Executor(address=running_once.env["FLAME_ENDPOINT"])
    futures = [executor.submit(lambda: __import__("time").sleep(0.01)) for _ in range(20)]
    executor.shutdown(wait=False)
    assert len(standard.wait(futures, PATIENCE).done) == 20
    assert all(future.exception() is None for future in futures)


def states_of(cluster, before):
    return {s["state"] for s in cluster.sessions() if s["id"] not in before}


def test_an_executor_that_nobody_has_ends_after_its_work(running_once, shared, before):
    address = running_once.env["FLAME_ENDPOINT"]

    def held():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    then = held()
    for made in range(10):
        executor = flamepy.Executor(address=address)
        if made:
            future = executor.submit(__import__("time").sleep, 0.1)
        del executor
    assert future.result(PATIENCE) is None
    assert sum(flamepy.Executor(address=address).map(abs, range(50), buffersize=2)) == 1225
    wait_until(lambda: held() == then, "threads and descriptors are given back")
    assert states_of(running_once, before) == {"Closed"}


LEFT = """
import os, sys, time, flamepy

left = flamepy.Executor(1, address=sys.argv[1])
unused = flamepy.Executor(address=sys.argv[1])
borrowed = flamepy.Executor(1, connection=flamepy.connect(sys.argv[1]))
quick = borrowed.submit(abs, -1)
futures = [left.submit(time.sleep, 0.02) for _ in range(20)]
futures[-1].add_done_callback(lambda future: print("done", future.result(), flush=True))
if os.fork() == 0:
    sys.exit()  # is no end of the parent's
"""


def run_program(text, address, **more):
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text, address],  # of fork
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
        **more,
    )


def test_a_program_that_ends_without_shutdown_ends_its_executors(running_once, before):
    done = run_program(LEFT, running_once.env["FLAME_ENDPOINT"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "done None\n", "")
    assert states_of(running_once, before) == {"Closed"}


INTERRUPTED = """
import os, signal, sys, threading, time, flamepy

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
executor = flamepy.Executor(1, address=sys.argv[1])
futures = [executor.submit(time.sleep, 0.1) for _ in range(600)]

def interrupt():
    threading.main_thread().join()
    first = next(i for i in range(600) if not futures[i].done())
    futures[first + 5].result()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
"""


def test_an_interrupt_at_the_end_of_a_program_cancels_what_is_left(running_once, before):
    done = run_program(INTERRUPTED, running_once.env["FLAME_ENDPOINT"])
    assert "KeyboardInterrupt" in done.stderr
    wait_until(lambda: states_of(running_once, before) == {"Closed"}, "it is closed")


def test_bad_arguments_are_refused_at_once():
    with pytest.raises(ValueError, match="max_workers"):
        flamepy.Executor(0)
    with pytest.raises(TypeError, match="is a number, not 'tcp://there:1'; .* says address="):
        flamepy.Executor("tcp://there:1")
    with pytest.raises(TypeError, match="initializer"):
        flamepy.Executor(initializer=1)


def test_it_knows_its_session_and_says_so(shared):
    executor = flamepy.Executor(connection=shared)
    assert executor.session is None and str(executor) == repr(executor)
    assert repr(executor) == f"<flamepy.Executor of nothing yet at {shared.addr}>"
    executor.submit(abs, -1).result(PATIENCE)
    session = executor.session
    assert session.id in {session.id for session in shared.list_sessions()}
    known = f"{session.application} at {shared.addr}, session {session.id}"
    assert repr(executor) == f"<flamepy.Executor of {known}>"
    executor.shutdown()
    assert repr(executor) == f"<flamepy.Executor of {known}, shut down>"


def test_its_application_is_named_by_interpreter_and_versions(shared, monkeypatch):
    def made(**shutdown):
        """The application, and the work of its session."""
        executor = flamepy.Executor(connection=shared)
        executor.submit(abs, -1)
        session = max(shared.list_sessions(), key=lambda session: session.creation_time)
        executor.shutdown(**shutdown)
        return shared.get_application(session.application), session.common_data()

    here, work = made()
    assert made()[0].name == here.name and re.fullmatch("flamepy-[0-9a-f]{8}", here.name)
    assert (here.command, here.arguments) == (sys.executable, ["-m", "flamepy.worker"])
    assert _work.Work.unpack(work).path == list(map(os.path.abspath, sys.path))
    # On another host there is neither this interpreter nor what it imports from.
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    there, work = made(cancel_futures=True)
    assert there.command == "python3" and there.name != here.name
    assert _work.Work.unpack(work).path == []


MAIN = """
import sys, flamepy
print("imported")

class Cell:
    def __init__(self, value):
        self.value = value

def double(cell):
    return Cell(2 * cell.value)

with flamepy.Executor(address=sys.argv[1]) as executor:
    cells = list(executor.map(double, [Cell(1), Cell(2)]))
    assert all(type(cell) is Cell for cell in cells)
    print([cell.value for cell in cells])
"""


def test_the_main_module_is_never_imported_again(tmp_path, running_once):
    program = tmp_path / "program.py"
    program.write_text(MAIN)
    done = subprocess.run(
        [sys.executable, program, running_once.env["FLAME_ENDPOINT"]],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("imported\n[2, 4]\n", "")


# ---- modules of the client -----------------------------------------------------------------------

IMPORTS = """
import os, sys, flamepy, helper, tools.text

with flamepy.Executor(1, address=sys.argv[1]) as executor:
    print(*executor.submit(helper.where).result(), *executor.submit(tools.text.where).result())
    print(*executor.submit(lambda: __import__("tools.text").text.where()).result())
"""
WHERE = "import os\ndef where(): return {!r}, os.getpid()\n"


@pytest.fixture
def project(tmp_path, running_once):
    """Writes a project's modules, and runs it: what it printed."""

    def run(name, text, *python):
        folder = tmp_path / name
        (folder / "tools").mkdir(parents=True, exist_ok=True)
        (folder / "main.py").write_text(IMPORTS)
        for module in ("helper", "tools/__init__", "tools/text"):
            (folder / f"{module}.py").write_text(WHERE.format(text))
        done = subprocess.run(
            [sys.executable, *(python or ["main.py"]), running_once.env["FLAME_ENDPOINT"]],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.split()

    return run


def test_a_worker_has_each_sessions_modules_and_those_of_today(project):
    one, other = project("one", "of-one"), project("other", "of-other")
    edited = project("one", "of-one-as-it-is-now")
    assert one[0::2] == ["of-one"] * 3 and other[0::2] == ["of-other"] * 3
    assert edited[0::2] == ["of-one-as-it-is-now"] * 3
    assert len({*one[1::2], *other[1::2], *edited[1::2]}) == 1  # in one process


def test_modules_beside_a_program_of_one_line_are_found(project):
    assert project("one-line", "of-one-line", "-c", IMPORTS)[0::2] == ["of-one-line"] * 3
