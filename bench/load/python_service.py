#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Returns its input: what a task costs in Python."""

import flamepy


class Same(flamepy.FlameService):
    def on_task_invoke(self, task):
        return task.input


if __name__ == "__main__":
    flamepy.run(Same())
