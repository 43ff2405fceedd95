#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""As much of a Kubernetes API server as the autoscaler, a kubelet and kubectl's plain verbs need,
on a real socket, with faults on demand. Answers follow what a real server was seen to answer.
Deployments are turned into pods at once, without ReplicaSets.

    fake_api.py [PORT]        serves until it is interrupted; token "adm1n"
"""

import base64
import copy
import http.server
import json
import random
import re
import ssl
import string
import sys
import threading
import time
import urllib.parse
import uuid

from control_plane import Client

KINDS = {
    "deployments": ("apps/v1", "Deployment"),
    "pods": ("v1", "Pod"),
    "leases": ("coordination.k8s.io/v1", "Lease"),
}
GROUPS = {
    "deployments": "/apis/apps/v1",
    "pods": "/api/v1",
    "leases": "/apis/coordination.k8s.io/v1",
}
PATH = re.compile(
    r"^/(?:api/v1|apis/apps/v1|apis/coordination\.k8s\.io/v1)/namespaces/(?P<ns>[^/]+)"
    r"/(?P<kind>deployments|pods|leases)(?:/(?P<name>[^/]+)(?:/(?P<sub>scale|status|binding))?)?$"
)
NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
COST = "controller.kubernetes.io/pod-deletion-cost"
# What a strict server knows of a Deployment; enough to catch a misspelt field.
KNOWN = {
    "": {"apiVersion", "kind", "metadata", "spec", "status"},
    "metadata": {"name", "namespace", "labels", "annotations", "resourceVersion", "uid"},
    "spec": {"replicas", "selector", "template", "strategy", "revisionHistoryLimit", "paused"},
    "spec.template": {"metadata", "spec"},
    "spec.template.spec.containers": {
        *("name", "image", "imagePullPolicy", "command", "args", "env", "resources"),
        *("volumeMounts", "securityContext"),
    },
    "spec.template.spec.containers.resources": {"requests", "limits", "claims"},
    "spec.template.spec": {
        *("containers", "terminationGracePeriodSeconds", "enableServiceLinks", "nodeSelector"),
        *("automountServiceAccountToken", "serviceAccountName", "securityContext", "tolerations"),
        *("imagePullSecrets", "volumes", "affinity", "priorityClassName", "runtimeClassName"),
    },
}


class Refused(Exception):
    def __init__(self, code, reason, message, **details):
        super().__init__(message)
        self.code = code
        self.status = {
            **{"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"},
            **{"message": message, "reason": reason, "details": details, "code": code},
        }


class Fault:
    """What happens to the next requests that fit, `times` of them: `before` is called before it is
    done, `after` then, in the place of the answer; `wait` is an event that it is held for."""

    def __init__(self, method, path, times=1, **what):
        self.method, self.path, self.times = method, re.compile(path), times
        self.what, self.hits = what, 0

    def fits(self, method, target):
        return self.times > self.hits and method == self.method and self.path.search(target)


def quantity(text):
    """Of those that tests use."""
    units = {"m": 0.001, "": 1, "Mi": 2**20, "Gi": 2**30}
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text)).groups()
    return float(number) * units[unit]


def labels_fit(item, selector):
    labels = item["metadata"].get("labels", {})
    wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
    return all(labels.get(name) == value for name, value in wanted.items())


def merge(into, patch):
    """RFC 7386."""
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


def drop(into, before, now):
    """Fields that were applied before and are not any more."""
    for name, value in before.items():
        if name not in now:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(now[name], dict):
            drop(into.get(name, {}), value, now[name])


class Store:
    """The objects and what happened to them."""

    def __init__(self):
        self.lock = threading.Condition()
        self.items = {kind: {} for kind in KINDS}
        self.version = 1000
        self.events = []  # (version, kind, type, object)
        self.forgotten = 0  # events up to this version are
        self.applied = {}
        self.managers = {}  # deployment -> who applied it
        self.scaled_by = {}  # deployment -> who set its replicas last
        self.deleting = 3600  # grace of pods, by default

    def event(self, kind, what, item, bump=True):
        if bump:
            self.version += 1
            item["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, kind, what, copy.deepcopy(item)))
        self.lock.notify_all()

    def put(self, kind, key, item):
        old = self.items[kind].get(key)
        meta = item["metadata"]
        by = {"manager": self.managers.get(key, "junk"), "operation": "Apply"}
        meta["managedFields"] = [by | {"fieldsV1": {"f:x": {}}}]
        if old is None:
            meta["uid"] = str(uuid.uuid4())
            meta["creationTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            item = copy.deepcopy(item)
            item["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if item == old:
                return old  # nothing changed: the same version
        self.items[kind][key] = item
        self.event(kind, "MODIFIED" if old else "ADDED", item)
        return item

    def remove(self, kind, key):
        item = self.items[kind].pop(key)
        for known in (self.applied, self.managers, self.scaled_by):
            known.pop(key, None)
        self.event(kind, "DELETED", item)

    # -- the controller ---------------------------------------------------------------------------

    def control(self):
        """Pods of each Deployment as many as it wants."""
        for (ns, name), deployment in list(self.items["deployments"].items()):
            selector = deployment["spec"]["selector"]["matchLabels"]
            fits = ",".join(f"{k}={v}" for k, v in selector.items())
            alive = [
                pod
                for (pod_ns, _), pod in self.items["pods"].items()
                if pod_ns == ns
                and labels_fit(pod, fits)
                and "deletionTimestamp" not in pod["metadata"]
                and pod["status"]["phase"] not in ("Failed", "Succeeded")
            ]
            surplus = len(alive) - deployment["spec"].get("replicas", 1)
            for _ in range(-surplus):
                self.make_pod(ns, name, deployment["spec"]["template"])
            for pod in sorted(alive, key=self.goes_first)[: max(0, surplus)]:
                self.delete_pod(pod)
            status = {"replicas": len(alive) - surplus, "observedGeneration": 1}
            if deployment.get("status") != status:
                changed = copy.deepcopy(deployment)
                changed["status"] = status
                self.put("deployments", (ns, name), changed)

    @staticmethod
    def goes_first(pod):
        cost = int(pod["metadata"].get("annotations", {}).get(COST, 0))
        return (pod["status"]["phase"] == "Running", cost, random.random())

    def make_pod(self, ns, owner, template):
        tail = "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
        meta = copy.deepcopy(template["metadata"])
        meta |= {"name": f"{owner[:50]}-{tail}", "namespace": ns}
        pod = {
            **{"apiVersion": "v1", "kind": "Pod", "metadata": meta},
            **{"spec": copy.deepcopy(template["spec"]), "status": {"phase": "Pending"}},
        }
        self.put("pods", (ns, meta["name"]), pod)

    def delete_pod(self, pod, grace=None):
        """One that runs nowhere, or nothing any more, is gone at once."""
        if "nodeName" not in pod["spec"] or pod["status"]["phase"] in ("Failed", "Succeeded"):
            return self.remove("pods", (pod["metadata"]["namespace"], pod["metadata"]["name"]))
        changed = copy.deepcopy(pod)
        seconds = changed["spec"].get("terminationGracePeriodSeconds", 30)
        changed["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        changed["metadata"]["deletionGracePeriodSeconds"] = seconds if grace is None else grace
        return self.put("pods", (pod["metadata"]["namespace"], pod["metadata"]["name"]), changed)

    def forget(self):
        """What compaction does: nobody can resume from before now."""
        with self.lock:
            self.forgotten = self.version
            self.events.clear()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    after = None

    def log_message(self, *_):
        pass

    # -- answers ----------------------------------------------------------------------

    def reply(self, code, body, kind="application/json", **headers):
        if self.after:
            self.after()
            self.close_connection = True
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def fault(self, fault):
        """True if the request is over with that."""
        fault.hits += 1
        what = fault.what
        if "before" in what:
            what["before"]()
        self.after = what.get("after")
        if "wait" in what:
            what["wait"].wait()  # slow: until the test says so
        if "status" in what:
            headers = what.get("headers", {})
            kind = what.get("kind", "application/json")
            self.reply(what["status"], what.get("body", b"{}"), kind, **headers)
            return True
        if what.get("close"):
            self.close_connection = True
            return True
        return False

    def do(self):
        api = self.server.api
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        length = int(self.headers.get("Content-Length", 0))
        self.raw = self.rfile.read(length)
        self.user = self.who()
        with api.store.lock:
            api.requests.append((self.command, self.path, self.user, time.monotonic()))
            fault = next((f for f in api.faults if f.fits(self.command, self.path)), None)
        self.after = None
        if fault and self.fault(fault):
            return
        try:
            self.authorize(url.path)
            self.route(url.path)
        except Refused as refused:
            self.reply(refused.code, refused.status)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do

    def who(self):
        api, said = self.server.api, self.headers.get("Authorization", "")
        if api.client_certificates and self.connection.getpeercert():
            return "autoscaler"
        return api.users.get(said.removeprefix("Bearer "))

    def authorize(self, path):
        if self.user is None and "Authorization" not in self.headers:
            message = f'User "system:anonymous" cannot {self.command} resource {path}'
            raise Refused(403, "Forbidden", message)
        if self.user is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        for method, pattern in self.server.api.forbidden:
            if (self.user, method) == ("autoscaler", self.command) and re.search(pattern, path):
                verb = method.lower()
                message = f'forbidden: User "autoscaler" cannot {verb} resource {path}'
                raise Refused(403, "Forbidden", message)

    def route(self, path):
        found = PATH.match(path)
        if path == "/version":
            return self.reply(200, {"major": "1", "minor": "34", "gitVersion": "v1.34.1"})
        if path in DISCOVERY:
            return self.reply(200, DISCOVERY[path])
        if not found:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        self.kind, self.key = found["kind"], (found["ns"], found["name"])
        if found["name"] is None:
            if self.command != "GET":
                return self.create()
            return self.watch() if self.query.get("watch") in ("true", "1") else self.list()
        name = f"{self.command}_{found['sub'] or 'object'}"
        verb = getattr(self, name, None)
        if verb is None:
            raise Refused(405, "MethodNotAllowed", f"{name} is not done")
        with self.server.api.store.lock:
            code, answer = 200, verb()
            self.server.api.store.control()
        self.reply(code, answer)

    # -- reading ----------------------------------------------------------------------

    def list(self):
        store, limit = self.server.api.store, int(self.query.get("limit", 0))
        with store.lock:
            version, start = store.version, 0
            if "continue" in self.query:
                version, start = json.loads(base64.b64decode(self.query["continue"]))
                if version < store.forgotten:
                    raise Refused(410, "Expired", "The provided continue parameter is too old")
            items = [
                item
                for key, item in sorted(store.items[self.kind].items())
                if key[0] == self.key[0] and labels_fit(item, self.query.get("labelSelector", ""))
            ]
            page = items[start : start + limit] if limit else items
            meta = {"resourceVersion": str(version)}
            if start + len(page) < len(items):
                token = json.dumps([version, start + len(page)]).encode()
                meta["continue"] = base64.b64encode(token).decode()
            api_version, kind = KINDS[self.kind]
            body = {"kind": kind + "List", "apiVersion": api_version, "metadata": meta}
            data = json.dumps(body | {"items": page or None}).encode()
        self.reply(200, data)

    def watch(self):
        api, store = self.server.api, self.server.api.store
        since = int(self.query.get("resourceVersion") or 0)
        end = time.monotonic() + float(self.query.get("timeoutSeconds", 3600))
        if since < store.forgotten and api.expired_as_status:
            raise Refused(410, "Expired", f"too old resource version: {since}")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        stream = api.new_stream(self)
        if since < store.forgotten:
            status = Refused(410, "Expired", f"too old resource version: {since}").status
            stream.send({"type": "ERROR", "object": status})
            return stream.finish()
        while time.monotonic() < end and not stream.over:
            with store.lock:
                news = [event for event in store.events if event[0] > since]
                if not news:
                    store.lock.wait(0.05)
                    continue
            for version, kind, what, item in news:
                since = max(since, version)
                fits = labels_fit(item, self.query.get("labelSelector", ""))
                if kind != self.kind or item["metadata"]["namespace"] != self.key[0] or not fits:
                    continue
                for _ in range(api.repeat_events):
                    stream.send({"type": what, "object": item})
            if api.bookmarks and self.query.get("allowWatchBookmarks") == "true":
                kind = KINDS[self.kind][1]
                meta = {"resourceVersion": str(since)}
                stream.send({"type": "BOOKMARK", "object": {"kind": kind, "metadata": meta}})
        stream.finish()

    def object(self):
        item = self.server.api.store.items[self.kind].get(self.key)
        if item is None:
            raise Refused(404, "NotFound", f'{self.kind} "{self.key[1]}" not found')
        return copy.deepcopy(item)

    def GET_object(self):
        return self.object()

    def GET_scale(self):
        item = self.object()
        names = ("name", "namespace", "uid", "resourceVersion")
        return {
            **{"kind": "Scale", "apiVersion": "autoscaling/v1"},
            "metadata": {name: item["metadata"][name] for name in names},
            **{"spec": {"replicas": item["spec"]["replicas"]}, "status": {"replicas": 0}},
        }

    # -- writing ----------------------------------------------------------------------

    def body(self):
        try:
            return json.loads(self.raw or b"{}")
        except ValueError:
            raise Refused(400, "BadRequest", "the object is no JSON") from None

    def check_version(self, item, said):
        meta = item["metadata"]
        for field in ("resourceVersion", "uid"):
            if said.get(field) not in (None, "", meta[field]):
                message = f'Operation cannot be fulfilled on {self.kind} "{meta["name"]}": the '
                message += (
                    "object has been modified; please apply your changes to the latest version"
                )
                raise Refused(409, "Conflict", message)

    def validate(self, item):
        name, spec = item["metadata"].get("name", ""), item.get("spec", {})
        if not NAME.match(name):
            raise Refused(422, "Invalid", f'Deployment.apps "{name}" is invalid: metadata.name')
        if self.kind != "deployments":
            return
        if not isinstance(spec.get("replicas", 0), int) or spec.get("replicas", 0) < 0:
            raise Refused(422, "Invalid", "spec.replicas: must be greater than or equal to 0")
        for container in spec["template"]["spec"]["containers"]:
            self.check_resources(name, container.get("resources", {}))
        for label in spec["selector"]["matchLabels"].items():
            if label not in spec["template"]["metadata"]["labels"].items():
                raise Refused(
                    422, "Invalid", "spec.template.metadata.labels: selector does not match"
                )

    @staticmethod
    def check_resources(name, resources):
        for what, wanted in resources.get("requests", {}).items():
            limit = resources.get("limits", {}).get(what)
            if limit is not None and quantity(wanted) > quantity(limit):
                path = "spec.template.spec.containers[0].resources.requests"
                message = f'Deployment.apps "{name}" is invalid: {path}: Invalid value: "{wanted}"'
                raise Refused(
                    422, "Invalid", f"{message}: must be less than or equal to {what} limit"
                )

    def unknown(self, item):
        """The first field that nobody knows."""
        for path, known in KNOWN.items():
            parts = [item]
            for key in filter(None, path.split(".")):
                parts = [part.get(key, {}) for part in parts]
                parts = parts[0] if parts and isinstance(parts[0], list) else parts
            for key in {key for part in parts for key in part} - known:
                if key not in ("managedFields", "creationTimestamp"):
                    return f"{path}.{key}"
        return None

    def check_namespace(self):
        if self.key[0] not in self.server.api.namespaces:
            raise Refused(404, "NotFound", f'namespaces "{self.key[0]}" not found')

    def create(self):
        self.check_namespace()
        item = self.body()
        self.key = (self.key[0], item["metadata"].get("name"))
        store = self.server.api.store
        with store.lock:
            if self.key in store.items[self.kind]:
                message = f'{self.kind} "{self.key[1]}" already exists'
                raise Refused(409, "AlreadyExists", message)
            if self.kind == "deployments" and (path := self.unknown(item)):
                message = f'strict decoding error: unknown field "{path}"'
                raise Refused(400, "BadRequest", message)
            self.validate(item)
            item["metadata"]["namespace"] = self.key[0]
            answer = store.put(self.kind, self.key, item)
            store.control()
        self.reply(201, answer)

    def PATCH_object(self):
        if self.headers["Content-Type"] == "application/apply-patch+yaml":
            return self.apply()
        if self.headers["Content-Type"] != "application/merge-patch+json":
            raise Refused(
                415, "UnsupportedMediaType", "the body of the request was in an unknown format"
            )
        item, patch = self.object(), self.body()
        self.check_version(item, patch.get("metadata", {}))
        merge(item, patch)
        return self.server.api.store.put(self.kind, self.key, item)

    PATCH_status = PATCH_object

    def apply(self):
        store, body, manager = self.server.api.store, self.body(), self.query.get("fieldManager")
        if not manager:
            raise Refused(
                422, "Invalid", "PatchOptions.meta.k8s.io is invalid: fieldManager: Required"
            )
        self.check_namespace()
        if path := self.unknown(body):
            # So it is: no 4xx, and no reason.
            message = f"failed to create typed patch object ({self.key[0]}/{self.key[1]}; apps/v1, "
            message += f"Kind=Deployment): .{path}: field not declared in schema"
            raise Refused(500, None, message)
        self.validate(body)
        old = store.items[self.kind].get(self.key)
        item = copy.deepcopy(old) if old else {"status": {}}
        said = body["metadata"].pop("resourceVersion", None)
        if old:
            self.check_version(old, {"resourceVersion": said})
            if old["spec"]["selector"] != body["spec"]["selector"]:
                raise Refused(422, "Invalid", "spec.selector: Invalid value: field is immutable")
            other = store.scaled_by.get(self.key, manager)
            differs = body["spec"].get("replicas") not in (None, old["spec"]["replicas"])
            if differs and other != manager and self.query.get("force") != "true":
                message = f'Apply failed with 1 conflict: conflict with "{other}": .spec.replicas'
                raise Refused(409, "Conflict", message, causes=[{"reason": "FieldManagerConflict"}])
            drop(item, store.applied.get(self.key, {}), body)
        merge(item, body)
        item["spec"].setdefault("replicas", 1)
        item["metadata"]["namespace"] = self.key[0]
        store.applied[self.key] = body
        store.managers[self.key] = manager
        store.scaled_by[self.key] = manager
        return store.put(self.kind, self.key, item)

    def PUT_object(self):
        item, body = self.object(), self.body()
        self.check_version(item, body["metadata"])
        body["metadata"] = item["metadata"] | body["metadata"]
        return self.server.api.store.put(self.kind, self.key, body)

    def PUT_scale(self):
        item, body = self.object(), self.body()
        self.check_version(item, body.get("metadata", {}))
        if body["spec"].get("replicas", 0) < 0:
            raise Refused(422, "Invalid", "spec.replicas: must be greater than or equal to 0")
        item["spec"]["replicas"] = body["spec"].get("replicas", 0)
        store = self.server.api.store
        store.put("deployments", self.key, item)
        store.scaled_by[self.key] = self.query.get("fieldManager", "unknown")
        return self.GET_scale()

    PATCH_scale = PUT_scale  # a merge patch of replicas says the same

    def POST_binding(self):
        item = self.object()
        item["spec"]["nodeName"] = self.body()["target"]["name"]
        self.server.api.store.put("pods", self.key, item)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def DELETE_object(self):
        item, options, store = self.object(), self.body(), self.server.api.store
        self.check_version(item, options.get("preconditions", {}))
        grace = options.get("gracePeriodSeconds", self.query.get("gracePeriodSeconds"))
        if self.kind == "pods" and grace not in (0, "0"):
            store.delete_pod(item, None if grace is None else int(grace))
            return item
        store.remove(self.kind, self.key)
        if self.kind == "deployments":
            fits = ",".join(f"{k}={v}" for k, v in item["spec"]["selector"]["matchLabels"].items())
            for pod in list(store.items["pods"].values()):
                if labels_fit(pod, fits) and "deletionTimestamp" not in pod["metadata"]:
                    store.delete_pod(pod)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}


class Stream:
    """A watch that is open; the test may cut it."""

    def __init__(self, handler):
        self.handler, self.over, self.sent = handler, False, 0
        self.pieces = handler.server.api.pieces

    def write(self, data):
        try:
            self.handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        except OSError:
            self.over = True

    def send(self, event):
        data = json.dumps(event).encode() + b"\n"
        size = self.pieces or len(data)
        for start in range(0, len(data), size):
            self.write(data[start : start + size])
        self.sent += 1

    def cut(self, said=b'{"type":"MODIFIED","obj'):
        """In the middle of an object, without an end."""
        self.write(said)
        self.over = True
        try:
            self.handler.connection.shutdown(2)
        except OSError:
            pass

    def finish(self):
        if not self.over:
            self.over = True
            self.write(b"")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a peer that goes, or does not trust us, is what tests are about


class FakeApi:
    real = False

    def __init__(self, port=0, certificate=None, client_ca=None):
        self.store, self.faults, self.requests, self.streams = Store(), [], [], []
        self.users = {"adm1n": "admin", "kub3let": "kubelet"}  # by token
        self.namespaces, self.forbidden = {"default", "jobs"}, []
        self.namespace, self.kubelet_token = "jobs", "kub3let"
        self.bookmarks, self.repeat_events, self.pieces = True, 1, 0
        self.expired_as_status, self.client_certificates = True, client_ca is not None
        self.port = port
        self.server = self.tls = None
        self.certificate = certificate[0] if certificate else None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
            if client_ca:
                self.tls.verify_mode = ssl.CERT_OPTIONAL
                self.tls.load_verify_locations(client_ca)
        self.start()

    def start(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.api = self
        self.port = self.server.server_address[1]
        if self.tls:
            self.server.socket = self.tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Like a killed server: what is open is cut."""
        self.server.shutdown()
        self.server.server_close()
        self.cut_streams(said=b"")

    def close(self):
        self.stop()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def fault(self, method, path, times=1, **what):
        fault = Fault(method, path, times, **what)
        with self.store.lock:
            self.faults.append(fault)
        return fault

    def new_stream(self, handler):
        stream = Stream(handler)
        with self.store.lock:
            self.streams.append(stream)
        return stream

    def cut_streams(self, least=0, said=b'{"type":"MODIFIED","obj'):
        """Those that have told so many events; how many these were."""
        with self.store.lock:
            self.streams = [stream for stream in self.streams if not stream.over]
            chosen = [stream for stream in self.streams if stream.sent >= least]
        for stream in chosen:
            stream.cut(said)
        return len(chosen)

    def calls(self, method=None, path=""):
        """(method, path) of what the autoscaler asked."""
        with self.store.lock:
            all = [r[:2] for r in self.requests if r[2] == "autoscaler"]
        return [call for call in all if method in (None, call[0]) and re.search(path, call[1])]

    def times(self):
        """When the autoscaler asked something, by time.monotonic()."""
        with self.store.lock:
            return [r[3] for r in self.requests if r[2] == "autoscaler"]

    # -- what a test does, as by kubectl ----------------------------------------------------

    def all(self, kind):
        with self.store.lock:
            return [copy.deepcopy(item) for item in self.store.items[kind].values()]

    def ask(self, method, kind, name=None, body=None):
        path = f"{GROUPS[kind]}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")
        return Client(self.url, "adm1n", self.certificate).call(method, path, body)

    def create(self, kind, item):
        return self.ask("POST", kind, None, item)

    def update(self, kind, item):
        return self.ask("PUT", kind, item["metadata"]["name"], item)

    def delete(self, kind, name, **options):
        return self.ask("DELETE", kind, name, options or None)

    def trusted(self):
        """What a kubeconfig says of the cluster, but for its address."""
        return {"certificate-authority": self.certificate} if self.certificate else {}

    def new_token(self, name="token"):
        """Of the autoscaler, until it is revoked."""
        self.users[f"s3cret-{name}"] = "autoscaler"
        return f"s3cret-{name}"

    def revoke_token(self, name="token"):
        del self.users[f"s3cret-{name}"]

    def forbid(self, verb, resource):
        self.forbidden = [(verb.upper(), f"/{resource}")]

    def allow_all(self):
        self.forbidden = []

    def forget(self):
        """Whoever comes back with what he has seen last finds that nobody remembers."""
        self.store.forget()
        self.store.version += 10
        self.store.forgotten = self.store.version
        self.cut_streams()


def resource(name, kind, verbs, **more):
    return {
        "name": name,
        "namespaced": True,
        "kind": kind,
        "verbs": verbs,
        "singularName": "",
        **more,
    }


VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
# What kubectl asks before anything else.
DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        **{"kind": "APIGroupList", "apiVersion": "v1"},
        "groups": [
            {
                "name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            }
        ],
    },
    "/api/v1": {
        **{"kind": "APIResourceList", "groupVersion": "v1"},
        "resources": [resource("pods", "Pod", VERBS, shortNames=["po"])],
    },
    "/apis/apps/v1": {
        **{"kind": "APIResourceList", "groupVersion": "apps/v1"},
        "resources": [
            resource("deployments", "Deployment", VERBS, shortNames=["deploy"]),
            resource(
                *("deployments/scale", "Scale", ["get", "patch", "update"]),
                **{"group": "autoscaling", "version": "v1"},
            ),
        ],
    },
}


def main():
    api = FakeApi(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(api.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
