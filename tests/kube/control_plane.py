# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A real Kubernetes control plane in a folder, on free ports of the loopback: etcd, kube-apiserver
and kube-controller-manager as `tools/kube` built them. TLS, tokens and RBAC are on, every
controller and admission plugin that is on by default, too. There is one node, "here", which is
always ready; its kubelet is tests/kube/kubelet.py."""

import contextlib
import datetime
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

TOKENS = """adm1n,admin,1,system:masters
c0ntroller,system:kube-controller-manager,2
kub3let,kubelet,3
"""
# Only what service accounts ask for: the autoscalers'.
AUDIT = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
  - {level: Metadata, userGroups: ["system:serviceaccounts"]}
  - {level: None}
"""
# Scheduler and kubelet in one.
KUBELET_ROLE = {
    **{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"},
    "metadata": {"name": "kubelet"},
    "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "delete"]},
        {"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
    ],
}
KUBELET_BINDING = {
    **{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"},
    "metadata": {"name": "kubelet"},
    "roleRef": {
        **{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubelet"}
    },
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kubelet"}],
}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"}}
START_SECONDS = 120


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        self.status = text if isinstance(text, dict) else {"message": text}


class Client:
    """Calls to an API server, real or not, over one connection: for one thread."""

    def __init__(self, url, token, certificate=None):
        place = urllib.parse.urlsplit(url)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        if place.scheme == "https":
            trusted = ssl.create_default_context(cafile=certificate)
            self.connection = http.client.HTTPSConnection(place.netloc, timeout=10, context=trusted)
        else:
            self.connection = http.client.HTTPConnection(place.netloc, timeout=10)

    def call(self, method, path, body=None, kind="application/json"):
        """A lost connection raises OSError or http.client.HTTPException; the next call connects."""
        data = None if body is None else json.dumps(body)
        headers = self.headers | ({} if body is None else {"Content-Type": kind})
        try:
            self.connection.request(method, path, data, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        if answer.status // 100 != 2:
            raise Refused(answer.status, text.decode(errors="replace"))
        is_json = answer.headers.get_content_type() == "application/json"
        return json.loads(text) if is_json else text.decode()


def kubeconfig(url, user, namespace="default", **cluster):
    context = {"cluster": "c", "user": "u", "namespace": namespace}
    return {
        **{"apiVersion": "v1", "kind": "Config", "current-context": "test"},
        "contexts": [{"name": "test", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": url} | cluster}],
        "users": [{"name": "u", "user": user}],
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def flags_of(options):
    return [f"--{name}={value}" for name, value in options.items()]


class Authority:
    """Certificates: of the server, and of clients that have none by token."""

    def __init__(self, folder):
        self.folder = folder
        self.certificate, self.key = folder / "ca.crt", folder / "ca.key"
        words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl(
            *("req", "-x509", *words, "-days", 2, "-subj", "/CN=flame-tests"),
            *("-keyout", self.key, "-out", self.certificate),
        )

    def sign(self, name, subject, extension):
        key, request, done = (self.folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-new", *words, "-subj", subject, "-keyout", key, "-out", request)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(extension + "\n")
        signing = ["-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", 2]
        openssl("x509", "-req", "-in", request, *signing, "-extfile", extensions, "-out", done)
        return str(done), str(key)


class ControlPlane:
    def __init__(self, folder, binaries):
        self.folder, self.binaries = pathlib.Path(folder), pathlib.Path(binaries)
        self.processes, self.audit = {}, self.folder / "audit.log"
        self.over = threading.Event()
        self.authority = Authority(self.folder)
        self.server_files = self.authority.sign("server", "/CN=api", "subjectAltName=IP:127.0.0.1")
        openssl("genrsa", "-out", self.folder / "accounts.key", 2048)
        openssl("rsa", "-in", self.folder / "accounts.key", "-pubout", "-out", self.path("pub"))
        self.path("tokens.csv").write_text(TOKENS)
        self.path("audit.yaml").write_text(AUDIT)
        self.etcd_port, self.port = free_port(), free_port()
        try:
            self.start_etcd()
            self.start_server()
            self.configure()
            self.start_controllers()
        except BaseException:
            self.stop()
            raise
        self.beats = threading.Thread(target=self.beat, daemon=True)
        self.beats.start()

    def path(self, name):
        return self.folder / name

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self):
        return str(self.authority.certificate)

    def kubeconfig(self, user):
        return kubeconfig(self.url, user, **{"certificate-authority": self.certificate})

    def client(self, token="adm1n"):
        return Client(self.url, token, self.certificate)

    # -- processes ----------------------------------------------------------------------

    def start(self, name, *command):
        with self.path(f"{name}.log").open("a") as log:
            # Of its own session, so that an interrupted test still stops it in order.
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, start_new_session=True
            )

    def wait(self, name, ready):
        end = time.monotonic() + START_SECONDS
        while True:
            said = self.path(f"{name}.log").read_text(errors="replace")[-3000:]
            assert self.processes[name].poll() is None, f"{name} has ended:\n{said}"
            try:
                if ready():
                    return
            except (OSError, http.client.HTTPException, Refused):
                pass
            assert time.monotonic() < end, f"{name} is not ready:\n{said}"
            time.sleep(0.05)

    def start_etcd(self):
        url = f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{free_port()}"
        options = {
            **{"data-dir": self.path("etcd"), "name": "default", "unsafe-no-fsync": "true"},
            **{"listen-client-urls": url, "advertise-client-urls": url},
            **{"listen-peer-urls": peer, "initial-advertise-peer-urls": peer},
            "initial-cluster": f"default={peer}",
        }
        self.start("etcd", "etcd", *flags_of(options))
        self.wait("etcd", lambda: Client(url, "").call("GET", "/version"))

    def start_server(self):
        """Ready, that is with its own rules of RBAC."""
        certificate, key = self.server_files
        options = {
            **{"bind-address": "127.0.0.1", "secure-port": self.port},
            **{"etcd-servers": f"http://127.0.0.1:{self.etcd_port}"},
            **{"tls-cert-file": certificate, "tls-private-key-file": key},
            **{"client-ca-file": self.certificate, "token-auth-file": self.path("tokens.csv")},
            "service-account-key-file": self.path("pub"),
            "service-account-signing-key-file": self.path("accounts.key"),
            "service-account-issuer": "https://kubernetes.default.svc",
            "authorization-mode": "Node,RBAC",
            "service-cluster-ip-range": "10.0.0.0/24",
            # There is no Service by which pods would reach it.
            "endpoint-reconciler-type": "none",
            **{"audit-policy-file": self.path("audit.yaml"), "audit-log-path": self.audit},
        }
        self.start("kube-apiserver", self.binaries / "kube-apiserver", *flags_of(options))
        client = self.client()
        self.wait("kube-apiserver", lambda: client.call("GET", "/readyz") == "ok")

    def start_controllers(self):
        config = self.kubeconfig({"token": "c0ntroller"})
        self.path("controllers.json").write_text(json.dumps(config))
        options = {
            **{"kubeconfig": self.path("controllers.json"), "secure-port": 0},
            **{"leader-elect": "false", "use-service-account-credentials": "true"},
            "service-account-private-key-file": self.path("accounts.key"),
            "root-ca-file": self.certificate,
            # Its 20 requests a second would be what a test of 500 pods measures.
            **{"kube-api-qps": 500, "kube-api-burst": 500},
        }
        command = [self.binaries / "kube-controller-manager", *flags_of(options)]
        self.start("kube-controller-manager", *command)
        client = self.client()
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait("kube-controller-manager", lambda: client.call("GET", account))

    def configure(self):
        client, rbac = self.client(), "/apis/rbac.authorization.k8s.io/v1"
        client.call("POST", f"{rbac}/clusterroles", KUBELET_ROLE)
        client.call("POST", f"{rbac}/clusterrolebindings", KUBELET_BINDING)
        client.call("POST", "/api/v1/nodes", NODE)
        self.renew(client)

    def renew(self, client):
        """What a kubelet says of its node."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        ready |= {"lastHeartbeatTime": now, "lastTransitionTime": now}
        capacity = {"cpu": "1000", "memory": "1Ti", "pods": "1000"}
        status = {"conditions": [ready], "capacity": capacity, "allocatable": capacity}
        kind = "application/strategic-merge-patch+json"
        client.call("PATCH", "/api/v1/nodes/here/status", {"status": status}, kind)

    def beat(self):
        client = self.client()
        while not self.over.wait(5):
            # It may be away: the next time.
            with contextlib.suppress(OSError, http.client.HTTPException, Refused):
                self.renew(client)

    def revive(self):
        """After a test that failed while it was away."""
        if "kube-apiserver" not in self.processes:
            self.start_server()

    def kill_server(self):
        """As a machine that fails: what it had open is cut."""
        self.end("kube-apiserver", signal.SIGKILL)

    def end(self, name, number):
        process = self.processes.pop(name, None)
        if process is None:
            return
        if process.poll() is None:
            os.kill(process.pid, number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        self.over.set()
        # Nobody needs what is in them any more, and the server waits a minute for its watches.
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            self.end(name, signal.SIGKILL)

    def compact(self):
        """What etcd does every five minutes: nobody can resume from before now."""
        etcd = Client(f"http://127.0.0.1:{self.etcd_port}", "")
        revision = etcd.call("POST", "/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        etcd.call("POST", "/v3/kv/compaction", {"revision": revision, "physical": True})
