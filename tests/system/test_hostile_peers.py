# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Who keeps no rule on our sockets, or none of ours: gets an answer where one can be given, and
harms nobody else. What frames can say is the matter of tests/fuzz; here they come over the real
sockets of real processes."""

import contextlib
import os
import pathlib
import random
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import BIN, PATIENCE, ROOT, alive, wait_until
from zmtp import GREETING, MORE, Peer, connect, frame

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kill"))

from resp import unpack  # noqa: E402
from world import World, free_port  # noqa: E402

MESSAGE_BYTES_MAX = 64 << 20  # and a little
BAD_FRAME, VERSION = 32, 33
PROBE_SECONDS = 2  # less than it takes to wait for one slow connection to end
BOMB = b"\xdd\xff\xff\xff\xff" * 40  # arrays of 4 billion arrays
VECTORS = [
    [bytes.fromhex(line) for line in path.read_text().split()]
    for path in sorted((ROOT / "proto" / "vectors").glob("*.hex"))
]
# (what, frames, the code of the answer as docs/protocol.md has it)
FRAMES = [
    ("nothing", [b""], BAD_FRAME),
    ("no msgpack", [b"\xc1" * 100], BAD_FRAME),
    ("a map", [b"\x80"], BAD_FRAME),
    ("another major version", [b"\x94\x7f\x10\x01\x01"], VERSION),
    ("an unknown type", [b"\x94\x01\xcd\x7f\xff\x01\x01"], BAD_FRAME),
    ("three frames", [b"\x94\x01\x10\x01\x01", b"", b""], BAD_FRAME),
    ("a bomb", [BOMB], BAD_FRAME),
    ("a payload where none belongs", [VECTORS[0][0], b"x"], BAD_FRAME),
    ("a header of a megabyte", [b"\xc6" + b"\0" * (1 << 20)], BAD_FRAME),
]


def ports(cluster):
    first = int(cluster.file["endpoint"].rsplit(":", 1)[1])
    return first, first + 1


def rejected(cluster):
    with urllib.request.urlopen(cluster.file["http"] + "/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines()]
    return sum(int(value) for name, value in lines if name.startswith("flame_messages_rejected"))


def works(cluster):
    done = cluster.run("flmping", "-t", "200", "-o", "json", timeout=60)
    assert done.code == 0 and done.json["succeeded"] == 200, done


@pytest.mark.parametrize("which", [0, 1], ids=["clients", "executors"])
def test_frames_that_are_none_are_answered_counted_and_harm_nobody(running_once, which):
    cluster = running_once
    pids = cluster.file["pids"]
    with Peer(ports(cluster)[which]) as peer:
        for what, frames, code in FRAMES:
            before = rejected(cluster)
            peer.send(*frames)
            _, _, link, sequence, request, answer, text, *_ = unpack(peer.receive()[0])[0]
            assert (link, sequence, request, answer) == (0, 0, 0, code) and text, what
            # On the same connection, and in the numbers within a second.
            wait_until(lambda before=before: rejected(cluster) > before, f"{what} is counted")
        for frames in VECTORS:  # right ones, of nobody, and cut anywhere
            peer.send(*frames)
            for cut in (1, len(frames[0]) // 2, len(frames[0]) - 1):
                peer.send(frames[0][:cut], *frames[1:])
        works(cluster)
    assert cluster.file["pids"] == pids and all(alive(pid) for pid in pids.values())


@pytest.mark.parametrize("which", [0, 1], ids=["clients", "executors"])
def test_bytes_that_are_not_zeromq_and_messages_without_end_harm_nobody(running_once, which):
    cluster = running_once
    pids, port, rng = cluster.file["pids"], ports(cluster)[which], random.Random(which)
    kept = []
    for i in range(40):
        kept.append(connect(port))
        text = rng.randbytes(rng.randrange(1, 3000))
        # Also greetings of older versions, and one that stops in the middle.
        begin = [b"", b"\xff" + b"\0" * 7 + b"\x01\x7f", b"\x01\x00", GREETING[:40]][i % 4]
        try:
            kept[-1].sendall(begin + text)
        except OSError:
            pass  # closed already: as it should be
    with Peer(port) as cut_off, Peer(port) as unfinished:
        unfinished.socket.sendall(frame(b"header", MORE) * 1000)
        head = b"\x02" + (MESSAGE_BYTES_MAX * 4).to_bytes(8, "big")
        with pytest.raises(OSError):  # closed before its 256 MiB are read
            cut_off.socket.sendall(head)
            while True:
                cut_off.socket.sendall(b"\0" * (1 << 20))
        works(cluster)
    for each in kept:
        each.close()
    works(cluster)
    assert cluster.file["pids"] == pids and all(alive(pid) for pid in pids.values())


def test_nonsense_for_http_and_for_the_supervisor_harms_nobody(running_once):
    cluster = running_once
    pids = cluster.file["pids"]
    http = int(cluster.file["http"].rsplit(":", 1)[1])
    for text in (b"\0\xff" * 500, b"GET / HTTP/9.9\r\n\r\n", b"POST /readyz HTTP/1.1\r\n" * 1000):
        with connect(http) as peer:
            peer.sendall(text)
    control = next(cluster.data.glob("*control*"))
    deep = b"[" * 10_000 + b"\n"
    for text in (b"\n", b"{\n", deep, b"\0\xff\n", b'{"verb":7}\n', b"x" * (1 << 20)):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(control))
            try:
                peer.sendall(text)
                peer.settimeout(10)
                assert b"refused" in peer.recv(4096) or len(text) > 100_000, text
            except (BrokenPipeError, ConnectionResetError):
                assert len(text) > 100_000  # longer than any request
    assert cluster.state == "running"
    works(cluster)
    assert cluster.file["pids"] == pids and all(alive(pid) for pid in pids.values())


class Liar:
    """Listens where a broker is looked for, and says `what` to everybody."""

    def __init__(self, what):
        self.port = free_port(random.Random()) + 1  # a broker whose executors' port this is
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.what, self.met = what, []

    def meet(self):
        self.listener.settimeout(20)
        self.met.append(self.listener.accept()[0])
        try:
            self.what(self.met[-1])
        except (OSError, AssertionError):
            pass
        return self.met[-1]

    def leave(self):
        self.listener.close()
        for each in self.met:
            each.close()


def http_answer(to):
    to.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    to.close()


def wrong_frames(to):
    peer = Peer(to, b"ROUTER")
    for frames in [frames for _, frames, _ in FRAMES] + VECTORS:
        peer.send(*frames)
    peer.receive()


def too_large_a_frame(to):
    peer = Peer(to, b"ROUTER")
    to.sendall(b"\x02" + (MESSAGE_BYTES_MAX * 4).to_bytes(8, "big"))
    peer.receive()


def test_slow_http_connections_keep_no_probe_waiting(running):
    """Each says a byte of its request now and then, and never all of it."""
    host, port = running.file["http"].removeprefix("http://").rsplit(":", 1)
    slow = []

    def come(count):
        for _ in range(count):
            slow.append(socket.create_connection((host, int(port)), PATIENCE))
            slow[-1].sendall(b"GET /livez HTTP/1.1\r\nX")

    try:
        come(200)
        for path in ("/livez", "/readyz", "/livez", "/readyz"):
            asked = time.monotonic()
            with urllib.request.urlopen(running.file["http"] + path, timeout=PATIENCE) as answer:
                assert answer.read() == b"ok\n"
            assert time.monotonic() - asked < PROBE_SECONDS, path
            come(20)
        said, ended = time.monotonic(), set()
        while len(ended) < len(slow):
            assert time.monotonic() - said < PATIENCE, f"{len(slow) - len(ended)} are still there"
            for each in select.select([one for one in slow if one not in ended], [], [], 0.2)[0]:
                ended.add(each)
            for each in slow:
                with contextlib.suppress(OSError):
                    each.sendall(b"x")
        come(16)  # at the end nobody waits for them
        pid = running.file["pids"]["broker"]
        assert running.flmctl("down", "--data", running.data).code == 0
        assert not alive(pid)
    finally:
        for each in slow:
            each.close()


def executor_hello(name, slots):
    """An array of 17: envelope, then protocol_minor, cluster, executor, nonce, application, slots,
    address, version, bindings, windows, hand, contexts, provider."""
    envelope = b"\x01\x50\xce" + random.randrange(1, 1 << 31).to_bytes(4, "big") + b"\x01"
    names = b"\0\xa0" + bytes([0xA0 + len(name)]) + name + b"\xa4test\xa0"
    rest = b"\xce" + slots.to_bytes(4, "big") + b"\xa4host\xa41.00" + b"\x90" * 4 + b"\xa0"
    return b"\xdc\0\x11" + envelope + names + rest


def test_one_connection_is_one_executor_and_slots_have_a_bound(running):
    port = ports(running)[1]

    def strangers():
        done = running.flmctl("list", "executor", "-o", "json")
        if done.code != 0:  # with a sanitizer an answer may take too long
            return ["?"]
        return [row["id"] for row in done.json if row["id"].startswith("x")]

    with Peer(port) as peer:
        for i in range(200):
            peer.send(executor_hello(b"x%d" % i, 4096))
        wait_until(lambda: strangers() == ["x199"], "the last one is the only one")
    peers = [Peer(port) for _ in range(80)]
    for i, peer in enumerate(peers):
        peer.send(executor_hello(b"xx%d" % i, 4096))
    wait_until(lambda: len(strangers()) >= 60, "there is room for 63 of them")
    assert len(strangers()) <= 64
    works(running)
    for peer in peers:
        peer.socket.close()
    wait_until(lambda: strangers() == [], "they count as lost")



@pytest.mark.parametrize("world", [{"client": False, "executors": 0}], indirect=True)
@pytest.mark.parametrize("lie", [http_answer, wrong_frames, too_large_a_frame])
def test_who_met_a_liar_finds_the_broker_that_comes_after_it(world, lie):
    """libzmq never connects again after a protocol error on the connecting side."""
    liar = Liar(lie)
    executor = subprocess.Popen(
        [BIN / "flame-executor", "--broker", f"tcp://127.0.0.1:{liar.port}", "--id", "one"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        liar.meet()
        listing = subprocess.run(
            [BIN / "flmctl", "list", "--endpoint", f"tcp://127.0.0.1:{liar.port}"],
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert listing.returncode != 0 and "flmctl: " in listing.stderr, listing
        assert executor.poll() is None
        liar.leave()
        words = world.processes["broker"].argv
        words[words.index("--listen") + 1] = f"127.0.0.1:{liar.port - 1}"
        world.port = liar.port - 1
        world.processes["redis"].start()
        world.wait(world.redis_answers, "redis answers")
        world.processes["broker"].start()
        world.wait(
            lambda: world.metrics().get('flame_executors{state="connected"}') == 1,
            "the executor has found the broker",
        )
    finally:
        executor.terminate()
        executor.wait(20)


@pytest.fixture
def world(request):
    made = World(**{"seed": 1} | request.param)
    yield made
    made.stop()


@pytest.mark.parametrize("world", [{"client": False, "slots": 2}], indirect=True)
def test_silent_connections_without_end_keep_nobody_out(world):
    """More than there are descriptors: libzmq would accept for ever, and nobody be admitted."""
    few = (256, 256)
    world.start()
    resource.prlimit(world.processes["broker"].pid, resource.RLIMIT_NOFILE, few)
    silent = []
    try:
        for _ in range(400):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", world.port))
            silent.append(each)
        world.wait(lambda: world.flmctl("list").returncode == 0, "a client is admitted", 60)
        assert world.processes["broker"].alive()
    finally:
        for each in silent:
            each.close()


def descriptors(pid):
    for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            return [int(word) for word in line.split()[3:5]]
    return None


@pytest.mark.parametrize("world", [{"client": False, "executors": 0}], indirect=True)
def test_a_broker_takes_all_descriptors_that_it_may_have(world):
    """1024 is what a shell gives; ten thousand executors need more."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        world.processes["redis"].start()
        world.wait(world.redis_answers, "redis answers")
        world.processes["broker"].start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    world.wait(lambda: world.http("/readyz")[0] == 200, "the broker is ready")
    assert descriptors(world.processes["broker"].pid) == [hard, hard]


