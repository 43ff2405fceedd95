# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A whole frame at a time: squares numbers, fails those below 0."""

import flamepy


class Batch(flamepy.FlameService):
    def on_batch(self, batch):
        return [self.square(int(data)) for data in batch.inputs]

    @staticmethod
    def square(number):
        if number < 0:
            return flamepy.TaskFailure(f"{number} is negative")
        return b"%d" % number**2


if __name__ == "__main__":
    flamepy.run(Batch())
