# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service of one function, in the style of flamepy 0.6; "async" makes it a coroutine."""

import asyncio
import sys

from flamepy.service import FlameInstance

instance = FlameInstance()


def plain(question):
    if question == "update":
        instance.update_context("new")
    if question is None:
        return None
    return instance.context(), question


async def asynchronous(question):
    await asyncio.sleep(0)
    return plain(question)


def nothing():
    return "nothing was asked"


instance.entrypoint({"plain": plain, "async": asynchronous, "nothing": nothing}[sys.argv[1]])

if __name__ == "__main__":
    instance.run()
