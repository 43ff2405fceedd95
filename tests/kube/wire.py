# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Between a client and a server that cannot be told to cut a connection: passes bytes on, until a
test cuts."""

import contextlib
import socket
import threading


class Line:
    """One connection, both ways."""

    def __init__(self, near, far):
        self.ends, self.told = (near, far), 0
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    def copy(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source is self.ends[1]:
                    self.told += len(data)
                sink.sendall(data)
        self.cut()

    def cut(self):
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    @property
    def over(self):
        return self.ends[0].fileno() < 0


class Wire:
    def __init__(self, port):
        self.far_port, self.port, self.lines = port, 0, []
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
                    far = socket.create_connection(("127.0.0.1", self.far_port))
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.lines.append(Line(near, far))

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