@pytest.mark.parametrize("world", [{"client": False, "slots": 2, "executors": 2}], indirect=True)
def test_an_executor_that_is_stuck_is_found_although_its_connection_answers(world):
    world.start()
    stuck = world.processes["executor-1"]
    connected = 'flame_executors{state="connected"}'
    world.wait(lambda: world.metrics().get(connected) == 2, "both are there")
    os.kill(stuck.pid, signal.SIGSTOP)
    try:
        world.wait(lambda: world.metrics().get(connected) == 1, "it is found", 10)
        assert "executor executor-1 Lost: no beat" in world.processes["broker"].log.read_text()
    finally:
        os.kill(stuck.pid, signal.SIGCONT)
    world.wait(lambda: world.metrics().get(connected) == 2, "it is back", 20)


def resident(pid):
    fields = pathlib.Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


@pytest.mark.parametrize("world", [{"client": False, "slots": 2}], indirect=True)
def test_a_reader_that_does_not_read_does_not_fill_the_broker(world):
    world.start()
    assert world.flmctl("create", "-a", "echo", "--name", "big").returncode == 0
    lines = "\n".join(["x" * (1 << 20)] * 300)
    words = [BIN / "flmctl", "submit", "big", "--endpoint", world.endpoint]
    subprocess.run(words, input=lines, text=True, check=True, capture_output=True, timeout=120)
    assert world.flmctl("wait", "big").returncode == 0
    broker = world.processes["broker"].pid
    before = resident(broker)
    words = [BIN / "flmctl", "results", "big", "--endpoint", world.endpoint]
    readers = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(3)]  # nobody reads
    try:
        for reader in readers:
            assert reader.stdout.read(1)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            world.tend()
            assert world.flmctl("list").returncode == 0
        assert resident(broker) - before < 400 << 20, "three windows of 64 MiB, and their way out"
    finally:
        for reader in readers:
            reader.kill()
            reader.stdout.close()
            reader.wait()


