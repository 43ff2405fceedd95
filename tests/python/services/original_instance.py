# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service of one function in the style of the original's package, run with that package."""

import flamepy
from flamepy.service import FlameInstance

instance = FlameInstance()


@instance.entrypoint
async def add(numbers):
    return {"sum": sum(numbers), "version": flamepy.__version__, "context": instance.context()}


if __name__ == "__main__":
    instance.run()
