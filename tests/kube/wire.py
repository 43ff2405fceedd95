# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Between a client and a server that cannot be told to cut a connection: passes bytes on, until a
test cuts, or steps in at what the client says."""

import contextlib
import re
import socket
import threading


class Stop:
    """At the first words of a client in which all `patterns` were found, one after the other, `act`
    is called: "before" they are passed on, or "after" that in the place of the answer. The
    connection ends with it."""

    def __init__(self, act, when, *patterns):
        self.act, self.after, self.hits = act, when == "after", 0
        self.patterns = [re.compile(pattern, re.DOTALL) for pattern in patterns]
        self.said = b""

    def hears(self, data):
        """True if this is the place."""
        self.said = self.said[-4096:] + data
        while self.patterns and (found := self.patterns[0].search(self.said)):
            self.patterns.pop(0)
            self.said = self.said[found.end() :]
            if not self.patterns:
                return True
        return False

    def hit(self):
        self.hits += 1
        self.act()


class Line:
    """One connection, both ways."""

    def __init__(self, near, far, stop=None):
        self.ends, self.told = (near, far), 0
        self.stop, self.answer_due = stop, False
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    def copy(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source is self.ends[1]:
                    self.told += len(data)
                if self.stop and self.is_place(source, data):
                    self.stop.hit()
                    break
                sink.sendall(data)
        self.cut()

    def is_place(self, source, data):
        if source is self.ends[1]:
            return self.answer_due
        here = self.stop.hears(data)
        self.answer_due |= here and self.stop.after
        return here and not self.stop.after

    def cut(self):
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    @property
    def over(self):
        return self.ends[0].fileno() < 0


class Wire:
    """`far` is a port of this machine or the path of a socket."""

    def __init__(self, far, stop=None):
        self.far, self.stop, self.port, self.lines = far, stop, 0, []
        self.listener = None
        self.open()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = self.connect()
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    if end.family == socket.AF_INET:
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.lines.append(Line(near, far, self.stop))

    def connect(self):
        if isinstance(self.far, int):
            return socket.create_connection(("127.0.0.1", self.far))
        end = socket.socket(socket.AF_UNIX)
        end.connect(self.far)
        return end

    def cut(self, least=0):
        """Those that have brought so many bytes from the server; how many these were."""
        self.lines = [line for line in self.lines if not line.over]
        chosen = [line for line in self.lines if line.told >= least]
        for line in chosen:
            line.cut()
        return len(chosen)

    def close(self):
        """Nobody listens any more, as if the server's process had ended."""
        # close() alone leaves accept() waiting, and the port open.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
