# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What a worker imported for a session is forgotten when the next one begins: the same names may
be of another project there, or changed since. What is installed for all of them stays."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import sysconfig
from typing import Any

_INSTALLED = ("site-packages", "dist-packages")
_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)


class SessionModules:
    """Made before the first session."""

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._names = set(map(_package_of, sys.modules))
        library = sysconfig.get_path("stdlib")
        self._installed = {library, os.path.join(library, "lib-dynload")}
        self._installed.update(e for e in sys.path if os.path.basename(e) in _INSTALLED)

    def begin(self, path: list[str]) -> None:
        """`path` is first, in its order: what hides what is then as in the client."""
        forgotten, compiled = set(), set()
        for name, module in sys.modules.items():
            package = _package_of(name)
            if package == name and not self._stays(name, module):
                forgotten.add(name)
            if str(getattr(module, "__file__", None)).endswith(_COMPILED):
                compiled.add(package)  # cannot be loaded twice, as a rule
        forgotten -= compiled
        for name in [name for name in sys.modules if _package_of(name) in forgotten]:
            del sys.modules[name]
        sys.path[:] = [*path, *(entry for entry in self._path if entry not in path)]
        importlib.invalidate_caches()

    def _stays(self, name: str, module: Any) -> bool:
        folders = list(getattr(module, "__path__", None) or ())
        place = folders[0] if folders else getattr(module, "__file__", None)
        found_in = os.path.dirname(place) if place else None  # built in, or made by a program
        return name in self._names or found_in is None or found_in in self._installed


def _package_of(name: str) -> str:
    return name.partition(".")[0]