def test_a_tool_ends_although_its_broker_hangs(running):
    broker = running.file["pids"]["broker"]
    os.kill(broker, signal.SIGSTOP)
    try:
        for words in (["flmctl", "list"], ["flmexec", "-c", "true"], ["flmping", "-t", "1"]):
            began = time.monotonic()
            done = running.run(*words, timeout=60)
            assert done.code == 5 and "waiting: No broker at" in done.err, done
            assert time.monotonic() - began < 20
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_until(lambda: running.flmctl("list").code == 0, "the broker answers again")


TOOLS = {"flmping": ["-t", "1000", "-d", "50"], "flmexec": ["-t", "1000", "-c", "sleep 0.05"]}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("signals", [1, 2])
def test_an_interrupted_tool_waits_seconds_for_a_broker_that_hangs(running, tool, signals):
    process = subprocess.Popen(
        [tool, *TOOLS[tool]],
        env=running.env,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    broker = running.file["pids"]["broker"]
    wait_until(lambda: any(s["succeed"] > 0 for s in running.sessions()), "a task is done")
    os.kill(broker, signal.SIGSTOP)
    try:
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline()
        while said and "another signal ends at once" not in said:  # the progress bar comes before
            said = process.stderr.readline()
        assert said, "it ended without a word"
        if signals == 2:
            process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
        took = time.monotonic() - began
    finally:
        os.kill(broker, signal.SIGCONT)
    # Its name, since that is what a person needs to close it.
    (session,) = [row["id"] for row in running.sessions()]
    assert session in said
    if tool == "flmexec" and signals == 2:
        assert process.returncode == -signal.SIGINT, rest
    else:
        assert process.returncode == 130 and f"session {session} is still open" in rest, rest
    assert took < (10 if signals == 1 else 3), f"{took} s"
