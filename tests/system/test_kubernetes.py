# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flame-autoscaler --provider kubernetes with a real broker, a real Redis, and real executors as
pods: against an API server that fails on demand (tests/kube/fake_api.py), and the same tests, but
for those of faults that cannot be ordered, against a real control plane (`make test-kube`)."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import BIN, KUBE, PATIENCE, ROOT, wait_until
from control_plane import Refused, kubeconfig
from fake_api import FakeApi
from kubelet import Kubelet, environment
from real_api import RealApi
from wire import Stop, Wire

DEPLOYMENTS = "/deployments/"
MANIFESTS = ROOT / "deploy/kubernetes/flame.yaml"
KUBECTL = shutil.which("kubectl", path=KUBE)
# What a pod finds of its account, laid over this machine's in a namespace of its own.
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
IN_A_POD = """
mount -t tmpfs none /run && mkdir -p "$0" && mount --bind "$1" "$0" && shift && exec "$@"
"""
SOON = ["--idle-after", "2s", "--stabilization", "2s", "--down-cooldown", "1s"]


only_fake = pytest.mark.skipif(bool(KUBE), reason="no real server fails in this way on demand")


class Kube:
    """The cluster, its API server, its pods and its autoscaler."""

    def __init__(self, cluster, folder, api):
        self.cluster, self.folder, self.api = cluster, folder, api
        self.kubelet = self.autoscaler = None
        self.log = folder / "autoscaler.log"
        self.defaults = folder / "pods.yaml"
        self.defaults.write_text("kubernetes: {image: 'flame:1'}\n")
        self.config = folder / "kubeconfig"
        self.token = folder / "token"
        self.token.write_text(api.new_token())
        self.write_config({"tokenFile": "token"}, **api.trusted())
        self.before, self.variables, self.wire, self.tools = [], {}, None, []
        self.clients = int(cluster.file["endpoint"].rsplit(":", 1)[1])  # the broker's port
        self.executors = self.clients + 1

    def in_a_pod(self, account):
        """From now on the autoscaler finds the server as in a pod with this service account."""
        self.config = None
        self.before = ["unshare", "-rm", "sh", "-c", IN_A_POD, ACCOUNT, str(account)]
        host, port = self.api.url.rsplit("/", 1)[1].rsplit(":", 1)
        self.variables = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}

    def write_config(self, user, **cluster):
        config = kubeconfig(self.api.url, user, self.api.namespace, **cluster)
        self.config.write_text(json.dumps(config))

    def admin_config(self):
        """The path of a kubeconfig with every right."""
        config = json.loads(self.config.read_text())
        config["users"][0]["user"] = {"token": "adm1n"}
        path = self.folder / "admin.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def command(self, *flags):
        words = ["flame-autoscaler", "--provider", "kubernetes"]
        words += ["--kubeconfig", self.config] if self.config else []
        words += ["--broker", f"tcp://127.0.0.1:{self.executors}", "--pod-defaults", self.defaults]
        words += ["--endpoint", f"tcp://127.0.0.1:{self.clients}"] if self.wire else []
        return [str(word) for word in (*self.before, *words, *flags)]

    def env(self):
        return self.cluster.env | {"FLAME_REDIS_URL": self.cluster.file["redis"]} | self.variables

    def spawn(self, *flags):
        with self.log.open("a") as log:
            self.autoscaler = subprocess.Popen(self.command(*flags), env=self.env(), stderr=log)

    def kill_at(self, whom, when, *words):
        """Of the autoscaler to the broker or to Redis: it is killed there, once."""
        stop = Stop(self.kill, when, *words)
        if whom == "broker":
            self.wire = Wire(self.clients, stop)
            self.clients = self.wire.port
        else:
            self.wire = Wire(self.cluster.file["redis"].removeprefix("unix://"), stop)
            self.variables["FLAME_REDIS_URL"] = f"redis://127.0.0.1:{self.wire.port}/0"
        return stop

    def kill(self):
        self.autoscaler.kill()
        self.autoscaler.wait()

    def start(self, *flags, kubelet=True, slots=2, most=4):
        if kubelet and not self.kubelet:
            self.kubelet = Kubelet(self.api, BIN, environment())
        self.spawn(*SOON, "--slots", slots, "--max-executors", most, *flags)
        wait_until(lambda: self.row() or self.autoscaler.poll() is not None, "it looks")
        assert self.autoscaler.poll() is None, self.log.read_text()

    def stop(self):
        for what in (self.autoscaler, self.kubelet, *self.tools):
            if isinstance(what, subprocess.Popen):
                what.kill()
                what.wait()
            elif what:
                what.stop()
        if self.wire:
            self.wire.close()

    def row(self, application="flmping"):
        done = self.cluster.flmctl("scale", "-o", "json")
        rows = {row["application"]: row for row in done.json} if done.code == 0 else {}
        return rows.get(application)

    def decisions(self, application="flmping"):
        done = self.cluster.flmctl("scale", "explain", application, "-o", "json")
        assert done.code in (0, 3), done
        return done.json if done.code == 0 else []

    def reasons(self):
        return [decision["reason"] for decision in self.decisions()]

    def holders(self):
        """Executors that have a task."""
        rows = self.cluster.flmctl("list", "executor", "-o", "json").json
        return [row["id"] for row in rows if row["tasks"] > 0]

    def replicas(self):
        found = {}
        for item in self.api.all("deployments"):
            application = item["metadata"].get("annotations", {}).get("flame/application")
            found[application] = item["spec"]["replicas"]
        return found

    def living(self):
        return [
            pod["metadata"]["name"]
            for pod in self.api.all("pods")
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def ping(self, tasks, ms, background=False):
        words = ["flmping", "-t", str(tasks), "-d", str(ms)]
        if not background:
            done = self.cluster.run(*words)
            assert done.code == 0, done
            return done
        return self.in_background(words)

    def shell(self, tasks, script):
        return self.in_background(["flmexec", "-t", str(tasks), "-c", script])

    def in_background(self, words):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.tools.append(subprocess.Popen(words, env=self.cluster.env, **quiet))
        return self.tools[-1]

    def wait_zero(self):
        wait_until(
            lambda: self.replicas().get("flmping") == 0 and not self.api.all("pods"),
            f"back at zero\n{self.log.read_text()[-3000:]}",
            3 * PATIENCE,
        )


@pytest.fixture
def make_kube(request, cluster, tmp_path):
    made = []

    def make(**security):
        """`security` is the fake server's; the real one has it."""
        plane = request.getfixturevalue("control_plane") if KUBE else None
        api = RealApi(plane, MANIFESTS) if KUBE else FakeApi(**security)
        cluster.up("--executors", 0)
        made.append(Kube(cluster, tmp_path, api))
        return made[0]

    yield make
    for kube in made:
        kube.stop()
        kube.api.close()


@pytest.fixture
def kube(make_kube):
    return make_kube()


@pytest.mark.brief
def test_executors_come_as_pods_and_go_to_zero(kube):
    kube.start()
    assert kube.api.all("deployments") == []
    kube.ping(100, 200)
    [deployment] = kube.api.all("deployments")
    name = deployment["metadata"]["name"]
    assert re.fullmatch(r"flame-flmping-[0-9a-f]{6}", name)
    assert deployment["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "flame-autoscaler"
    executors = kube.cluster.flmctl("list", "executor", "-o", "json").json
    assert {e["id"] for e in executors if e["state"] == "Connected"} <= set(kube.kubelet.containers)
    kube.wait_zero()
    session = kube.cluster.sessions()[-1]
    assert (session["succeed"], session["failed"], session["cancelled"]) == (100, 0, 0)
    # One call made it, with all that were wanted, and a strict one.
    [made] = kube.api.calls("PATCH", f"{DEPLOYMENTS}{name}")
    assert "fieldManager=flame-autoscaler" in made[1] and "fieldValidation=Strict" in made[1]
    fields = deployment["metadata"]["managedFields"]
    assert ("flame-autoscaler", "Apply") in [(f["manager"], f["operation"]) for f in fields]
    assert "shrink" in kube.reasons()
    # And again from zero, by the scale alone.
    kube.ping(20, 100)
    assert len(kube.api.calls("PATCH", f"{DEPLOYMENTS}{name}")) == 1
    kube.wait_zero()


def test_a_busy_pod_is_kept_and_the_idle_ones_are_marked(kube):
    kube.start(slots=1)
    long = kube.ping(1, 15000, background=True)
    wait_until(lambda: (kube.row() or {}).get("busy") == 1, "the long task runs")
    [holder] = kube.holders()
    kube.ping(60, 200)
    wait_until(lambda: kube.living() == [holder], "only the busy one is left", 60)
    assert long.poll() is None
    marks = [call for call in kube.api.calls("PATCH", "/pods/flame-[^/]*[?]")]
    assert marks and not [call for call in marks if holder in call[1]]
    assert long.wait(60) == 0, "it was finished"
    kube.wait_zero()
    assert [s["failed"] for s in kube.cluster.sessions()] == [0, 0]


def test_a_pod_that_an_operator_drains_at_work_finishes_first(kube):
    kube.start(slots=1)
    long = kube.ping(1, 5000, background=True)
    wait_until(lambda: (kube.row() or {}).get("busy") == 1, "the task runs")

    def holder():
        rows = kube.cluster.flmctl("list", "executor", "-o", "json").json
        return next((row for row in rows if row["tasks"] > 0 or row["hold"]), None)

    name = holder()["id"]
    assert kube.cluster.flmctl("drain", name).code == 0
    seen = 0
    while long.poll() is None and (row := holder()):
        assert (row["id"], row["hold"]) == (name, "drained"), "nobody took it back"
        seen += row["tasks"]
    assert seen > 1, "it was looked at while the task ran"
    assert long.wait(60) == 0, "nobody removed it before it had finished"
    kube.wait_zero()
    assert [session["failed"] for session in kube.cluster.sessions()] == [0]


@only_fake
def test_conflicts_and_overload_are_waited_for(kube):
    kube.start()
    body = b"Too many requests, please try again later."
    scale = kube.api.fault("GET", "/scale$", times=2, status=500, body=b"{}")
    made = kube.api.fault(
        *("PATCH", DEPLOYMENTS),
        status=429,
        body=body,
        kind="text/plain",
        headers={"Retry_After": "1"},
    )
    stale = {"kind": "Status", "reason": "Conflict", "message": "modified", "code": 409}
    put = kube.api.fault("PUT", "/scale[?]", status=409, body=json.dumps(stale).encode())
    kube.ping(40, 100)
    kube.wait_zero()
    assert made.hits == 1 and scale.hits == 2 and put.hits == 1
    log = kube.log.read_text()
    assert "429: Too many requests" in log and "409 Conflict: modified" in log
    assert "failing" not in kube.reasons(), "what passes is no failed start"


@only_fake
def test_the_time_that_the_server_names_is_waited_for(kube):
    """Of all calls, also where one that was under way ends well meanwhile."""
    kube.start("--no-election")
    wait_until(lambda: len(kube.api.streams) == 2, "it watches")
    refused, seconds = [], 2
    kube.api.fault(
        *("PATCH", DEPLOYMENTS),
        before=lambda: refused.append(time.monotonic()),
        **{"status": 429, "headers": {"Retry_After": str(seconds)}},
    )
    flmping = kube.ping(4, 100, background=True)
    wait_until(lambda: re.search(r"not carried out.*\b429\b", kube.log.read_text()), "it is told")
    for stream in kube.api.streams:
        stream.finish()
    assert flmping.wait(60) == 0
    assert min(at for at in kube.api.times() if at > refused[0]) - refused[0] >= seconds
    kube.wait_zero()


@pytest.mark.parametrize("as_status", [pytest.param(True, marks=only_fake), False])
def test_a_forgotten_past_is_listed_again(kube, as_status):
    if not kube.api.real:
        kube.api.expired_as_status, kube.api.bookmarks = as_status, False
    kube.start()
    lists = len(kube.api.calls("GET", "/pods[?]limit"))
    kube.api.forget()
    wait_until(lambda: len(kube.api.calls("GET", "/pods[?]limit")) > lists, "listed again")
    kube.ping(40, 100)
    kube.wait_zero()


def test_a_stream_that_is_slow_doubled_and_cut_is_resumed(kube):
    if not kube.api.real:
        kube.api.pieces, kube.api.repeat_events = 7, 2
    kube.start()
    flmping = kube.ping(120, 100, background=True)
    cuts = 0
    while flmping.poll() is None:
        wait_until(lambda: kube.api.cut_streams(least=3) or flmping.poll() is not None, "cut")
        cuts += 1
    assert flmping.returncode == 0 and cuts > 2
    watches = [call[1] for call in kube.api.calls("GET", "watch=true")]
    versions = {int(re.search(r"resourceVersion=(\d+)", path)[1]) for path in watches}
    assert len(versions) > 2, "from where it stood"
    lists = [call[1] for call in kube.api.calls("GET", "/pods[?]limit")]
    # A stream that was cut before it said anything may be listed again, as Kubernetes' own do.
    listed = len([path for path in lists if "flame%2Fdeployment" not in path])
    assert listed - 1 <= cuts // 2, "and seldom listed"
    kube.wait_zero()
    session = kube.cluster.sessions()[-1]
    assert (session["succeed"], session["failed"]) == (120, 0)


def test_a_server_that_is_away_freezes_everything(kube):
    kube.start()
    flmping = kube.ping(120, 300, background=True)
    wait_until(lambda: len(kube.kubelet.pids()) == 4, "all are there")
    pids = kube.kubelet.pids()
    kube.api.stop()
    wait_until(lambda: "frozen" in kube.reasons(), "it is said")
    assert flmping.wait(60) == 0, "the executors work on"
    assert kube.kubelet.pids() == pids
    text = next(d["text"] for d in kube.decisions() if d["reason"] == "frozen")
    assert "the API server: " in text and "not reached" in text
    kube.api.start()
    kube.wait_zero()


def test_a_token_that_rotates_is_read_again(kube):
    kube.start()
    first, second = kube.token.read_text(), kube.api.new_token("second")
    kube.token.write_text(second)
    kube.api.revoke_token()
    kube.api.cut_streams()
    kube.ping(20, 100)
    kube.token.write_text(first)
    # A server may know for some seconds more that it was good.
    wait_until(lambda: "credentials are not accepted" in kube.log.read_text(), "it is said")
    kube.api.cut_streams()
    wait_until(lambda: "frozen" in kube.reasons(), "and nothing is done")
    kube.token.write_text(second)
    kube.wait_zero()
    assert first not in kube.log.read_text() and second not in kube.log.read_text()


PLUGIN = """#!/bin/sh
cd "$(dirname "$0")" && echo asked >>calls
printf '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
  "status": {"token": "%s"}}' "$(cat token)"
"""


def test_a_credential_plugin_is_asked_once_and_again_when_it_is_refused(kube):
    plugin, calls = kube.folder / "plugin", kube.folder / "calls"
    plugin.write_text(PLUGIN)
    plugin.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": "./plugin", "interactiveMode": "Never"}}
    kube.write_config(user, **kube.api.trusted())
    kube.start()
    kube.ping(20, 100)
    asked = calls.read_text().count("asked")
    assert asked == 2, "for the election and for the rest"
    kube.token.write_text(kube.api.new_token("second"))
    kube.api.revoke_token()

    def asked_again():
        # A server may know for some seconds more that the first was good, and who only listens to
        # it is not refused.
        kube.api.cut_streams()
        kube.ping(20, 100)
        return calls.read_text().count("asked") >= 2 * asked

    wait_until(asked_again, "asked again")
    kube.wait_zero()
    # Whoever is refused late may take the new credential for the old one.
    assert calls.read_text().count("asked") <= 3 * asked


def project(folder, **files):
    """As the kubelet writes them: all at once, by a link that moves."""
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, text in files.items():
        (version / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").rename(folder / "..data")


def test_in_a_pod_it_uses_the_service_account_and_its_token_rotates(make_kube, tmp_path):
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/run"]).returncode:
        pytest.skip("no namespaces may be made here")
    kube = make_kube(certificate=certificate(tmp_path, "server", *SERVER))
    account = tmp_path / "account"
    account.mkdir()
    trusted = pathlib.Path(kube.api.trusted()["certificate-authority"]).read_text()
    always = {"ca.crt": trusted, "namespace": kube.api.namespace}
    first, second = kube.token.read_text(), kube.api.new_token("second")
    project(account, token=first, **always)
    kube.in_a_pod(account)
    kube.start()
    kube.ping(40, 100)
    assert kube.replicas().keys() == {"flmping"}, "in the pod's own namespace"
    project(account, token=second, **always)
    kube.api.revoke_token()
    kube.api.cut_streams()
    kube.ping(20, 100)
    kube.wait_zero()
    assert "not accepted" not in kube.log.read_text()
    kube.autoscaler.terminate()
    assert kube.autoscaler.wait(PATIENCE) == 0
    (account / "ca.crt").unlink()
    (account / "ca.crt").write_text((tmp_path / "server.key").read_text())
    kube.start("--no-election", kubelet=False)
    wait_until(lambda: "frozen" in kube.reasons(), "a CA that is none freezes")


def test_a_dry_run_changes_nothing_and_says_so(kube):
    kube.start("--dry-run", "--min-executors", 1)
    flmping = kube.ping(40, 1000, background=True)
    try:
        wait_until(lambda: (kube.row() or {}).get("wanted", 0) > 1, "it decides")
        [*_, newest] = kube.decisions()
        assert newest["text"].startswith("(dry run) 40 tasks wait"), newest
        assert (kube.row()["asked"], kube.row()["dry_run"]) == (0, True)
        shown = kube.cluster.flmctl("scale")
        assert shown.code == 0 and "--dry-run: nothing of this is done" in shown.err, shown
        assert kube.api.all("deployments") == kube.api.all("pods") == kube.api.all("leases") == []
        assert {method for method, *_ in kube.api.calls()} == {"GET"}
        before = len(kube.decisions())
        written = kube.row()["updated"]
        wait_until(lambda: kube.row()["updated"] > written + 4000, "rounds go by")
        assert len(kube.decisions()) == before, "what stays undone is written down once"
        # One that acts is not kept from it.
        kube.autoscaler.terminate()
        assert kube.autoscaler.wait(PATIENCE) == 0
        kube.start("--min-executors", 1)
        assert flmping.wait(60) == 0
    finally:
        flmping.kill()
        flmping.wait()
    # Down to the minimum of the cluster, and no further.
    wait_until(lambda: kube.replicas().get("flmping") == 1 and len(kube.living()) == 1, "one", 60)
    wait_until(lambda: (kube.row() or {}).get("reason") == "minimum", "and why")
    assert kube.row()["dry_run"] is False


REFUSED = {
    "{requests: {memory: 2Gi}, limits: {memory: 1Gi}}": ("422 Invalid", "less than or equal"),
    # Not a 4xx, where it is applied; a server that is in trouble is something else.
    "{request: {memory: 1Gi}}": ("500", "resources.request: field not declared in schema"),
}


@pytest.mark.brief
@pytest.mark.parametrize("resources", REFUSED)
def test_what_the_server_refuses_fails_that_application_alone(kube, tmp_path, resources):
    manifest = tmp_path / "bad.yaml"
    manifest.write_text(
        "metadata: {name: bad}\n"
        f"spec: {{shim: shell, command: cat, kubernetes: {{resources: {resources}}}}}\n"
    )
    assert kube.cluster.flmctl("register", "-f", manifest).code == 0
    kube.start()
    created = kube.cluster.flmctl("create", "-a", "bad", "--min-instances", 1)
    assert created.code == 0, created
    wait_until(lambda: "failing" in [d["reason"] for d in kube.decisions("bad")], "given up", 60)
    [failing, *_] = [d for d in kube.decisions("bad") if d["reason"] == "failing"]
    assert all(words in failing["text"] for words in REFUSED[resources]), failing
    tries = len(kube.api.calls("PATCH", "flame-bad"))
    assert tries == 3
    kube.ping(20, 100)
    kube.wait_zero()


def test_pods_that_do_not_start_say_why(kube):
    kube.start(kubelet=False)
    kube.kubelet = Kubelet(kube.api, BIN, environment())
    kube.kubelet.broken = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    flmping = kube.ping(4, 100, background=True)
    wait_until(lambda: "failing" in kube.reasons(), "given up", 60)
    text = next(d["text"] for d in kube.decisions() if d["reason"] == "failing")
    assert "ImagePullBackOff: no such image" in text
    kube.kubelet.broken = None
    assert flmping.wait(90) == 0, "tried again after the wait"
    kube.wait_zero()


def test_what_is_not_ours_is_not_touched(kube):
    other = {
        **{"apiVersion": "apps/v1", "kind": "Deployment"},
        "metadata": {"name": "flame-flmping-90571e", "labels": {"app": "x"}},
        "spec": {
            **{"replicas": 0, "selector": {"matchLabels": {"app": "x"}}},
            "template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {"containers": [{"name": "c", "image": "x"}]},
            },
        },
    }
    kube.api.create("deployments", other)
    [before] = kube.api.all("deployments")
    kube.start()
    flmping = kube.ping(4, 100, background=True)
    wait_until(lambda: "failing" in kube.reasons(), "refused", 60)
    text = next(d["text"] for d in kube.decisions() if d["reason"] == "failing")
    assert "not this autoscaler's" in text
    [after] = kube.api.all("deployments")
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], {"app": "x"})
    kube.api.delete("deployments", "flame-flmping-90571e")
    assert flmping.wait(90) == 0
    kube.wait_zero()


