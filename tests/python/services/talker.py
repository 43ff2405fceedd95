# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Says how far it is, writes lines, and calls back as a client; what the input begins with says
which."""

import os
import sys
import time

import flamepy

PATIENCE = 600


def wait_for(path):
    end = time.monotonic() + PATIENCE
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.005)


class Talker(flamepy.FlameService):
    def on_session_enter(self, context):
        self.common = context.common_data() or b""

    def on_task_invoke(self, task):
        word, _, rest = task.input.decode().partition(":")
        if word == "print":
            print(f"out {rest}", flush=True)
            print(f"err {rest}", file=sys.stderr, flush=True)
        if word == "flood":
            sys.stdout.write("x" * 200_000 + "\nthe end\n")
            sys.stdout.flush()
        if word == "steps":  # a folder: one file lets it go on to the next step
            for percent in (10, 60):
                task.progress(percent, f"step {percent}")
                wait_for(f"{rest}/{percent}")
        if word == "many":
            for percent in range(int(rest)):
                task.progress(percent % 101, "x" * 5000)
        if word == "die":
            print("last words", flush=True)
            os._exit(7)
        if word == "common":
            return self.common
        if word == "variable":
            return os.environ.get(rest, "").encode()
        if word == "endpoint":
            with flamepy.connect() as connection:
                return ",".join(s.id for s in connection.list_sessions()).encode()
        return task.input


if __name__ == "__main__":
    flamepy.run(Talker())
