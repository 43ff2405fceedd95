# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service written with the original's package (flamepy 0.6.0), which this repository does not
have. argv[1]: the file to which it writes which of its callbacks were called."""

import os
import sys

import flamepy


class Original(flamepy.FlameService):
    def __init__(self):
        self.common = None

    def note(self, *words):
        with open(sys.argv[1], "a", encoding="utf-8") as notes:
            print(os.getpid(), *words, file=notes)

    def on_session_enter(self, context: flamepy.SessionContext):
        self.note("enter", context.session_id, context.application.name)
        self.common = context.common_data()
        if self.common == b"refuse":
            raise ValueError("no such model")

    def on_task_invoke(self, context: flamepy.TaskContext):
        if context.input == b"nothing":
            return None
        if context.input == b"raise":
            raise ValueError(f"task {context.task_id} cannot be done")
        if context.input == b"exit":
            os._exit(3)
        return b"%s:%s:%s" % (self.common or b"none", context.task_id.encode(), context.input)

    def on_session_leave(self):
        self.note("leave")
        self.common = None


if __name__ == "__main__":
    assert flamepy.__version__ == "0.6.0"
    flamepy.run(Original())