def test_what_the_page_shows_is_taken(kube, tmp_path):
    """docs/kubernetes.md: its defaults for pods and its application."""
    page = (ROOT / "docs/kubernetes.md").read_text()
    defaults, manifest = re.findall(r"```yaml\n(.*?)```", page, re.S)[:2]
    kube.defaults.write_text(defaults)
    (tmp_path / "pi.yaml").write_text(manifest)
    assert kube.cluster.flmctl("register", "-f", tmp_path / "pi.yaml").code == 0
    kube.start("--limits", "pi=1:1", kubelet=False)
    wait_until(lambda: kube.replicas().get("pi") == 1, "its Deployment")
    [deployment] = kube.api.all("deployments")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "workers"}
    [container] = pod["containers"]
    assert container["image"] == "registry.example.org/pi:7"
    assert container["resources"] == {"requests": {"cpu": "4"}}
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in container["env"]


def test_the_deployment_of_an_unregistered_application_goes(kube, tmp_path):
    manifest = tmp_path / "app.yaml"
    manifest.write_text(
        "metadata: {name: App.1}\n"
        "spec: {shim: shell, command: cat, image: 'mine:2', kubernetes: {slots: 5}}\n"
    )
    assert kube.cluster.flmctl("register", "-f", manifest).code == 0
    kube.start("--limits", "App.1=1:2")
    wait_until(lambda: kube.replicas().get("App.1") == 1, "one by its minimum")
    wait_until(lambda: (kube.row("App.1") or {}).get("registered") == 1, "it registered")
    [executor] = kube.cluster.flmctl("list", "executor", "-o", "json").json
    assert executor["slots"] == 5 and executor["application"] == "App.1"
    [pod] = kube.api.all("pods")
    assert pod["spec"]["containers"][0]["image"] == "mine:2"
    assert kube.cluster.flmctl("unregister", "App.1").code == 0
    wait_until(lambda: kube.api.all("deployments") == [], "it is removed", 60)
    # Where the controller wrote in between it is refused and decided again.
    assert kube.api.calls("DELETE", DEPLOYMENTS)


