# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The few questions that the bench has for a Redis, over its unix socket."""

import re
import socket


class Redis:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            word = str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(parts))
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2]
        return [self.read() for _ in range(int(rest))]

    def costs(self, tasks):
        """Calls and microseconds per task of each command since the statistics began."""
        text = self.ask("INFO", "commandstats").decode()
        return {
            name.split("|")[0].upper(): {
                "calls": int(calls),
                "us_per_task": round(int(usec) / tasks, 4),
            }
            for name, calls, usec in re.findall(r"cmdstat_(\S+?):calls=(\d+),usec=(\d+)", text)
        }

    def info(self, name, section="all"):
        for line in self.ask("INFO", section).decode().splitlines():
            if line.startswith(name + ":"):
                value = line.split(":", 1)[1]
                return int(value) if value.isdigit() else value
        raise KeyError(name)
