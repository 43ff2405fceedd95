# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The chart, the plain manifests and what the page about Kubernetes shows, as a real API server
takes them: applied by kubectl with a server-side dry run, into a namespace that warns of whatever
is not `restricted`."""

import pathlib
import re
import subprocess

import pytest
import yaml
from conftest import KUBE, ROOT, wait_until
from test_helm_chart import CASES, HELM, PASSWORD, rendered

pytestmark = pytest.mark.skipif(not KUBE, reason="no real API server: make test-kube")
needs_helm = pytest.mark.skipif(not HELM, reason="no helm: deploy/get-helm builds one")
RENDERED = CASES | {
    "defaults": [],
    "executors": [*PASSWORD, "--set", "executor.replicas=3,autoscaler.replicas=2"],
    "no_policies": [*PASSWORD, "--set", "networkPolicy.enabled=false"],
}


@pytest.fixture(scope="module")
def kubectl(control_plane):
    """Runs it with every right; the operator of Prometheus has been installed before."""
    file = control_plane.folder / "admin.yaml"
    file.write_text(yaml.safe_dump(control_plane.kubeconfig({"token": "adm1n"})))

    def run(*words, stdin=""):
        command = [pathlib.Path(KUBE) / "kubectl", "--kubeconfig", file, *words]
        return subprocess.run(
            [str(word) for word in command],
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )

    def succeed(*words, stdin=""):
        done = run(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    succeed("apply", "--server-side", "-f", pathlib.Path(KUBE) / "crds")
    names = [
        "crd/servicemonitors.monitoring.coreos.com",
        "crd/prometheusrules.monitoring.coreos.com",
    ]
    # One that has no conditions at all yet is an error to kubectl, not something to wait for.
    waits = ["wait", "--for=condition=Established", "--timeout=60s", *names]
    wait_until(lambda: run(*waits).returncode == 0, "their definitions are there", 60)
    for name in ("flame", "jobs"):
        succeed("create", "namespace", name)
        succeed("label", "namespace", name, "pod-security.kubernetes.io/warn=restricted")
    return run


def take(kubectl, text, namespace):
    """Every object is taken, without a warning."""
    words = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]
    done = kubectl("-n", namespace, *words, stdin=text)
    assert done.returncode == 0 and not done.stderr, done.stderr
    objects = [o for o in yaml.safe_load_all(text) if o]
    taken = done.stdout.splitlines()
    assert len(taken) == len(objects) and all("serverside-applied" in line for line in taken)


ALL_PARTS = pytest.param("monitored", marks=pytest.mark.brief)


@needs_helm
@pytest.mark.parametrize("case", [ALL_PARTS, *sorted(RENDERED.keys() - {"monitored"})])
def test_the_chart_is_taken(kubectl, case):
    take(kubectl, rendered("--namespace", "jobs", *RENDERED[case]), "jobs")


@pytest.mark.brief
def test_the_plain_manifests_are_taken(kubectl):
    take(kubectl, (ROOT / "deploy/kubernetes/flame.yaml").read_text(), "flame")


def blocks(kind):
    page = (ROOT / "docs/kubernetes.md").read_text()
    found = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.S)]
    return [block for block in found if block.get("kind") == kind]


@pytest.mark.brief
def test_the_role_of_the_page_is_taken_and_is_the_charts(kubectl):
    [role] = blocks("Role")
    take(kubectl, yaml.safe_dump(role), "jobs")
    manifests = yaml.safe_load_all((ROOT / "deploy/kubernetes/flame.yaml").read_text())
    [chart] = [o for o in manifests if o["kind"] == "Role"]
    assert role["rules"] == chart["rules"]


def test_a_mistake_would_be_seen(kubectl):
    text = (ROOT / "deploy/kubernetes/flame.yaml").read_text()
    for wrong, named in (("replicas: 1", "replicaz: 1"), ("protocol: TCP", "protocol: TPC")):
        assert wrong in text
        words = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]
        done = kubectl("-n", "flame", *words, stdin=text.replace(wrong, named, 1))
        assert done.returncode != 0 and named.split(": ")[0] in done.stderr, done.stderr
    loose = text.replace("runAsNonRoot: true", "runAsNonRoot: false")
    done = kubectl("-n", "flame", *words, stdin=loose)
    assert "would violate PodSecurity" in done.stderr, done.stderr