def test_an_autoscaler_that_was_killed_goes_on(kube):
    kube.start()
    flmping = kube.ping(120, 300, background=True)
    wait_until(lambda: len(kube.kubelet.pids()) == 4, "all are there")
    pids = kube.kubelet.pids()
    kube.kill()
    kube.start()
    assert flmping.wait(60) == 0
    assert kube.kubelet.pids().items() <= pids.items(), "none was started twice"
    kube.wait_zero()


READS = {
    "look for the Deployment": ("GET", "/deployments/flame-flmexec-[^/]*$"),
    "list what may go": ("GET", "/pods[?]limit.*deployment%3D"),
    "read the scale": ("GET", "/scale$"),
}
WRITES = {
    "apply the Deployment": ("PATCH", "/deployments/flame-flmexec-"),
    "mark a pod": ("PATCH", "/pods/flame-flmexec-[^/]*$"),  # not the kubelet's /status
    "set the scale": ("PUT", "/scale[?]"),
    "remove the Deployment": ("DELETE", "/deployments/flame-flmexec-"),
}
# Not done, or done and not answered.
POINTS = [(name, "before") for name in READS | WRITES] + [(name, "after") for name in WRITES]


@only_fake
@pytest.mark.parametrize("point, when", POINTS)
def test_killed_at_any_call_the_next_one_goes_on(kube, point, when):
    not_done = {"status": 503} if when == "before" else {}
    fault = kube.api.fault(*(READS | WRITES)[point], **{when: kube.kill}, **not_done)
    go_on_after_the_kill(kube, fault)


