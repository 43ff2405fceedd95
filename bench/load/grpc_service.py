#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Gives back its input through the grpc shim, served as the original's Python package serves: plain
grpcio, ten threads."""

import os
from concurrent import futures

import grpc
import instance_pb2 as pb


def unary(function, request):
    return grpc.unary_unary_rpc_method_handler(
        function,
        request_deserializer=request.FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )


def main():
    methods = {
        "OnSessionEnter": unary(lambda *_: pb.Result(), pb.SessionContext),
        "OnTaskInvoke": unary(lambda task, _: pb.TaskResult(output=task.input), pb.TaskContext),
        "OnSessionLeave": unary(lambda *_: pb.Result(), pb.EmptyRequest),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    handlers = grpc.method_handlers_generic_handler("flame.v1.Instance", methods)
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port("unix:" + os.environ["FLAME_INSTANCE_ENDPOINT"])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
