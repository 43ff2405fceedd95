#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A crawler with asyncio: a task for each page of one site; the links that come back are the next
tasks. Without an address it crawls a site of its own, served on this host.

flmctl up --detach
examples/python/crawler.py [URL]
"""

import asyncio
import contextlib
import html.parser
import http.server
import json
import os
import pathlib
import sys
import threading
import urllib.parse
import urllib.request

import flamepy
import flamepy.aio

PAGES = 100


class Links(html.parser.HTMLParser):
    def __init__(self, url, text):
        super().__init__()
        self.url, self.found = url, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        link = dict(attributes).get("href")
        if tag == "a" and link:
            self.found.append(urllib.parse.urldefrag(urllib.parse.urljoin(self.url, link)).url)


class Fetch(flamepy.FlameService):
    def on_task_invoke(self, task):
        url = task.input.decode()
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode(errors="replace")
        return json.dumps(Links(url, text).found).encode()


async def crawl(start):
    """Each page once; a number of pages, and those that cannot be read."""
    site = urllib.parse.urlsplit(start).netloc
    async with flamepy.aio.connect() as connection:
        service = {"command": sys.executable, "arguments": [str(pathlib.Path(__file__).resolve())]}
        await connection.register_application("crawler-python", service)
        async with connection.create_session("crawler-python") as session:
            pages = {session.run(start.encode()): start}
            seen, broken, waiting = {start}, [], set(pages)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    if future.exception():
                        broken.append(pages[future])
                        continue
                    for link in json.loads(future.result()):
                        if urllib.parse.urlsplit(link).netloc == site and link not in seen:
                            seen.add(link)
                            future = session.run(link.encode())
                            pages[future] = link
                            waiting.add(future)
    print(f"{len(seen) - len(broken)} pages")
    for url in sorted(broken):
        print("cannot be read:", url)


class Site(http.server.BaseHTTPRequestHandler):
    """Page n links to 2n and 2n + 1, one link leads nowhere."""

    def do_GET(self):
        number = int(self.path.strip("/") or 1)
        self.send_response(200 if number <= PAGES else 404)
        self.end_headers()
        links = [i for i in (2 * number, 2 * number + 1) if i <= PAGES + 1]
        self.wfile.write("".join(f'<a href="/{i}">{i}</a>' for i in links).encode())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def own_site():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/1"
        finally:
            server.shutdown()


def main(url=None):
    if url:
        asyncio.run(crawl(url))
        return
    with own_site() as own:
        asyncio.run(crawl(own))


if __name__ == "__main__":
    if "FLAME_INSTANCE_FD" in os.environ:  # an executor started us
        flamepy.run(Fetch())
    else:
        main(*sys.argv[1:])
