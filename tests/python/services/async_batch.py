# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Batches of coroutines: squares numbers; from common data whether they are returned or yielded."""

import asyncio
import sys

import flamepy


class Returned(flamepy.FlameService):
    async def on_batch(self, batch):
        await asyncio.sleep(0)
        return [b"%d" % int(data) ** 2 for data in batch.inputs]


class Yielded(flamepy.FlameService):
    async def on_batch(self, batch):
        for data in batch.inputs:
            await asyncio.sleep(0)
            yield b"%d" % int(data) ** 2


if __name__ == "__main__":
    flamepy.run(Yielded() if "yield" in sys.argv else Returned())
