#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service and its client in one file: greets everybody who is named.

flmctl up --detach
examples/python/hello.py Ada Grace
"""

import os
import pathlib
import sys

import flamepy


class Hello(flamepy.FlameService):
    def on_session_enter(self, context):
        self.greeting = context.common_data().decode()

    def on_task_invoke(self, task):
        return f"{self.greeting}, {task.input.decode()}!".encode()


def main(names):
    with flamepy.connect() as connection:
        program = str(pathlib.Path(__file__).resolve())
        service = {"command": sys.executable, "arguments": [program]}
        connection.register_application("hello-python", service)
        with connection.create_session("hello-python", common_data=b"Hello") as session:
            for line in session.map(name.encode() for name in names):
                print(line.decode())


if __name__ == "__main__":
    if "FLAME_INSTANCE_FD" in os.environ:  # an executor started us
        flamepy.run(Hello())
    else:
        main(sys.argv[1:] or ["world"])