def go_on_after_the_kill(kube, place):
    """From none to three pods, to the one that is at work, to none, until the application is no
    longer registered."""
    soon = ["--idle-after", "1s", "--stabilization", "1s", "--down-cooldown", "500ms"]
    flags = (*soon, "--no-election", "--prior-run", "60s")
    end = kube.folder / "end"
    long = kube.shell(1, f"until [ -e {end} ]; do sleep 0.05; done")
    short = kube.shell(2, "sleep 0.5")
    wait_until(lambda: sum(s["pending"] for s in kube.cluster.sessions()) == 3, "all wait")
    kube.kubelet = Kubelet(kube.api, BIN, environment())
    kube.spawn(*flags)
    until = patient_with(kube, place, *flags)
    until(lambda: short.poll() is not None, "the short ones")
    [holder] = kube.holders()
    until(lambda: kube.living() == [holder], "the idle ones go")
    end.touch()
    until(lambda: long.poll() is not None, "the long one")
    assert (short.returncode, long.returncode) == (0, 0)
    until(lambda: not kube.api.all("pods"), "none is left")
    assert kube.cluster.flmctl("unregister", "flmexec").code == 0
    until(lambda: not kube.api.all("deployments"), "nor what made them")
    assert place.hits == 1, "it was killed there"
    events = [event[1:3] for event in kube.api.store.events]
    assert events.count(("pods", "ADDED")) == 3, "each was made once"
    for session in kube.cluster.sessions():
        tasks = kube.cluster.flmctl("list", "task", session["id"], "-o", "json").json
        assert {task["state"] for task in tasks} == {"Succeed"}
        view = kube.cluster.flmctl("view", session["id"], "-o", "json").json
        assert "was lost" not in json.dumps(view["events"]), "none was stopped at work"


