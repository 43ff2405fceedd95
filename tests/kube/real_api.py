# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A namespace of a real control plane, to the tests what fake_api.py's FakeApi is: the same names,
as far as a real server can be made to do it."""

import copy
import itertools
import json
import re

import yaml
from control_plane import Refused
from wire import Wire

KINDS = {
    "deployments": "/apis/apps/v1",
    "pods": "/api/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "serviceaccounts": "/api/v1",
    "secrets": "/api/v1",
}
METHODS = {"list": "GET", "get": "GET", "watch": "GET", "create": "POST", "update": "PUT"}
NUMBERS = itertools.count(1)
# Of a stream: what three events and the answer's head have at least.
BYTES_OF_EVENT = 4000


class RealApi:
    real = True

    def __init__(self, plane, manifests):
        """`manifests`: the chart rendered, of which the autoscaler's account and Role are taken."""
        self.plane, self.certificate = plane, plane.certificate
        self.namespace, self.kubelet_token = f"jobs-{next(NUMBERS)}", "kub3let"
        self.admin = plane.client()
        self.wire = Wire(plane.port)
        self.role = None
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.admin.call("POST", "/api/v1/namespaces", space)
        for item in yaml.safe_load_all(manifests.read_text()):
            kind = item["kind"].lower() + "s"
            rights = kind in ("serviceaccounts", "roles", "rolebindings")
            if rights and item["metadata"]["name"] == "flame-autoscaler":
                self.grant(kind, item)

    def grant(self, kind, item):
        item["metadata"]["namespace"] = self.namespace
        for subject in item.get("subjects", []):
            subject["namespace"] = self.namespace
        self.create(kind, item)

    def close(self):
        self.wire.close()
        self.plane.revive()
        # Whatever is left would go on being controlled.
        self.admin.call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    # -- who may come in ----------------------------------------------------------------

    @property
    def url(self):
        return f"https://127.0.0.1:{self.wire.port}"

    def trusted(self):
        """What a kubeconfig says of the cluster, but for its address."""
        return {"certificate-authority": self.certificate}

    def new_token(self, name="token"):
        """Of the autoscaler's account, until it is revoked."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        self.create("secrets", secret)
        reference = {"apiVersion": "v1", "kind": "Secret", "name": name}
        body = {
            **{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"},
            "spec": {"boundObjectRef": reference, "expirationSeconds": 3600},
        }
        path = self.path("serviceaccounts", "flame-autoscaler/token")
        return self.admin.call("POST", path, body)["status"]["token"]

    def revoke_token(self, name="token"):
        self.delete("secrets", name)

    def client_certificate(self, folder):
        """Of a user with the autoscaler's Role."""
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "autoscaler"}
        [binding] = self.all("rolebindings")
        binding["metadata"] = {"name": "autoscaler-by-certificate"}
        self.create("rolebindings", binding | {"subjects": [subject]})
        files = self.plane.authority.sign(
            f"{self.namespace}-client", "/CN=autoscaler", "extendedKeyUsage=clientAuth"
        )
        for source, name in zip(files, ("client.crt", "client.key")):
            (folder / name).write_text(open(source).read())

    def forbid(self, verb, resource):
        [role] = self.all("roles")
        self.role = copy.deepcopy(role["rules"])
        for rule in role["rules"]:
            if resource in rule["resources"]:
                rule["verbs"].remove(verb)
        self.update("roles", role)

    def allow_all(self):
        [role] = self.all("roles")
        self.update("roles", role | {"rules": self.role})

    # -- objects ------------------------------------------------------------------------

    def path(self, kind, name=""):
        path = f"{KINDS[kind]}/namespaces/{self.namespace}/{kind}"
        return f"{path}/{name}" if name else path

    def all(self, kind):
        return self.admin.call("GET", self.path(kind))["items"]

    def create(self, kind, item):
        return self.admin.call("POST", self.path(kind), item)

    def update(self, kind, item):
        return self.admin.call("PUT", self.path(kind, item["metadata"]["name"]), item)

    def delete(self, kind, name, **options):
        return self.admin.call("DELETE", self.path(kind, name), options or None)

    # -- what the autoscaler asked ------------------------------------------------------

    def calls(self, method=None, path=""):
        """(method, path) in the order in which they were answered."""
        groups = f"system:serviceaccounts:{self.namespace}"
        found = {}
        for line in self.plane.audit.read_text().splitlines():
            if f'"{groups}"' not in line:
                continue
            event = json.loads(line)
            verb = METHODS.get(event["verb"], event["verb"].upper())
            found[event["auditID"]] = (verb, event["requestURI"])
        return [c for c in found.values() if method in (None, c[0]) and re.search(path, c[1])]

    # -- what goes wrong ----------------------------------------------------------------

    def stop(self):
        self.wire.close()
        self.plane.kill_server()

    def start(self):
        self.plane.start_server()
        self.admin = self.plane.client()
        self.wire.open()

    def cut_streams(self, least=0):
        return self.wire.cut(least * BYTES_OF_EVENT)

    def forget(self):
        """Whoever comes back with what he has seen last finds that nobody remembers."""
        self.wire.close()
        for number in range(3):
            meta = {"name": f"churn-{number}"}
            self.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": meta})
        self.plane.compact()
        self.stop()
        self.start()

    def __getattr__(self, name):
        raise AttributeError(f"a real API server has no {name!r}: this test is for the fake one")


__all__ = ["RealApi", "Refused"]
