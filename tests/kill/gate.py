# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A socket between broker and Redis that knows the steps of the broker's recovery and can hold one:
its request has not reached Redis, or Redis has answered and the broker does not know."""

import os
import selectors
import socket
import threading

# In their order. Only a broker that starts forces its epoch to disk and reads the state.
STEPS = ["look", "meta", "claim", "replay", "force", "back", "read"]
MOMENTS = ["request", "answer"]  # what is held
CHUNK = 1 << 20


def step_of(data, before):
    """Of a request that begins with `data`, behind `before` on the same connection; "" is none."""
    if data.startswith(b"*1\r\n$4\r\nINFO\r\n") and b"no-appendfsync-on-rewrite" in data:
        return "look"
    if data.startswith(b"*2\r\n$5\r\nWATCH\r\n") and b"HGETALL" in data:
        return "meta"
    if b"appendfsync\r\n$6\r\nalways" in data and b"restore" in data:
        return "force"
    if b"$4\r\nHDEL\r\n" in data and b"$7\r\nrestore\r\n" in data:
        return "back"
    if not data.startswith(b"*1\r\n$5\r\nMULTI\r\n"):
        return "read" if b"flame:sessions" in data and b"ZRANGE" in data else ""
    if b"$6\r\nschema\r\n" in data[:200]:
        return "claim"
    return "replay" if before in ("claim", "replay") else ""


class Connection:
    def __init__(self, broker, redis):
        self.broker, self.redis = broker, redis
        self.before = ""  # its last step
        self.held_answer = False


class Gate:
    """One thread. What is held is held for all connections: nobody gets ahead."""

    def __init__(self, path, redis_path):
        self.path, self.redis_path = path, redis_path
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.connections = set()
        self.lock = threading.Lock()
        self.wanted = None  # (step, moment)
        self.passing = 0  # so many of that step go through before
        self.seen = []  # steps since arm()
        self.hit, self.released = threading.Event(), threading.Event()
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def arm(self, step, moment, passing=0):
        with self.lock:
            self.wanted, self.passing, self.seen = (step, moment), passing, []
            self.hit.clear()
            self.released.clear()

    def disarm(self):
        """Whatever was held is lost with its connection."""
        with self.lock:
            self.wanted = None
        self.released.set()

    def close(self):
        self.stopping = True
        self.disarm()
        self.thread.join()
        for connection in list(self.connections):
            self.drop(connection)
        self.listener.close()
        os.unlink(self.path)

    # ---- the thread

    def run(self):
        while not self.stopping:
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.data in self.connections:
                    self.pump(key.data, key.fileobj)

    def accept(self):
        broker, _ = self.listener.accept()
        redis = socket.socket(socket.AF_UNIX)
        try:
            redis.connect(self.redis_path)
        except OSError:
            broker.close()
            return
        connection = Connection(broker, redis)
        self.connections.add(connection)
        for end in (broker, redis):
            self.selector.register(end, selectors.EVENT_READ, connection)

    def drop(self, connection):
        self.connections.discard(connection)
        for end in (connection.broker, connection.redis):
            self.selector.unregister(end)
            end.close()

    def pump(self, connection, end):
        to_redis = end is connection.broker
        try:
            data = end.recv(CHUNK)
            if data and not self.holds(connection, data, to_redis):
                (connection.redis if to_redis else connection.broker).sendall(data)
                return
        except OSError:
            pass
        self.drop(connection)

    def holds(self, connection, data, to_redis):
        """True: it waited for disarm(), and this connection is over."""
        with self.lock:
            if to_redis:
                step = step_of(data, connection.before)
                connection.before = step or connection.before
                if step and self.wanted:
                    self.seen.append(step)
                mine = bool(step) and self.wanted is not None and self.wanted[0] == step
                if mine and self.passing > 0:
                    self.passing, mine = self.passing - 1, False
                connection.held_answer = mine and self.wanted[1] == "answer"
                held = mine and self.wanted[1] == "request"
            else:
                held = connection.held_answer and self.wanted is not None
        if not held:
            return False
        self.hit.set()
        self.released.wait()
        return True