def patient_with(kube, place, *flags):
    """Waits, and starts the autoscaler again once it was killed in its place."""

    def until(condition, what):
        def look():
            if kube.autoscaler.poll() is not None and place.hits:
                kube.spawn(*flags)
            return condition()

        return wait_until(look, f"{what}\n{kube.log.read_text()[-3000:]}", 60)

    return until


def decision(reason):
    """A field of an entry of flame:decisions, as it is sent."""
    return rb"XADD\r\n.*\r\nreason\r\n\$\d+\r\n" + reason + rb"\r\n"


# As MessagePack: fields, version, kind of message; an executor, and what it is told.
VICTIMS = rb"\x99\x01\x29"
REST = rb"\x97\x01\x25.{4,24}flame-nap-[0-9a-z-]{12}\x03"
UNCORDON = rb"\x97\x01\x25.{4,24}flame-nap-[0-9a-z-]{12}\x00"
WORDS = {
    "read the figures": ("redis", decision(b"grow"), rb"HGETALL\r\n"),
    "write down that more are asked for": ("redis", decision(b"grow")),
    "write down that some are let go": ("redis", decision(b"shrink")),
    "ask for victims": ("broker", VICTIMS),
}


PLACES = [(name, when) for name in WORDS for when in ("before", "after")]
PLACES.remove(("read the figures", "after"))  # that it was answered changes nothing


@only_fake
@pytest.mark.parametrize("point, when", PLACES)
def test_killed_at_any_word_to_the_broker_and_to_redis_the_next_one_goes_on(kube, point, when):
    whom, *words = WORDS[point]
    go_on_after_the_kill(kube, kube.kill_at(whom, when, *words))


