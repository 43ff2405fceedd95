# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The service behind flamepy.Executor: `python -m flamepy.worker`, started by a flame-executor.

The session's common data brings the functions, pickled by value, and grows while the session is
open; a task's input are its arguments and the number of its function (`_function_table.py`), its
output is the pickled result. What cannot be served (another Python, a failed initializer) is
every task's failure: a refused session would leave its tasks waiting.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import operator
import pickle
from collections.abc import Iterator
from typing import Any, Callable

from flamepy._by_value import by_value
from flamepy._calls import Calls, Output, TaskFailure, reason_of
from flamepy._function_table import KEYWORDS, PLAIN, PROTOCOL, STOP, WHOLE, number_of, tail_of
from flamepy._proto import limits
from flamepy._service import FlameService, SessionContext, run
from flamepy._session_modules import SessionModules
from flamepy._work import BROKEN, PICKLED, Remade, Work

__all__ = ["Worker"]

_PICKLED_BYTES_MAX = 2048  # in base64 a third more, which leaves room for the traceback
_ARGUMENT_BYTES = (1536, 512, 128)


class Worker(FlameService):
    def __init__(self) -> None:
        self._session = ""
        self._pickled: list[bytes] = []
        self._functions: dict[int, Callable[..., Any]] = {}
        self._broken = ""
        self._modules = SessionModules()

    def on_session_enter(self, context: SessionContext) -> None:
        """Also whenever the session has a new function."""
        again, self._session = self._session == context.session_id, context.session_id
        if again and self._broken:
            return
        self._broken = ""
        try:
            self._enter(Work.unpack(context.common_data() or b""), again)
        except Exception as error:
            self._broken = BROKEN + reason_of(error, reserve=len(BROKEN))

    def _enter(self, work: Work, again: bool) -> None:
        if again:
            self._pickled = work.functions
            return
        self._pickled, self._functions = work.functions, {}
        self._modules.begin(work.path)
        initializer, arguments = pickle.loads(work.initializer)
        if initializer is not None:
            initializer(*arguments)

    def output_chunks(
        self, first: int, inputs: list[bytes], calls: Calls
    ) -> Iterator[list[Output]]:
        if self._broken:
            return iter([[TaskFailure(self._broken)] * len(inputs)])
        return calls.chunks(
            first, inputs, self._results, _outputs, caught=BaseException, failure=_reason_with
        )

    def _results(self, chunk: list[bytes], taken: Iterator[bytes]) -> Iterator[Any]:
        """In the usual case, one function with plain arguments, nothing in Python is done per
        task but the function."""
        try:
            kinds = set(map(_LAST, chunk))
        except IndexError:  # not of our client
            kinds = set()
        same = kinds == {STOP} or kinds == {PLAIN} and len({tail_of(data) for data in chunk}) == 1
        if same:
            return itertools.starmap(self._function(chunk[0]), map(pickle.loads, taken))
        return map(self._result, taken)

    def _result(self, data: bytes) -> Any:
        call = pickle.loads(data)
        if data[-1] == WHOLE:
            function, arguments, keywords = call
            return function(*arguments, **keywords)
        function = self._function(data)
        if data[-1] == KEYWORDS:
            arguments, keywords = call
            return function(*arguments, **keywords)
        return function(*call)

    def _function(self, data: bytes) -> Callable[..., Any]:
        number = number_of(data)
        found = self._functions.get(number)
        if found is None:
            found = self._functions[number] = pickle.loads(self._pickled[number])
        return found


_LAST = operator.itemgetter(-1)
_PROTOCOLS = itertools.repeat(PROTOCOL)


def _outputs(values: list[Any]) -> list[Output]:
    outputs: list[Output] = []
    with contextlib.suppress(BaseException):
        outputs.extend(map(pickle.dumps, values, _PROTOCOLS))
    # One that raises StopIteration is the end for C.
    return outputs if len(outputs) == len(values) else list(map(_output, values))


def _output(value: Any) -> Output:
    try:
        return _dumps(value)
    except BaseException as error:
        return TaskFailure(_reason_with(error))


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, PROTOCOL)
    except Exception:  # of a class of the client's main module, for example
        return by_value(value)


def _reason_with(error: BaseException) -> str:
    """The text, and the exception itself, or as much of it as there is room for."""
    forms = (form for form in _pickled_forms(error) if len(form) <= _PICKLED_BYTES_MAX)
    pickled = next(forms, None)
    if pickled is None:
        return reason_of(error)
    known = PICKLED + base64.b64encode(pickled).decode()
    text = reason_of(error, reserve=len(known)).encode("utf-8", "replace")
    return text[: limits.REASON_BYTES_MAX - len(known)].decode("utf-8", "ignore") + known


def _pickled_forms(error: BaseException) -> Iterator[bytes]:
    """From the whole one on, with less and less."""
    for size in (None, *_ARGUMENT_BYTES):
        try:
            pickled = _dumps(error if size is None else Remade(error, size))
            pickle.loads(pickled)  # fails where its class cannot be called with its args
            yield pickled
        except Exception:
            continue


if __name__ == "__main__":
    # As the module that the client names too, so that both mean the same classes.
    from flamepy import worker

    run(worker.Worker())
