# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Names of the original Flame's package that this one does not have yet: they can be imported, and
used in annotations and `isinstance`; everything else raises NotYetError."""

from __future__ import annotations

from typing import Any, Callable, NoReturn

from flamepy.errors import Code, NotYetError

__all__ = ["later_class", "later_function"]


def _raise(name: str) -> NoReturn:
    raise NotYetError(
        Code.UNSUPPORTED,
        f"{name} is not there yet: the object cache, Runner and Sandbox come in a later version of "
        "Flame. Until then common data and payloads (64 MiB each) carry data, and flamepy.Executor "
        "runs functions; see docs/python.md",
    )


class _LaterType(type):
    def __call__(cls, *_: Any, **__: Any) -> Any:
        _raise(f"{cls.__module__}.{cls.__name__}")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        _raise(f"{cls.__module__}.{cls.__name__}.{name}")


def later_class(module: str, name: str) -> Any:
    return _LaterType(name, (), {"__module__": module, "__doc__": "Not there yet."})


def later_function(module: str, name: str) -> Callable[..., Any]:
    def function(*_: Any, **__: Any) -> NoReturn:
        _raise(f"{module}.{name}")

    function.__module__, function.__name__, function.__qualname__ = module, name, name
    function.__doc__ = "Not there yet."
    return function