@only_fake
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("words, seconds", [(REST, 0.3), (UNCORDON, 8)], ids=["rest", "uncordon"])
def test_killed_while_one_is_told_to_rest_or_to_go_on(kube, tmp_path, words, seconds, when):
    """Two pods, each with a session that always works: one of them rests. Then, before it has done
    a long task, there is work for both again."""
    manifest = tmp_path / "nap.yaml"
    manifest.write_text(
        "metadata: {name: nap}\n"
        f"spec: {{shim: shell, command: sleep, arguments: ['{seconds}']}}\n"
    )
    assert kube.cluster.flmctl("register", "-f", manifest).code == 0
    soon = ["--idle-after", "1s", "--stabilization", "1s", "--down-cooldown", "500ms"]
    flags = (*soon, "--no-election", "--slots", "2", "--max-executors", "2")
    kube.kubelet = Kubelet(kube.api, BIN, environment())
    place = kube.kill_at("broker", when, words)
    kube.spawn(*flags)
    until = patient_with(kube, place, *flags)

    def executors():
        return kube.cluster.flmctl("list", "executor", "-o", "json").json

    def at_work():
        return [e["sessions"] for e in executors() if e["sessions"] and not e["hold"]]

    def session():
        name = kube.cluster.flmctl("create", "-a", "nap", "--max-instances", 1).out.strip()
        assert kube.cluster.flmctl("submit", name, *["x"] * 1000).code == 0
        return name

    sessions = [session() for _ in range(3)]
    until(lambda: sorted(map(len, at_work())) == [1, 2], "three on two")
    ended, _ = next(names for names in at_work() if len(names) == 2)
    assert kube.cluster.flmctl("close", ended).code == 0
    sessions.remove(ended)

    def held():
        return [e["id"] for e in executors() if e["hold"] and e["state"] == "Connected"]

    def goes():
        """One rests, is drained, or is gone already."""
        return held() or len(kube.living()) == 1

    until(goes, "fewer do")
    sessions.append(session())
    until(lambda: sorted(map(len, at_work())) == [1, 2], "both are wanted, and at work")
    until(lambda: place.hits == 1, "it was killed there")
    until(lambda: not held(), "and nobody is kept from it")
    for name in sessions:
        view = kube.cluster.flmctl("view", name, "-o", "json").json
        assert "was lost" not in json.dumps(view["events"]), "none was stopped at work"
        assert kube.cluster.flmctl("close", name).code == 0
    until(lambda: not kube.api.all("pods"), "none is left")
    assert [s["failed"] for s in kube.cluster.sessions()] == [0] * 4


@only_fake
def test_slow_and_cut_answers_are_asked_for_again(kube):
    kube.start()
    held = threading.Event()
    cut = [
        kube.api.fault("GET", "/deployments/flame-flmping-[^/]*$", close=True),
        kube.api.fault("PUT", "/scale[?]", after=lambda: None),
        kube.api.fault("GET", "/pods[?]limit.*deployment%3D", status=200, body=b'{"items": [{'),
    ]
    slow = kube.api.fault("PATCH", DEPLOYMENTS, wait=held)
    try:
        flmping = kube.ping(40, 200, background=True)
        wait_until(lambda: "no answer in time" in kube.log.read_text(), "its patience ends")
    finally:
        held.set()  # done after all, when nobody waits for it any more
    assert flmping.wait(60) == 0
    kube.wait_zero()
    assert slow.hits == 1 and [fault.hits for fault in cut] == [1, 1, 1]
    assert "failing" not in kube.reasons(), "what passes is no failed start"


@only_fake
def test_a_list_whose_pages_have_expired_is_begun_again(kube):
    flags = {"kubelet": False, "slots": 1, "most": 250}
    kube.start("--no-election", "--prior-run", "60s", **flags)
    flmping = kube.ping(250, 60000, background=True)
    try:
        wait_until(lambda: kube.replicas().get("flmping") == 250, "three pages of pods")
        kube.kill()
        gone = {"kind": "Status", "reason": "Expired", "message": "too old", "code": 410}
        body = json.dumps(gone).encode()
        expired = kube.api.fault("GET", "/pods[?].*continue=", status=410, body=body)
        before = len(kube.api.calls("GET", "/pods[?]limit"))
        kube.start("--no-election", "--prior-run", "60s", **flags)

        def pages():
            calls = kube.api.calls("GET", "/pods[?]limit")[before:]
            return ["continue=" in call[1] for call in calls]

        wait_until(lambda: pages() == [False, True, False, True, True], "begun again")
        written = kube.row()["updated"]
        wait_until(lambda: kube.row()["updated"] > written, "it decides")
        assert expired.hits == 1 and kube.row()["asked"] == 250, "all of them are counted"
        assert kube.replicas()["flmping"] == 250
    finally:
        flmping.kill()
        flmping.wait()


@only_fake
@pytest.mark.parametrize("work_returns", [False, True], ids=["finished", "undone"])
def test_a_drain_that_was_begun_is_finished_or_undone(kube, work_returns):
    """Killed when the broker has drained the idle pods and nobody has lowered the scale."""

    def drained():
        rows = kube.cluster.flmctl("list", "executor", "-o", "json").json
        assert all(row["tasks"] == 0 for row in rows if row["hold"])
        return {row["id"] for row in rows if row["hold"] == "drained"}

    kube.start("--no-election")
    kube.ping(80, 200)
    kube.api.fault("GET", r"/scale$", before=kube.autoscaler.kill, status=503)
    wait_until(lambda: kube.autoscaler.poll() is not None, "killed between two calls", 60)
    pods = set(kube.living())
    assert drained() and drained() <= pods
    all_drained = drained() == pods  # on a slow machine one was busy still
    if work_returns:
        flmping = kube.ping(40, 200, background=True)
        if all_drained:
            wait_until(lambda: kube.cluster.sessions()[-1]["pending"] == 40, "they take nothing")
    kube.start("--no-election")
    if work_returns:
        assert flmping.wait(60) == 0
        texts = [decision["text"] for decision in kube.decisions()]
        back = any("taken back from leaving: flame-" in text for text in texts)
        assert back or not all_drained, texts
        assert set(kube.living()) <= pods, "nothing was started for it"
    kube.wait_zero()
    assert [session["failed"] for session in kube.cluster.sessions()] == [0] * (1 + work_returns)


def test_a_pod_that_is_killed_loses_nothing(kube):
    kube.start()
    flmping = kube.ping(80, 200, background=True)
    wait_until(lambda: len(kube.kubelet.pids()) == 4, "all are there")
    wait_until(lambda: kube.row()["busy"] >= 6, "they work")
    os.kill(next(iter(kube.kubelet.pids().values())), 9)
    assert flmping.wait(60) == 0
    session = kube.cluster.sessions()[-1]
    assert (session["succeed"], session["failed"]) == (80, 0)
    assert "was lost" in kube.cluster.flmctl("view", session["id"]).out, "and it is visible"
    kube.wait_zero()


