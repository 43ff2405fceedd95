# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service of coroutines; what the input begins with says what a task does."""

import asyncio
import pathlib

import flamepy

PATIENCE = 600


class Coroutines(flamepy.FlameService):
    async def on_session_enter(self, context):
        await asyncio.sleep(0)
        if context.common_data() == b"refuse":
            raise OSError("no disk")
        self.meeting, self.met, self.cancelled = asyncio.Event(), 0, b"none"

    async def on_task_invoke(self, task):
        word, _, rest = task.input.partition(b":")
        if word == b"meet":  # returns when so many are in hand at the same time
            self.met += 1
            if self.met == int(rest):
                self.meeting.set()
            await self.meeting.wait()
        if word == b"fail":
            await asyncio.sleep(0)
            raise ValueError(rest.decode())
        if word == b"hold":  # until it is cancelled; the file says that it began
            try:
                pathlib.Path(rest.decode()).touch()
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                self.cancelled = b"%d" % task.number
                raise
        if word == b"give-up":
            raise asyncio.CancelledError("by itself")
        if word == b"cancelled":
            return self.cancelled
        return task.input

    async def on_session_leave(self):
        await asyncio.sleep(0)
        print("left")


if __name__ == "__main__":
    flamepy.run(Coroutines())
