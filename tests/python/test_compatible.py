# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Names, signatures and values of the original's package (flamepy 0.6.0, asked for in its own
environment) and of ours; and programs and services written for it that run here."""

import asyncio
import importlib.util
import json
import pydoc
import re
import subprocess
import sys

import pytest

import flamepy
import flamepy.aio
import flamepy.service
from flamepy import core

from conftest import PATIENCE, ROOT, SERVICES, needs_grpc, wait_until

PAGE = (ROOT / "docs/python.md").read_text()


def described(interpreter):
    done = subprocess.run(
        [interpreter, SERVICES / "describe.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def excused():
    """The first column of the page's table of other signatures."""
    section = PAGE.split("| other signature |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (.*?) \|", section, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_names_and_signatures_are_the_originals_but_for_those_on_the_page(original):
    differences = set(differences_of(described(original), described(sys.executable)))
    excuses = excused()
    assert not {text for text in differences if subject(text) not in excuses}
    assert not excuses - {subject(text) for text in differences}


def subject(difference):
    return difference.partition(":")[0].partition(".")[0]


def differences_of(theirs, ours):
    for module, names in theirs.items():
        for name, wanted in names.items():
            found = ours[module].get(name)
            if found is None:
                yield f"{module}.{name}: missing"
            elif found["kind"] != "later":
                yield from unlike(name, wanted, found)


def unlike(name, wanted, found):
    if wanted["kind"] != found["kind"]:
        yield f"{name}: {wanted['kind']} and {found['kind']}"
    elif wanted["kind"] == "value" and wanted["value"] != found["value"]:
        yield f"{name}: {wanted['value']} and {found['value']}"
    elif wanted["kind"] == "function":
        yield from unlike_calls(name, wanted["parameters"], found["parameters"])
    elif wanted["kind"] == "class":
        yield from unlike_classes(name, wanted, found)


def unlike_classes(name, wanted, found):
    if wanted["exception"] != found["exception"]:
        yield f"{name}: an exception"
    for member, value in wanted.get("members", {}).items():
        if found["members"].get(member) != value:
            yield f"{name}.{member}: {value}"
    if "fields" in wanted and "fields" not in found:
        fields = [[field, "POSITIONAL_OR_KEYWORD", default] for field, default in wanted["fields"]]
        yield from unlike_calls(name, fields, found["methods"]["__init__"])
    elif "fields" in wanted:
        for place, (field, default) in enumerate(wanted["fields"]):
            if found["fields"][place : place + 1] != [[field, default]]:
                yield f"{name}.{field}: place {place}, default {default}"
    for method, parameters in wanted.get("methods", {}).items():
        if method not in found["methods"]:
            yield f"{name}.{method}: missing"
        elif "fields" not in wanted or method != "__init__":
            full = name if method == "__init__" else f"{name}.{method}"
            yield from unlike_calls(full, parameters, found["methods"][method])


def unlike_calls(name, wanted, found):
    """What may be given there may be given here, and means the same where it is left out."""
    for place, (parameter, kind, default) in enumerate(wanted):
        mine = {p[0]: (i, *p[1:]) for i, p in enumerate(found)}.get(parameter)
        if mine is None:
            yield f"{name}: {parameter} is missing"
        elif mine[0] != place or mine[1] != kind:
            yield f"{name}: {parameter} stands elsewhere"
        elif default is not None and mine[2] != default:
            yield f"{name}: {parameter}={default} and {mine[2]}"
    known = {parameter for parameter, _, _ in wanted}
    for parameter, kind, default in found:
        if parameter not in known and default is None and not kind.startswith("VAR_"):
            yield f"{name}: {parameter} must be given"


# ---- what runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shim", [pytest.param("host", marks=needs_grpc), "default"])
def test_a_program_of_the_original_and_its_service_run_unchanged(running_once, shim):
    program = SERVICES / "original_program.py"
    done = running_once.run(sys.executable, program, f"counting-{shim}", shim, timeout=PATIENCE)
    assert (done.code, done.out) == (0, "done\n"), done


def test_the_program_has_no_name_that_the_original_lacks(original):
    """It binds there as it does here: the imports of the program are those of that package."""
    done = subprocess.run(
        [original, "-c", f"import runpy; runpy.run_path('{SERVICES / 'original_program.py'}')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def hosted(connection, program, *arguments, **attributes):
    """A service written for this package, behind the shim of the original."""
    name = f"hosted-{program}-{'-'.join(arguments)}"
    words = [str(SERVICES / f"{program}.py"), *arguments]
    about = {"shim": flamepy.Shim.HOST, "command": sys.executable, "arguments": words}
    connection.register_application(name, about | attributes)
    return connection.create_session(name, common_data=b"common", max_instances=1)


@needs_grpc
def test_our_services_run_behind_the_grpc_shim_too(shared):
    with hosted(shared, "echo") as session:
        assert session.invoke(b"hello") == b"hello" and session.invoke(b"common") == b"common"
        assert session.invoke(b"nothing") == b"" and session.invoke(b"") == b""
        assert session.invoke(b"large:5000000") == b"x" * 5_000_000
        assert session.invoke(b"y" * 5_000_000) == b"y" * 5_000_000
        with pytest.raises(flamepy.TaskError, match="^ValueError: why\n\nTraceback"):
            session.invoke(b"fail:why")
        with pytest.raises(flamepy.TaskError, match="a task's output is bytes or None, not str"):
            session.invoke(b"text")
        with pytest.raises(flamepy.TaskError, match="exit code 7"):
            session.invoke(b"die")
        wait_until(
            lambda: any("last words" in log.text for log in session.logs()), "it is in the log"
        )
    for arguments in ("return", "yield"):
        with hosted(shared, "async_batch", arguments) as session:
            assert list(session.map([b"2", b"12"])) == [b"4", b"144"]
    with hosted(shared, "batch") as session:
        failed = session.run(b"-1").exception(PATIENCE)
        assert str(failed).startswith("-1 is negative")


@needs_grpc
def test_coroutines_behind_the_grpc_shim_share_their_loop(shared):
    with hosted(shared, "coroutines", concurrency=5) as session:
        futures = [session.run(b"meet:5") for _ in range(5)]
        assert [future.result(PATIENCE) for future in futures] == [b"meet:5"] * 5
        with pytest.raises(flamepy.TaskError, match="by itself"):
            session.invoke(b"give-up")
        assert session.invoke(b"still there") == b"still there"


@needs_grpc
def test_a_service_of_one_function_behind_the_grpc_shim(shared, monkeypatch):
    monkeypatch.setattr("flamepy._client._default", shared)
    hosted(shared, "instance", "async").close()
    with flamepy.service.Session("hosted-instance-async", {"who": "Ada"}) as session:
        assert session.invoke("why") == ({"who": "Ada"}, "why")
        assert session.invoke("update") == ("new", "update")
    resources = {"cpu": 1, "memory": "64m", "gpu": 0}
    with flamepy.service.Session("hosted-instance-async", resreq=resources) as session:
        assert session.invoke(1) == (None, 1)


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x0a\x05abc", b"\x80" * 11, b"\x0b", b"\x09abc", b"\x12\x01\xff"]
)
def test_what_is_no_message_is_a_failure_of_the_call(message):
    servicer = core.FlameInstanceServicer(core.FlameService())
    answers = [servicer.OnTaskInvoke(message, None), servicer.OnSessionEnter(message, None)]
    assert all(answer.startswith(b"\x08\xff") for answer in answers), answers


def test_the_server_needs_an_endpoint(monkeypatch):
    monkeypatch.delenv("FLAME_INSTANCE_ENDPOINT", raising=False)
    with pytest.raises(flamepy.FlameError, match="FLAME_INSTANCE_ENDPOINT") as raised:
        core.FlameInstanceServer(core.FlameService()).start()
    assert raised.value.code is flamepy.FlameErrorCode.INVALID_CONFIG


def test_a_service_without_grpcio_says_what_to_do(tmp_path):
    (tmp_path / "grpc.py").write_text("raise ImportError")
    environment = {"FLAME_INSTANCE_ENDPOINT": str(tmp_path / "socket"), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, SERVICES / "echo.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "pip install grpcio" in done.stderr, done


# ---- what comes later, and the address -----------------------------------------------------------


def test_dir_has_the_public_names_and_no_other():
    names = dir(flamepy)
    modules = {"aio", "cache", "core", "errors", "runner", "service", "tools", "util"}
    if importlib.util.find_spec("joblib"):
        modules.add("joblib")
    assert names == sorted(modules | set(flamepy.__all__))
    assert [name for name in names if not hasattr(flamepy, name)] == []
    pydoc.render_doc(flamepy)  # goes through them all


def test_what_comes_later_can_be_imported_and_says_so():
    from flamepy import cache, runner, tools

    uses = [
        lambda: runner.Runner("name"),
        lambda: core.put_object("prefix", 1),
        lambda: flamepy.get_object(None),
        lambda: flamepy.ObjectRef.decode(b""),
        lambda: core.ObjectKey("a"),
        lambda: cache.delete_objects("prefix"),
        lambda: tools.Sandbox.create(tools.SandboxAttr),
    ]
    for use in uses:
        with pytest.raises(flamepy.NotYetError, match="is not there yet: the object cache, Runner"):
            use()
    assert issubclass(flamepy.NotYetError, NotImplementedError)
    assert not isinstance(1, flamepy.ObjectRef) and not hasattr(flamepy.ObjectRef, "__len__")
    with pytest.raises(runner.RunnerError):
        raise runner.RunnerError


@pytest.mark.parametrize(
    ("text", "bytes_of"), [("16g", 16 << 30), ("4KiB", 4096), ("2 mb", 2 << 20), ("7", 7)]
)
def test_resources_from_a_string(text, bytes_of):
    found = flamepy.ResourceRequirement.from_string(f" cpu=2, MEM={text} ,gpu=1")
    assert found == flamepy.ResourceRequirement(2, bytes_of, 1)


@pytest.mark.parametrize(
    "text", ["", "cpu", "cpu=", "disk=1", "mem=16q", "mem=1kk", "cpu=1,,gpu=1"]
)
def test_what_are_no_resources(text):
    with pytest.raises(ValueError, match="one looks like"):
        flamepy.ResourceRequirement.from_string(text)


CONTEXT = """
current-context: {current}
contexts:
  - name: green
    cluster: {{endpoint: "{endpoint}", name: green}}
  - name: other
    cluster: {{endpoint: "tcp://127.0.0.1:1"}}
  - name: here
    cluster: {{endpoint: "{endpoint}"}}
    package: {{storage: "file:///packages", excludes: ["*.log", ".venv"]}}
"""


@pytest.fixture
def context(tmp_path, monkeypatch):
    """Writes ~/.flame/flame.yaml of a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("FLAME_ENDPOINT", "FLAME_CLUSTER", "XDG_STATE_HOME", "FLAME_CA_FILE"):
        monkeypatch.delenv(name, raising=False)

    def write(text):
        (tmp_path / ".flame").mkdir(exist_ok=True)
        (tmp_path / ".flame/flame.yaml").write_text(text)

    return write


def test_the_address_comes_from_the_context_file(running_once, context, monkeypatch):
    endpoint = running_once.env["FLAME_ENDPOINT"]
    context(CONTEXT.format(current="here", endpoint=endpoint))
    with flamepy.connect() as connection:
        assert connection.addr == endpoint
    known = flamepy.FlameContext()
    assert (known.endpoint, known.tls, known.runner.template) == (endpoint, None, "flmrun")
    assert known.package.storage == "file:///packages"
    assert known.package.excludes == [".venv", "__pycache__", ".gitignore", "*.pyc", "*.log"]
    # Before it: the environment, and before that the argument.
    context(CONTEXT.format(current="other", endpoint=endpoint))
    monkeypatch.setenv("FLAME_ENDPOINT", endpoint)
    flamepy.connect().close()
    assert flamepy.FlameContext().endpoint == endpoint
    monkeypatch.setenv("FLAME_ENDPOINT", "tcp://127.0.0.1:1")
    flamepy.connect(endpoint).close()


def test_the_name_of_the_cluster_comes_from_the_context_file(running_once, context, monkeypatch):
    endpoint = running_once.env["FLAME_ENDPOINT"]
    context(CONTEXT.format(current="green", endpoint=endpoint))
    with pytest.raises(flamepy.FlameError, match="cluster 'local', not 'green'"):
        flamepy.connect()

    async def connect():
        await flamepy.aio.connect()

    with pytest.raises(flamepy.FlameError, match="cluster 'local', not 'green'"):
        asyncio.run(connect())
    flamepy.connect(cluster="local").close()
    flamepy.connect(endpoint).close()  # who gives the address did not ask the context
    monkeypatch.setenv("FLAME_CLUSTER", "local")
    flamepy.connect().close()


def test_without_a_context_file_it_is_the_local_cluster(context):
    assert flamepy.FlameContext().endpoint == core.DEFAULT_FLAME_ENDPOINT
    with pytest.raises(flamepy.NoBrokerError, match="7700"):
        flamepy.connect(timeout=0.2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("contexts: []", "names no current-context"),
        ("current-context: here", "has no context 'here'"),
        ("current-context: here\ncontexts: {a: 1}", "contexts that are no list"),
        ("current-context: [", "is no YAML"),
        ("- 1", "is not a map"),
        (CONTEXT.format(current="here", endpoint="http://h:8080"), r"flame.yaml\) is no address"),
        ("current-context: a\ncontexts: [{name: a, cluster: 1}]", "a cluster that is no map"),
        ("current-context: a\ncontexts: [{name: a, cluster: {name: 7}}]", "put it in quotes"),
        ("current-context: a\ncontexts: [{name: a, cluster: {tls: {}}}]", "there is no TLS yet"),
    ],
)
def test_a_context_file_that_is_wrong_is_not_ignored(context, text, why):
    context(text)
    with pytest.raises(flamepy.FlameError, match=why):
        flamepy.connect()


def test_a_context_file_without_pyyaml_is_not_ignored(context, monkeypatch):
    context(CONTEXT.format(current="here", endpoint="tcp://127.0.0.1:1"))
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(flamepy.FlameError, match="pip install pyyaml, or set FLAME_ENDPOINT"):
        flamepy.connect()


@pytest.mark.parametrize(
    "connect", [flamepy.connect, core.connect, flamepy.Connection.connect, flamepy.aio.connect]
)
@pytest.mark.parametrize(
    ("address", "tls"),
    [
        ("tcp://127.0.0.1:1", core.types.FlameClientTls("ca.pem")),
        ("tcp://127.0.0.1:1", core.types.FlameClientTls()),
        (None, core.types.FlameClientTls("ca.pem")),
        ("https://flame.example.com:8080", None),
        ("grpcs://flame.example.com:8080", None),
    ],
)
def test_tls_is_refused_before_anything_is_sent(connect, address, tls):
    with pytest.raises(flamepy.FlameError, match="there is no TLS yet: ") as raised:
        connect(address, tls)
    assert raised.value.code is flamepy.FlameErrorCode.INVALID_ARGUMENT
    assert raised.value.kind is flamepy.Code.UNSUPPORTED


def test_no_tls_is_what_the_original_means_by_none(running_once):
    with flamepy.connect(running_once.env["FLAME_ENDPOINT"], tls_config=None) as connection:
        assert connection.list_executors()
