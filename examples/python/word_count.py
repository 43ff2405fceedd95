#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Counts the words of a text, a line a task, without those of a stop list. The list is common data:
it travels once per executor, not with every task.

flmctl up --detach
examples/python/word_count.py FILE [STOP_WORD...]
"""

import collections
import json
import os
import pathlib
import re
import sys

import flamepy


class WordCount(flamepy.FlameService):
    def on_session_enter(self, context):
        self.stop_words = set((context.common_data() or b"").decode().split())

    def on_task_invoke(self, task):
        words = re.findall(r"\w+", task.input.decode(errors="replace").lower())
        counts = collections.Counter(word for word in words if word not in self.stop_words)
        return json.dumps(counts).encode()


def main(file, *stop_words):
    counts = collections.Counter()
    with open(file, "rb") as lines, flamepy.connect() as connection:
        service = {"command": sys.executable, "arguments": [str(pathlib.Path(__file__).resolve())]}
        connection.register_application("word-count-python", service)
        common = " ".join(stop_words).encode()
        with connection.create_session("word-count-python", common_data=common) as session:
            for line in session.map(lines):
                counts.update(json.loads(line))
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(count, word)


if __name__ == "__main__":
    if "FLAME_INSTANCE_FD" in os.environ:  # an executor started us
        flamepy.run(WordCount())
    elif len(sys.argv) < 2:
        sys.exit("Usage: word_count.py FILE [STOP_WORD...]")
    else:
        main(*sys.argv[1:])