@pytest.mark.brief
def test_whatever_is_killed_every_task_is_done(kube):
    """The autoscaler, the API server, a pod's process, a pod; tasks are counted one by one."""
    kube.start()
    flmping = kube.ping(400, 200, background=True)
    wait_until(lambda: len(kube.kubelet.pids()) == 4, "all are there")
    wait_until(lambda: kube.row()["busy"] >= 6, "they work")
    kube.kill()
    before = kube.kubelet.pids()
    [victim, other, *_] = before
    os.kill(before[victim], 9)
    kube.api.stop()
    kube.start()
    wait_until(lambda: "stands by" in kube.log.read_text(), "the new one cannot know who acts")
    kube.api.start()
    wait_until(lambda: kube.kubelet.pids().get(victim, before[victim]) != before[victim], "back")
    kube.api.delete("pods", other, gracePeriodSeconds=0)
    wait_until(lambda: len(kube.kubelet.pids().keys() - {other}) == 4, "another one for it")
    assert flmping.wait(90) == 0
    session = kube.cluster.sessions()[-1]
    listed = kube.cluster.flmctl("list", "task", session["id"], "-o", "json").json
    assert {task["id"]: task["state"] for task in listed} == dict.fromkeys(range(1, 401), "Succeed")
    assert (session["succeed"], session["failed"]) == (400, 0)
    kube.wait_zero()


def test_five_hundred_are_a_handful_of_calls(kube):
    """Nobody plays the pods: it is about what is asked of the server."""
    kube.start("--prior-run", "60s", kubelet=False, slots=1, most=500)
    flmping = kube.ping(1000, 60000, background=True)
    try:
        wait_until(lambda: kube.replicas().get("flmping") == 500, "all are asked for")
        assert len(kube.api.calls("PATCH")) + len(kube.api.calls("PUT")) <= 2
        wait_until(lambda: kube.row()["asked"] == 500, "and counted once")
        assert kube.replicas()["flmping"] == 500
    finally:
        flmping.kill()
        flmping.wait()


SERVER = ("/CN=api", "subjectAltName=IP:127.0.0.1")


def certificate(folder, name, subject, *extensions):
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-nodes", "-days", "2", "-subj", subject, "-keyout", f"{folder}/{name}.key"]
    for extension in extensions:
        words += ["-addext", extension]
    subprocess.run([*words, "-out", f"{folder}/{name}.crt"], check=True, capture_output=True)
    return str(folder / f"{name}.crt"), str(folder / f"{name}.key")


def test_certificates_both_ways(make_kube, tmp_path):
    server = certificate(tmp_path, "server", *SERVER)
    client = certificate(tmp_path, "client", "/CN=autoscaler")
    certificate(tmp_path, "other", "/CN=other")
    kube = make_kube(certificate=server, client_ca=client[0])
    if kube.api.real:
        kube.api.client_certificate(tmp_path)
    user = {"client-certificate": "client.crt", "client-key": "client.key"}
    kube.write_config(user, **{"certificate-authority": "other.crt"})
    kube.start("--no-election", kubelet=False)
    assert kube.api.all("deployments") == []
    wait_until(lambda: "certificate is not trusted" in kube.log.read_text(), "the wrong CA")
    wait_until(lambda: "frozen" in kube.reasons(), "nothing is done")
    kube.kill()
    kube.log.write_text("")
    kube.spawn()
    wait_until(
        lambda: re.search("stands by.*certificate is not trusted", kube.log.read_text()),
        "who cannot know that nobody else acts does nothing",
    )
    kube.kill()
    kube.write_config(user, **kube.api.trusted())
    kube.start("--limits", "flmping=1:1", kubelet=False)
    wait_until(lambda: kube.replicas().get("flmping") == 1, "the right one")


AUTHORITY = """
[ca]
default_ca = c
[c]
database = index.txt
serial = serial
new_certs_dir = .
policy = p
default_md = sha256
x509_extensions = e
[p]
commonName = supplied
[e]
subjectAltName = IP:127.0.0.1
"""


