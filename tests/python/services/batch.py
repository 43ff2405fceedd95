# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A whole frame at a time: squares numbers, fails those below 0. "hold:FILE" makes the file and
waits until it is cancelled; "cancelled" says whether one was; "calls" how many tasks each call had.
With `yield` the outputs leave one by one; with `stubborn` a cancel is heard and ignored."""

import sys
import time

import flamepy


class Batch(flamepy.FlameService):
    cancelled = b"no"

    def __init__(self):
        self.calls = []

    def on_batch(self, batch):
        self.calls.append(len(batch.inputs))
        outputs = map(self.answer, batch.inputs)
        return outputs if "yield" in sys.argv else list(outputs)

    def answer(self, data):
        word, _, rest = data.partition(b":")
        if word == b"hold":
            return self.hold(rest)
        if word == b"cancelled":
            return self.cancelled
        if word == b"calls":
            return repr(self.calls).encode()
        return self.square(int(data))

    def hold(self, file):
        try:
            open(file, "w").close()
            time.sleep(600)
            return b""
        except flamepy.TaskCancelled:
            self.cancelled = b"yes"
            if "stubborn" in sys.argv:
                return b"went on"
            raise

    @staticmethod
    def square(number):
        if number < 0:
            return flamepy.TaskFailure(f"{number} is negative")
        return b"%d" % number**2


if __name__ == "__main__":
    flamepy.run(Batch())
