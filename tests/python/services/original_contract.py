# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Prints, by the original's package, where the contract in the descriptor set argv[1] differs from
that package's own."""

import sys

from google.protobuf import descriptor_pb2

import flamepy.proto.shim_pb2 as shim
import flamepy.proto.types_pb2 as types

MESSAGE, ENUM, SERVICE = "message_type", "enum_type", "service"


def on_the_wire(found):
    """Names in JSON, and numbers that are kept free, are not."""
    for part in ("reserved_range", "reserved_name"):
        if part in found.DESCRIPTOR.fields_by_name:
            found.ClearField(part)
    for field in getattr(found, "field", ()):
        field.ClearField("json_name")
    for method in getattr(found, "method", ()):
        method.ClearField("options")
    return found


def all_of(files, kind):
    return {entry.name: on_the_wire(entry) for file in files for entry in getattr(file, kind)}


def main():
    with open(sys.argv[1], "rb") as file:
        ours = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
    theirs = [
        descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        for module in (types, shim)
    ]
    assert {file.package for file in [*ours, *theirs]} == {"flame.v1"}
    for kind in (MESSAGE, ENUM, SERVICE):
        known = all_of(theirs, kind)
        found = all_of(ours, kind)
        assert found, f"no {kind}"
        for name, entry in found.items():
            if known.get(name) != entry:
                print(f"{name}:\n{entry}\nthe original's:\n{known.get(name)}")


if __name__ == "__main__":
    main()
