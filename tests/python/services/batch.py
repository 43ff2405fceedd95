# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A whole frame at a time: squares numbers, fails those below 0. "hold:FILE" makes the file and
waits until it is cancelled; "cancelled" says whether one was."""

import time

import flamepy


class Batch(flamepy.FlameService):
    cancelled = b"no"

    def on_batch(self, batch):
        return [self.answer(data) for data in batch.inputs]

    def answer(self, data):
        word, _, rest = data.partition(b":")
        if word == b"hold":
            self.hold(rest)
        if word == b"cancelled":
            return self.cancelled
        return self.square(int(data))

    def hold(self, file):
        try:
            open(file, "w").close()
            time.sleep(600)
        except flamepy.TaskCancelled:
            self.cancelled = b"yes"
            raise

    @staticmethod
    def square(number):
        if number < 0:
            return flamepy.TaskFailure(f"{number} is negative")
        return b"%d" % number**2


if __name__ == "__main__":
    flamepy.run(Batch())
