# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Plays scheduler and kubelet for the pods of a namespace, with processes of this machine: a
container of a pod is its command with its arguments and variables, run from our build. Speaks HTTP
to the API server, fake or real, as the real ones do: binds, reports, restarts what exits (at once,
then after 10 s, twice as long each time), sends SIGTERM and after the grace SIGKILL, and removes
the pod when its process has ended."""

import contextlib
import datetime
import http.client
import os
import signal
import subprocess
import threading
import time

from control_plane import Client, Refused

EVERY = 0.03
BACKOFF_SECONDS, ORPHAN_SECONDS = 10, 2


class Container:
    def __init__(self, command, env):
        self.command, self.env = command, env
        self.restarts, self.kill_at, self.start_at = 0, None, None
        self.start()

    def start(self):
        self.start_at = None
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
    def __init__(self, api, binaries, env):
        """`api` has a url, a certificate file that is trusted (or None), a token for us and a
        namespace."""
        self.binaries, self.env = binaries, env
        self.client = Client(api.url, api.kubelet_token, api.certificate)
        self.pods = f"/api/v1/namespaces/{api.namespace}/pods"
        self.containers, self.stopping = {}, threading.Event()
        self.broken, self.told = None, {}  # status of containers that do not start
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.wait(EVERY):
            try:
                pods = self.client.call("GET", self.pods)["items"] or []
                for pod in pods:
                    with contextlib.suppress(Refused):  # it has changed meanwhile: the next look
                        self.look(pod)
                self.end_orphans({pod["metadata"]["name"] for pod in pods})
            except (OSError, http.client.HTTPException, Refused, ValueError):
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
                self.remove(pod)
            else:
                self.restart(name, container)
        elif going:
            container.end(pod["metadata"]["deletionGracePeriodSeconds"])

    def end_orphans(self, names):
        """Of pods that were removed by force."""
        for name in self.containers.keys() - names:
            if self.containers[name].process.poll() is None:
                self.containers[name].end(ORPHAN_SECONDS)
            else:
                self.containers.pop(name)

    def remove(self, pod):
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        options |= {"preconditions": {"uid": uid}}
        self.client.call("DELETE", f"{self.pods}/{name}", options)
        self.containers.pop(name, None)

    def begin(self, pod):
        name, spec = pod["metadata"]["name"], pod["spec"]
        if "nodeName" not in spec:
            target = {"apiVersion": "v1", "kind": "Node", "name": "here"}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
            self.client.call("POST", f"{self.pods}/{name}/binding", binding | {"target": target})
        if self.broken:
            if self.told.get(name) != self.broken:
                self.report(name, self.broken, 0)
                self.told[name] = self.broken
            return None
        main = spec["containers"][0]
        env = dict(self.env)
        for variable in main.get("env", []):
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            value = pod["metadata"].get(field.removeprefix("metadata.")) if field else None
            env[variable["name"]] = value or variable.get("value", "")
        command = [str(self.binaries / main["command"][0]), *main["command"][1:], *main["args"]]
        self.containers[name] = Container(command, env)
        return self.report(name, {"running": {"startedAt": now()}}, 0)

    def restart(self, name, container):
        code = container.process.returncode
        last = {"terminated": {"exitCode": code, "reason": "Error", "finishedAt": now()}}
        if container.start_at is None:
            wait = BACKOFF_SECONDS * 2 ** (container.restarts - 1) if container.restarts else 0
            container.start_at = time.monotonic() + wait
            if wait:
                said = f"back-off {wait}s restarting failed container=executor"
                waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": said}}
                self.report(name, waiting, container.restarts, last)
        if time.monotonic() < container.start_at:
            return
        container.restarts += 1
        container.start()
        self.report(name, {"running": {"startedAt": now()}}, container.restarts, last)

    def report(self, name, state, restarts, last=None):
        runs = "running" in state
        status = {
            **{"name": "executor", "state": state, "ready": runs, "started": runs},
            **{"restartCount": restarts, "lastState": last or {}, "image": "", "imageID": ""},
        }
        conditions = [
            {
                "type": kind,
                "status": str(runs or kind == "PodScheduled"),
                "lastTransitionTime": now(),
            }
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        phase = "Running" if runs or restarts else "Pending"
        body = {"phase": phase, "conditions": conditions, "containerStatuses": [status]}
        kind = "application/merge-patch+json"
        self.client.call("PATCH", f"{self.pods}/{name}/status", {"status": body}, kind)

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


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def environment():
    keep = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in keep if name in os.environ}
