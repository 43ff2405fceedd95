# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Prints the public names of the flamepy that is installed, as JSON: test_compatible.py runs it
with ours and with the original's."""

import dataclasses
import enum
import importlib
import inspect
import json

MODULES = (
    "flamepy flamepy.core flamepy.core.types flamepy.service flamepy.cache flamepy.runner "
    "flamepy.util"
)


def names_of(module):
    return getattr(module, "__all__", None) or [
        name
        for name, item in vars(module).items()
        if not name.startswith("_")
        and (name.isupper() or getattr(item, "__module__", "") == module.__name__)
    ]


def parameters_of(call):
    return [
        [p.name, p.kind.name, None if p.default is p.empty else shown(p.default)]
        for p in inspect.signature(call).parameters.values()
        if p.name not in ("self", "cls")
    ]


def shown(default):
    if isinstance(default, enum.Enum):
        return repr(default.value)
    return repr(default)


def default_of(field):
    if field.default is not dataclasses.MISSING:
        return shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return shown(field.default_factory())
    return None


def class_of(item):
    found = {"kind": "class", "exception": issubclass(item, Exception)}
    if issubclass(item, enum.Enum):
        found["members"] = {name: m.value for name, m in item.__members__.items()}
        return found
    if dataclasses.is_dataclass(item):
        found["fields"] = [[f.name, default_of(f)] for f in dataclasses.fields(item)]
    members = {n: m for n, m in inspect.getmembers(item) if not n.startswith("_")}
    calls = {n: m for n, m in members.items() if inspect.isfunction(m) or inspect.ismethod(m)}
    found["methods"] = {name: parameters_of(call) for name, call in calls.items()}
    if "__init__" in vars(item) or "__new__" in vars(item):
        found["methods"]["__init__"] = parameters_of(item)
    found["attributes"] = sorted(n for n, m in members.items() if not callable(m))
    return found


def description(item):
    if getattr(item, "__doc__", "") == "Not there yet.":
        return {"kind": "later"}
    if inspect.isclass(item):
        return class_of(item) if item.__module__.startswith("flamepy") else {"kind": repr(item)}
    if inspect.isfunction(item):
        return {"kind": "function", "parameters": parameters_of(item)}
    if inspect.ismodule(item):
        return {"kind": "module"}
    return {"kind": "value", "value": repr(item)}


def main():
    found = {}
    for module in map(importlib.import_module, MODULES.split()):
        found[module.__name__] = {n: description(getattr(module, n)) for n in names_of(module)}
    print(json.dumps(found))


main()
