# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Returns its input; what the input begins with says what else it does."""

import os
import time

import flamepy

PATIENCE = 600


class Echo(flamepy.FlameService):
    def on_session_enter(self, context):
        self.common = context.common_data() or b""

    def on_task_invoke(self, task):
        word, _, rest = task.input.partition(b":")
        if word == b"fail":
            raise ValueError(rest.decode())
        if word == b"sleep":
            time.sleep(float(rest))
        if word == b"until":  # there is such a file
            while not os.path.exists(rest):
                time.sleep(0.01)
        if word == b"hold":  # until it is cancelled; the file says that it began
            self.cancelled = b"no"
            try:
                open(rest, "w").close()
                time.sleep(PATIENCE)
            except flamepy.TaskCancelled:
                self.cancelled = b"%d" % task.number
                raise
        if word == b"cancelled":
            return self.cancelled
        if word == b"die":
            print("last words")
            os._exit(7)
        if word == b"common":
            return self.common
        if word == b"large":
            return b"x" * int(rest)
        if word == b"text":
            return "not bytes"
        if word == b"nothing":
            return None
        return task.input


if __name__ == "__main__":
    flamepy.run(Echo())
