#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service behind the grpc shim in plain grpcio that does what its argument and its inputs say,
most of it wrong."""

import os
import signal
import socket
import sys
import threading
from concurrent import futures

import grpc
import instance_pb2 as pb

MODE = sys.argv[1] if len(sys.argv) > 1 else ""
ENDPOINT = os.environ["FLAME_INSTANCE_ENDPOINT"]


class Unreadable:
    def SerializeToString(self):
        return b"\xff"


class Odd:
    def __init__(self):
        self.context = None
        self.inside = 0
        self.met = threading.Condition()

    def enter(self, request, _):
        if MODE == "refuse":
            return pb.Result(return_code=-1, message="no such model")
        if MODE == "raise":
            raise RuntimeError("no such file")
        self.context = request
        return pb.Result()

    def leave(self, _request, _):
        if MODE == "cannot leave":
            return pb.Result(return_code=-1, message="not yet")
        self.context = None
        return pb.Result()

    def invoke(self, request, call):
        words = request.input[:100].decode(errors="replace").split()
        known = getattr(self, "do_" + words[0], None) if words else None
        if known is None:
            return pb.TaskResult(output=request.input)
        return known(request, call, *words[1:])

    def do_fail(self, _request, _):
        return pb.TaskResult(return_code=-1, message="asked to fail", output=b"lost")

    def do_code(self, _request, _):
        return pb.TaskResult(return_code=7)

    def do_unreadable(self, _request, _):
        return Unreadable()

    def do_nothing(self, _request, _):
        return pb.TaskResult()

    def do_raise(self, _request, _):
        raise RuntimeError("thrown")

    def do_long(self, _request, _):
        raise RuntimeError("a story, " + 100_000 * "long ")

    def do_abort(self, _request, call):
        call.abort(grpc.StatusCode.UNAVAILABLE, "the model is being loaded")

    def do_common(self, _request, _):
        return pb.TaskResult(output=self.context.common_data)

    def do_context(self, request, _):
        text = f"{self.context}{request}"
        return pb.TaskResult(output=text.encode())

    def do_environment(self, _request, _):
        return pb.TaskResult(output="".join(f"{n}={v}\n" for n, v in os.environ.items()).encode())

    def do_pid(self, _request, _):
        return pb.TaskResult(output=b"%d" % os.getpid())

    def do_size(self, _request, _, size):
        return pb.TaskResult(output=b"o" * int(size))

    def do_exit(self, _request, _):
        sys.stderr.write("out of luck\n")
        sys.stderr.flush()
        os._exit(3)

    def do_hang(self, _request, _, begun=""):
        """For ever; with the path of a file only the first time."""
        if begun and os.path.exists(begun):
            return pb.TaskResult(output=b"the second time")
        if begun:
            open(begun, "w", encoding="utf-8").close()
        threading.Event().wait()

    def do_close(self, _request, _):
        for name in os.listdir("/proc/self/fd"):
            if os.path.realpath(f"/proc/self/fd/{name}").startswith("/proc/") and int(name) > 2:
                close_if_socket(int(name))
        signal.pause()

    def do_away(self, _request, _):
        """A child in a session of its own keeps the connection open."""
        child = os.fork()
        if child == 0:
            os.setsid()
            while True:
                signal.pause()
        sys.stderr.write(f"grandchild {child}\n")
        sys.stderr.flush()
        os._exit(3)

    def do_meet(self, request, _, count):
        """Answers once so many are here at the same time."""
        with self.met:
            self.inside += 1
            self.met.notify_all()
            met = self.met.wait_for(lambda: self.inside >= int(count), timeout=20)
        return pb.TaskResult(return_code=0 if met else 1, output=request.input)


def close_if_socket(number):
    try:
        socket.socket(fileno=os.dup(number)).shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def garbage(path, noise):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection, _ = listener.accept()
        connection.sendall(noise)
        signal.pause()


def silent(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection, _ = listener.accept()
        with connection, open("accepted", "w"):
            signal.pause()


def serve():
    odd = Odd()
    methods = {
        "OnSessionEnter": (odd.enter, pb.SessionContext),
        "OnTaskInvoke": (odd.invoke, pb.TaskContext),
        "OnSessionLeave": (odd.leave, pb.EmptyRequest),
    }
    if MODE == "half":
        del methods["OnTaskInvoke"]
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            function,
            request_deserializer=request.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )
        for name, (function, request) in methods.items()
    }
    options = [("grpc.max_receive_message_length", -1)] if MODE == "large" else []
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10), options=options)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("flame.v1.Instance", handlers),)
    )
    server.add_insecure_port(f"unix://{ENDPOINT}")
    server.start()
    server.wait_for_termination()


def main():
    if MODE == "dies at start":
        sys.exit("no license")
    if MODE == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if MODE == "never listens":
        signal.pause()
    if MODE == "another protocol":
        garbage(ENDPOINT, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    if MODE == "noise":
        garbage(ENDPOINT, bytes(range(256)) * 40)
    if MODE == "silent":
        silent(ENDPOINT)
    serve()


if __name__ == "__main__":
    main()
