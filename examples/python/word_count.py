#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Counts the words of a text, a line a task, without those of a stop list. The list is common data:
it travels once per executor, not with every task. Without a file it counts those of a verse.

flmctl up --detach
examples/python/word_count.py [FILE [STOP_WORD...]]
"""

import collections
import json
import os
import pathlib
import re
import sys

import flamepy

VERSE = b"""The Owl and the Pussy-cat went to sea
In a beautiful pea-green boat,
They took some honey, and plenty of money,
Wrapped up in a five-pound note.
"""


class WordCount(flamepy.FlameService):
    def on_session_enter(self, context):
        self.stop_words = set((context.common_data() or b"").decode().split())

    def on_task_invoke(self, task):
        words = re.findall(r"\w+", task.input.decode(errors="replace").lower())
        counts = collections.Counter(word for word in words if word not in self.stop_words)
        return json.dumps(counts).encode()


def main(file="", *stop_words):
    counts = collections.Counter()
    text = pathlib.Path(file).read_bytes() if file else VERSE
    with flamepy.connect() as connection:
        service = {"command": sys.executable, "arguments": [str(pathlib.Path(__file__).resolve())]}
        connection.register_application("word-count-python", service)
        common = " ".join(stop_words).encode()
        with connection.create_session("word-count-python", common_data=common) as session:
            for counted in session.map(text.splitlines()):
                counts.update(json.loads(counted))
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(count, word)


if __name__ == "__main__":
    if "FLAME_INSTANCE_FD" in os.environ:  # an executor started us
        flamepy.run(WordCount())
    else:
        main(*sys.argv[1:])