def expired(folder, name, subject, *signing):
    """A certificate of the past; `signing` by whom, else by itself."""
    (folder / "authority").write_text(AUTHORITY)
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01\n")
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    past = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    signing = signing or ["-selfsign", "-keyfile", f"{name}.key"]
    for command in (
        ["req", "-new", *words, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr"],
        ["ca", "-batch", "-config", "authority", "-in", f"{name}.csr", *past, *signing]
        + ["-notext", "-out", f"{name}.crt"],
    ):
        subprocess.run(["openssl", *map(str, command)], cwd=folder, check=True, capture_output=True)
    return str(folder / f"{name}.crt"), str(folder / f"{name}.key")


@only_fake
def test_an_expired_certificate_of_the_server_is_named(make_kube, tmp_path):
    kube = make_kube(certificate=expired(tmp_path, "server", "/CN=api"))
    kube.start("--no-election", kubelet=False)
    wait_until(lambda: "frozen" in kube.reasons(), "nothing is done")
    text = next(d["text"] for d in kube.decisions() if d["reason"] == "frozen")
    assert "the server's certificate is not trusted" in text and "not expired?" in text
    assert kube.api.calls() == []


@pytest.mark.skipif(not KUBE, reason="the fake server breaks the connection in the place of a 401")
def test_an_expired_certificate_of_ours_is_named(kube, tmp_path):
    by = kube.api.plane.authority
    expired(tmp_path, "client", "/CN=autoscaler", "-cert", by.certificate, "-keyfile", by.key)
    user = {"client-certificate": "client.crt", "client-key": "client.key"}
    kube.write_config(user, **kube.api.trusted())
    kube.start("--no-election", kubelet=False)
    wait_until(lambda: "frozen" in kube.reasons(), "nothing is done")
    text = next(d["text"] for d in kube.decisions() if d["reason"] == "frozen")
    assert "expired" in text, text


def holder(kube):
    [lease] = kube.api.all("leases") or [{"spec": {"holderIdentity": ""}}]
    return lease["spec"]["holderIdentity"]


BY_A_SIGNAL = pytest.param(signal.SIGTERM, marks=pytest.mark.brief)


@pytest.mark.parametrize("how", [BY_A_SIGNAL, signal.SIGKILL])
def test_of_two_only_one_acts_and_the_other_takes_over(kube, how):
    kube.start()
    first = holder(kube)
    assert first
    second = subprocess.Popen(
        kube.command(*SOON, "--slots", "2", "--max-executors", "4"),
        env=kube.env(),
        stderr=(kube.folder / "second.log").open("w"),
    )
    try:
        log = kube.folder / "second.log"
        wait_until(lambda: "stands by" in log.read_text(), "it sees that another one acts")
        flmping = kube.ping(200, 300, background=True)
        wait_until(lambda: len(kube.kubelet.pids()) == 4, "all are there")
        pids = kube.kubelet.pids()
        assert holder(kube) == first and len(kube.api.calls("PATCH", DEPLOYMENTS)) == 1
        kube.autoscaler.send_signal(how)
        kube.autoscaler.wait(PATIENCE)
        if how == signal.SIGTERM:
            assert holder(kube) == "", "given back"
        wait_until(lambda: holder(kube) not in ("", first), "the other one has it", 2 * PATIENCE)
        wait_until(lambda: "this autoscaler acts" in log.read_text(), "and says so")
        assert flmping.wait(90) == 0
        assert kube.kubelet.pids().items() <= pids.items(), "none was started twice"
        kube.wait_zero()
    finally:
        second.kill()
        second.wait()


def taken_first(requests):
    """Nothing of a Deployment was written before the lease was written for the last time."""
    kinds = [call[0] + (" lease" if "leases" in call[1] else "") for call in requests]
    last = len(kinds) - 1 - kinds[::-1].index("PUT lease")
    return "PATCH" not in kinds[:last]


def take_lease(kube, identity):
    """False where it was renewed in between."""
    [lease] = kube.api.all("leases")
    lease["spec"]["holderIdentity"] = identity
    try:
        return kube.api.update("leases", lease)
    except Refused as refused:
        assert refused.code == 409
        return False


def test_one_that_loses_its_lease_does_nothing_more(kube):
    kube.start()
    wait_until(lambda: holder(kube), "it holds the lease")
    wait_until(lambda: take_lease(kube, "another"), "it is taken")
    wait_until(lambda: "another acts" in kube.log.read_text(), "it noticed")
    flmping = kube.ping(20, 100, background=True)
    # What the other one does not renew is taken again; until then nothing was done.
    wait_until(lambda: holder(kube) != "another", "the other one is gone", 2 * PATIENCE)
    assert taken_first(kube.api.calls())
    assert flmping.wait(60) == 0
    kube.wait_zero()


@pytest.mark.skipif(not KUBECTL, reason="no kubectl here: nobody else looks")
def test_kubectl_sees_the_same_and_may_interfere(make_kube, tmp_path):
    """A second client, so that the fake server is not our own opinion only. It sends no token
    without TLS."""
    server = certificate(tmp_path, "server", *SERVER)
    follow_with_kubectl(make_kube(certificate=server))


def follow_with_kubectl(kube):
    kube.start("--prior-run", "60s", slots=1)
    kubectl = [KUBECTL, "--kubeconfig", kube.admin_config(), "-n", kube.api.namespace]
    long = kube.ping(2, 8000, background=True)
    wait_until(lambda: len(kube.kubelet.pids()) == 2, "two pods")
    shown = kube.cluster.run(*kubectl, "get", "deployments,pods", "-o", "json")
    assert shown.code == 0, shown
    kinds = [item["kind"] for item in shown.json["items"]]
    assert sorted(kinds) == ["Deployment", "Pod", "Pod"]
    names = kube.cluster.run(*kubectl, "get", "pods", "-o", "name").out.split()
    assert {name.removeprefix("pod/") for name in names} == set(kube.kubelet.pids())
    [name] = [d["metadata"]["name"] for d in kube.api.all("deployments")]
    done = kube.cluster.run(*kubectl, "scale", f"deployment/{name}", "--replicas", 3)
    assert done.code == 0, done
    assert kube.replicas()["flmping"] == 3
    wait_until(lambda: kube.replicas()["flmping"] == 2, "the idle one goes again")
    assert long.poll() is None and long.wait(60) == 0
    kube.wait_zero()


@only_fake
def test_mistakes_are_said_at_the_start(kube):
    def refusal(*flags, **env):
        done = kube.cluster.run(*kube.command(*flags), **kube.env(), **env)
        assert done.code == 2, done
        return done.err

    assert "the context 'x' is not in `contexts`, which has 'test'" in refusal("--context", "x")
    assert "is no name of a namespace" in refusal("--namespace", "No_Name")
    assert "--instance has 1-40" in refusal("--instance", "")
    kube.defaults.write_text("kubernetes: {imag: x}\n")
    assert "did you mean image?" in refusal()
    kube.config.write_text("[1")
    kube.defaults.write_text("kubernetes: {image: x}\n")
    assert "this is no YAML" in refusal()
    kube.config.unlink()
    assert "name one with --kubeconfig" in refusal()
    kube.config = None
    host = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert "set automountServiceAccountToken" in refusal(**host)
    done = kube.cluster.run("flame-autoscaler", "--provider", "kubernetes", **kube.env())
    assert done.code == 2 and "--broker is missing" in done.err
    done = kube.cluster.run("flame-autoscaler", "--provider", "docker", **kube.env())
    assert done.code == 2 and "local or kubernetes" in done.err


def test_a_role_without_rights_is_named(kube):
    kube.api.forbid("patch", "deployments")
    kube.start()
    flmping = kube.ping(4, 100, background=True)
    wait_until(lambda: "failing" in kube.reasons(), "refused", 60)
    text = next(d["text"] for d in kube.decisions() if d["reason"] == "failing")
    assert "403 Forbidden" in text and "docs/kubernetes.md" in text
    kube.api.allow_all()
    assert flmping.wait(90) == 0
    kube.wait_zero()
