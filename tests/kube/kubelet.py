# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Plays the pods of a namespace with processes of this machine: a container of a pod is its
command with its arguments and variables, run from our build. Speaks HTTP to the API server, as the
real one does: binds, reports, restarts what exits, sends SIGTERM and after the grace SIGKILL, and
removes the pod when its process has ended."""

import json
import os
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

EVERY = 0.03


class Container:
    def __init__(self, command, env):
        self.command, self.env = command, env
        self.restarts, self.kill_at = 0, None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def end(self, grace):
        """Once SIGTERM, after the grace SIGKILL."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + grace
            self.process.send_signal(signal.SIGTERM)
        elif time.monotonic() > self.kill_at:
            self.process.kill()


class Kubelet:
    def __init__(self, api, token, namespace, binaries, env):
        """`api` has a url, and a certificate file that is trusted, or None."""
        self.url, self.token, self.binaries, self.env = api.url, token, binaries, env
        trusted = api.certificate
        self.tls = ssl.create_default_context(cafile=trusted) if trusted else None
        self.pods = f"/api/v1/namespaces/{namespace}/pods"
        self.containers, self.stopping = {}, threading.Event()
        self.broken = None  # status of containers that do not start
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def call(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=10, context=self.tls) as answer:
            return json.loads(answer.read())

    def run(self):
        while not self.stopping.wait(EVERY):
            try:
                for pod in self.call("GET", self.pods)["items"] or []:
                    self.look(pod)
            except (OSError, urllib.error.URLError, ValueError):
                pass  # the server is away, or a fault of the test: the next look

    def look(self, pod):
        name, going = pod["metadata"]["name"], "deletionTimestamp" in pod["metadata"]
        if pod["status"].get("phase") in ("Failed", "Succeeded") and not going:
            return
        container = self.containers.get(name)
        if container is None and not going:
            return self.begin(pod)
        if container is None or container.process.poll() is not None:
            if going:
                self.call("DELETE", f"{self.pods}/{name}?gracePeriodSeconds=0")
                self.containers.pop(name, None)
            else:
                self.restart(name, container)
        elif going:
            container.end(pod["metadata"]["deletionGracePeriodSeconds"])

    def begin(self, pod):
        name, spec = pod["metadata"]["name"], pod["spec"]
        if "nodeName" not in spec:
            target = {"apiVersion": "v1", "kind": "Node", "name": "here"}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
            self.call("POST", f"{self.pods}/{name}/binding", binding | {"target": target})
        if self.broken:
            return self.report(name, "Pending", self.broken, 0)
        main = spec["containers"][0]
        env = dict(self.env)
        for variable in main.get("env", []):
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            value = pod["metadata"].get(field.removeprefix("metadata.")) if field else None
            env[variable["name"]] = value or variable.get("value", "")
        command = [str(self.binaries / main["command"][0]), *main["command"][1:], *main["args"]]
        self.containers[name] = Container(command, env)
        return self.report(name, "Running", {"running": {}}, 0)

    def restart(self, name, container):
        code = container.process.returncode
        container.restarts += 1
        container.start()
        last = {"terminated": {"exitCode": code, "reason": "Error"}}
        self.report(name, "Running", {"running": {}}, container.restarts, last)

    def report(self, name, phase, state, restarts, last=None):
        status = {
            **{"name": "executor", "state": state, "ready": phase == "Running"},
            **{"restartCount": restarts, "lastState": last or {}, "image": "", "imageID": ""},
        }
        body = {"status": {"phase": phase, "containerStatuses": [status]}}
        kind = "application/merge-patch+json"
        self.call("PATCH", f"{self.pods}/{name}/status", body, kind)

    def pids(self):
        return {
            name: container.process.pid
            for name, container in list(self.containers.items())
            if container.process.poll() is None
        }

    def stop(self):
        self.stopping.set()
        self.thread.join()
        for container in self.containers.values():
            if container.process.poll() is None:
                container.process.kill()
            container.process.wait()


def environment():
    keep = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in keep if name in os.environ}
