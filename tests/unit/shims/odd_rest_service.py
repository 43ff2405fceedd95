#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service behind the rest shim in the standard library that does what its argument and its
inputs say, most of it wrong. With "tcp" as its argument it prints its port first."""

import http.server
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else ""


class Odd(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections = 0
    asked = 0
    inside = 0
    met = threading.Condition()
    common = b""
    left = 0

    def setup(self):
        Odd.connections += 1
        super().setup()

    def address_string(self):
        return "executor"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        Odd.asked += 1
        if MODE == "no health":
            return self.answer(404, b"nothing here")
        if MODE == "warming" and Odd.asked < 4:
            return self.answer(503, b"loading the model")
        if MODE == "never ready":
            return self.answer(503, b"loading the model")
        self.answer(204)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        getattr(self, "post_" + self.path.removeprefix("/v1").strip("/"), self.unknown)(body)

    def unknown(self, _):
        self.answer(404, b"no " + self.path.encode())

    def post_enter(self, body):
        if MODE == "refuse":
            return self.answer(500, b"no such model")
        if MODE == "plain":
            return self.answer(404)
        if MODE == "verbose":
            return self.answer(200, b"x" * (65 << 20))
        Odd.common = body
        self.answer(200, b"welcome")

    def post_leave(self, _):
        if MODE == "cannot leave":
            return self.answer(500, b"not yet")
        Odd.left += 1
        self.answer(405 if MODE == "plain" else 200)

    def post_invoke(self, body):
        words = body[:100].decode(errors="replace").split()
        known = getattr(self, "say_" + words[0], None) if words else None
        if known is None:
            return self.answer(200, body)
        known(*words[1:])

    def post_invoke_batch(self, body):
        batch = json.loads(body)
        results = []
        for task in batch["tasks"]:
            if task["input"] == "fail":
                results.append({"error": f"task {task['id']} asked to fail"})
            elif task["input"] == "short":
                return self.answer(200, json.dumps({"results": results}).encode())
            elif task["input"] == "garbage":
                return self.answer(200, b"{")
            else:
                results.append({"output": [batch["session"], task["attempt"], task["input"]]})
        self.answer(200, json.dumps({"results": results}).encode())

    # ---- what an input may ask for

    def say_common(self):
        self.answer(200, Odd.common)

    def say_pid(self):
        self.answer(200, str(os.getpid()).encode())

    def say_connections(self):
        self.answer(200, str(Odd.connections).encode())

    def say_headers(self):
        self.answer(200, str(self.headers).encode())

    def say_environment(self):
        lines = (f"{name}={value}\n" for name, value in sorted(os.environ.items()))
        self.answer(200, "".join(lines).encode())

    def say_status(self, status, *text):
        self.answer(int(status), " ".join(text).encode())

    def say_away(self, times):
        """503 so often, then the answer says how many times it was asked."""
        Odd.asked += 1
        if Odd.asked <= int(times):
            return self.answer(503, b"busy", Retry_After="0")
        self.answer(200, str(Odd.asked).encode())

    def say_later(self):
        self.answer(503, b"busy", Retry_After="60")

    def say_elsewhere(self):
        self.answer(307, Location="http://127.0.0.1:1/invoke")

    def say_large(self, size):
        self.answer(200, b"x" * int(size))

    def say_meet(self, count):
        """Answered when so many are inside at once."""
        with Odd.met:
            Odd.inside += 1
            Odd.met.notify_all()
            Odd.met.wait_for(lambda: Odd.inside >= int(count))
        self.answer(200, b"met")

    def say_print(self, *words):
        print(*words, file=sys.stderr, flush=True)
        self.answer(200)

    def say_garbage(self):
        self.wfile.write(b"SMTP ready\r\n\r\n")
        self.close_connection = True

    def say_cut(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def say_hang(self):
        threading.Event().wait()

    def say_die(self):
        print("the disk is on fire", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "odd", 0


class UnixServer(Server):
    address_family = socket.AF_UNIX


if MODE == "deaf":
    time.sleep(3600)
if MODE == "tcp":
    server = Server(("127.0.0.1", 0), Odd)
    print(server.socket.getsockname()[1], flush=True)
elif "PORT" in os.environ:
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Odd)
else:
    server = UnixServer(os.environ["FLAME_INSTANCE_ENDPOINT"], Odd)
server.serve_forever()
