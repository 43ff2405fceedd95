# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Services behind the rest shim that are real servers: FastAPI under uvicorn, Node's http, and one
that somebody else runs, with TLS."""

import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess

import pytest

import flamepy

from conftest import ROOT, wait_until

EXAMPLES = ROOT / "examples/services"
PYTHON = "/usr/bin/python3"  # Debian's, which has its FastAPI
JSON = "application/json"


def sums(client, name, program, **rest):
    """The example as an application."""
    interpreter = PYTHON if program.endswith(".py") else "node"
    spec = {
        "shim": "rest",
        "command": interpreter,
        "arguments": [str(EXAMPLES / program)],
        "rest": {"content_type": JSON} | rest,
    }
    client.register_application(name, spec)
    return name


@pytest.mark.parametrize(
    "name, program, rest",
    [
        ("fastapi", "rest_sums.py", {}),
        ("node", "rest_sums.js", {}),
        ("node-port", "rest_sums.js", {"url": "http://127.0.0.1:{port}"}),
        ("node-batch", "rest_sums.js", {"batch": True}),
    ],
)
def test_a_real_server_is_a_service(shared, name, program, rest):
    sums(shared, name, program, **rest)
    with shared.create_session(name, common_data=b"2", max_instances=1) as session:
        futures = [session.run(json.dumps([i, 1]).encode()) for i in range(300)]
        assert [json.loads(f.result()) for f in futures] == [2 * (i + 1) for i in range(300)]
        with pytest.raises(flamepy.TaskError, match="nothing to sum") as failed:
            session.run(b"[]").result()
        assert failed.value.kind is flamepy.Code.TASK_FAILED
        assert json.loads(session.run(b"[1]").result()) == 2
    with shared.create_session(name, max_instances=1) as other:  # entered anew, without a factor
        assert json.loads(other.run(b"[5]").result()) == 5


def test_the_session_enters_with_what_is_no_factor_and_says_why(shared, running_once):
    sums(shared, "fastapi-refusing", "rest_sums.py")
    session = shared.create_session("fastapi-refusing", common_data=b'"many"')
    session.run(b"[1]")
    wait_until(
        lambda: "HTTP 422" in running_once.flmctl("view", "session", session.id).out,
        "the session shows what the service answered",
    )
    session.close()


def test_a_server_that_is_killed_again_and_again_loses_nothing(shared):
    sums(shared, "node-killed", "rest_sums.js")
    shared.update_application("node-killed", max_attempts=20, concurrency=4)
    with shared.create_session("node-killed", max_instances=2) as session:
        futures = [session.run(json.dumps([i]).encode()) for i in range(2000)]
        for share in (1, 2, 3, 4):
            futures[share * 400].result()
            for pid in services(EXAMPLES / "rest_sums.js"):
                os.kill(pid, signal.SIGKILL)
        assert [json.loads(f.result()) for f in futures] == list(range(2000))


def services(program):
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"node") and os.fsencode(program) in words:
            yield int(folder.name)


# ---- one that runs already, behind TLS

SECURE = """
import sys
sys.path.insert(0, sys.argv[1])
import rest_sums, uvicorn
uvicorn.run(rest_sums.app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning",
            ssl_certfile=sys.argv[3], ssl_keyfile=sys.argv[4])
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def secure(tmp_path):
    port = free_port()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    words += " -subj /CN=sums -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    server = subprocess.Popen([PYTHON, "-c", SECURE, EXAMPLES, str(port), cert, key])
    yield f"https://127.0.0.1:{port}", cert
    server.kill()
    server.wait()


def test_a_service_elsewhere_is_believed_by_its_certificate_only(secure, shared, running_once):
    url, cert = secure
    rest = {"url": url, "content_type": JSON}
    shared.register_application("unknown", {"shim": "rest", "rest": rest})
    shared.register_application("known", {"shim": "rest", "rest": rest | {"ca_file": str(cert)}})
    with shared.create_session("known") as session:
        assert json.loads(session.run(b"[1, 2]").result()) == 3
    session = shared.create_session("unknown")
    session.run(b"[1]")
    wait_until(
        lambda: "certificate" in running_once.flmctl("view", "session", session.id).out,
        "the session says that the certificate is not trusted",
    )
    session.close()


def test_the_transcript_of_the_page(tmp_path):
    """What docs/applications.md shows of curl is what the example answers."""
    page = (ROOT / "docs/applications.md").read_text()
    transcript = page.split("```console\n")[1].split("```")[0]
    path = tmp_path / "sums.sock"
    environment = os.environ | {"FLAME_INSTANCE_ENDPOINT": str(path)}
    server = subprocess.Popen([PYTHON, EXAMPLES / "rest_sums.py"], env=environment)
    try:
        wait_until(path.exists, "it listens")
        blocks = transcript.split("$ ")[1:]
        commands = [block.partition("\n") for block in blocks if block.startswith("curl ")]
        assert len(commands) >= 4
        for command, _, expected in commands:
            command = command.replace("/tmp/sums.sock", str(path))
            words = shlex.split(command)
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == expected.strip(), command
    finally:
        server.kill()
        server.wait()
