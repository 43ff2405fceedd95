#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""An HTTP server that does what the path says, most of it wrong. Prints its port; ends when its
standard input does.

    odd_http_server.py [--greet | --unix PATH | --tls CERT KEY [CLIENT_CA]]
"""

import json
import os
import socket
import ssl
import sys
import threading


class Connection:
    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.file = sock.makefile("rb")

    def serve(self):
        while self.one():
            pass

    def one(self):
        """False: the connection is over."""
        line = self.file.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        headers = {}
        while (text := self.file.readline().decode("latin-1").rstrip("\r\n")) != "":
            name, value = text.split(":", 1)
            headers[name.lower()] = value.strip()
        body = self.file.read(int(headers.get("content-length", 0)))
        path, _, query = line[1].partition("?")
        answer = getattr(self, path[1:].replace("-", "_"), self.echo)
        return answer(line, headers, body, query)

    def send(self, text):
        self.sock.sendall(text.encode("latin-1"))

    def reply(self, body, status="200 OK", more=""):
        more += f"Content-Length: {len(body)}\r\nX-Connection: {self.number}\r\n"
        self.send(f"HTTP/1.1 {status}\r\n{more}\r\n{body}")
        return True

    def echo(self, line, headers, body, _query):
        seen = {"method": line[0], "target": line[1], "headers": headers, "body": body.decode()}
        return self.reply(json.dumps(seen))

    def status(self, _line, _headers, _body, query):
        return self.reply(f"says {query}", f"{query} Because", "X-Twice: a\r\nx-twice:  b \r\n")

    def redirect(self, *_):
        return self.reply("", "302 Found", "Location: /echo\r\n")

    def go_on(self, *_):
        self.send("HTTP/1.1 100 Continue\r\nX-Early: yes\r\n\r\n")
        return self.reply("after all")

    def closes_later(self, *_):
        self.reply("bye")
        return False

    def nothing(self, *_):
        return False

    def cut(self, *_):
        self.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        return False

    def cut_chunk(self, *_):
        self.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"half":')
        return False

    def garbage(self, *_):
        self.send("220 mail.example.org ready\r\n")
        return False

    def bad_chunk(self, *_):
        self.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        return False

    def long_headers(self, *_):
        return self.reply("", more="".join(f"X-{i}: {'h' * 1000}\r\n" for i in range(80)))

    def silent(self, *_):
        return self.file.read(1) != b""  # until the other side goes

    def big(self, _line, _headers, _body, query):
        return self.reply("x" * int(query))

    def stream(self, _line, _headers, _body, query):
        """One chunk for each word; the last word says how it ends."""
        *words, end = query.split(",")
        self.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for word in words:
            self.send(f"{len(word) + 1:x}\r\n{word}\n\r\n")
        if end == "silent":
            return self.silent()
        if end == "end":
            self.send("0\r\n\r\n")
        return end == "end"


def listener():
    if sys.argv[1:2] == ["--unix"]:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(sys.argv[2])
        listening.listen()
        print(0, flush=True)
        return listening
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    return listening


def serve(raw, context, number):
    try:
        sock = context.wrap_socket(raw, server_side=True) if context else raw
    except OSError:
        return raw.close()
    try:
        if "--greet" in sys.argv:
            sock.sendall(b"220 mail.example.org ready\r\n")
        Connection(sock, number).serve()
    except OSError:
        pass  # the other side went
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


def main():
    context = None
    if sys.argv[1:2] == ["--tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        if len(sys.argv) > 4:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(sys.argv[4])
    listening = listener()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    number = 0
    while True:
        sock, _ = listening.accept()
        number += 1
        threading.Thread(target=serve, args=(sock, context, number), daemon=True).start()


if __name__ == "__main__":
    main()
