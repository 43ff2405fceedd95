# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The chart as the real helm renders it: golden texts, and what must hold for every one of them.
FLAME_UPDATE_GOLDEN=1 writes the texts anew, also deploy/kubernetes/flame.yaml."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import BIN, ROOT

CHART = ROOT / "deploy/helm/flame"
GOLDEN = pathlib.Path(__file__).parent / "golden/helm"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "flame/bin"
HELM = shutil.which("helm") or shutil.which("helm", path=CACHE)
PASSWORD = ["--set", "redis.existingSecret=flame-redis"]

CASES = {
    "external_redis": ["--set", "redis.enabled=false,externalRedis.existingSecret=redis-url"],
    "monitored": [*PASSWORD, "--values", str(GOLDEN / "monitored.values.yaml")],
    "small": [*PASSWORD, "--values", str(GOLDEN / "small.values.yaml")],
}


@pytest.fixture(autouse=True)
def need_helm():
    if not HELM:
        pytest.skip("no helm: deploy/get-helm builds one")


def helm(*words):
    # As a fixed cluster would answer: what helm was built with must not matter.
    command = [HELM, "template", "flame", CHART, "--kube-version", "1.34.0", *words]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def rendered(*words):
    done = helm(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text):
    found = [o for o in yaml.safe_load_all(text) if o]
    return {(o["kind"], o["metadata"]["name"]): o for o in found}


def pods(text):
    return {
        name: o["spec"]["template"]["spec"]
        for name, o in objects(text).items()
        if name[0] in ("Deployment", "StatefulSet")
    }


def same_as(path, text):
    if os.environ.get("FLAME_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs: was it meant? FLAME_UPDATE_GOLDEN=1"


@pytest.mark.parametrize("case", CASES)
def test_renders_as_the_golden_text(case):
    same_as(GOLDEN / f"{case}.yaml", rendered("--namespace", "jobs", *CASES[case]))


def test_plain_manifests_are_the_chart_rendered():
    text = rendered("--namespace", "flame", "--no-hooks", *PASSWORD)
    head = (
        "---\n"
        "# Rendered from deploy/helm/flame by tests/system/test_helm_chart.py; changes made here\n"
        "# are lost. How to use it: deploy/helm/flame/README.md, Without helm.\n"
    )
    text = re.sub(r"^# Source: .*\n", "", text, flags=re.M)
    # Nobody of helm's looks after them.
    text = re.sub(r"^ +helm\.sh/chart: .*\n", "", text, flags=re.M)
    text = text.replace("kubernetes.io/managed-by: Helm", "kubernetes.io/managed-by: kubectl")
    same_as(ROOT / "deploy/kubernetes/flame.yaml", head + text.removeprefix("---\n"))


def test_a_password_is_made_where_none_is_given():
    first, second = (objects(rendered())["Secret", "flame-redis"] for _ in range(2))
    assert first["data"]["password"] != second["data"]["password"]
    assert first["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_every_pod_may_do_nothing_but_run():
    text = rendered("--set", "executor.replicas=1")
    assert len(pods(text)) == 5
    for name, pod in pods(text).items():
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"], name
        # A variable FLAME_PORT made from a Service would be an option.
        assert pod["enableServiceLinks"] is False, name
        assert pod["automountServiceAccountToken"] is (name[1] == "flame-autoscaler"), name
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def test_the_role_is_minimal():
    role = objects(rendered())["Role", "flame-autoscaler"]
    rights = {rule["resources"][0]: set(rule["verbs"]) for rule in role["rules"]}
    assert rights == {
        "deployments": {"get", "list", "watch", "create", "patch", "delete"},
        "deployments/scale": {"get", "update"},
        "pods": {"get", "list", "watch", "patch"},
        "leases": {"get", "create", "update"},
    }
    assert [k for k, _ in objects(rendered()) if k.startswith("Cluster")] == []


def test_network_policies_are_on_and_cover_every_pod():
    text = rendered("--set", "executor.replicas=1")
    policies = [o for (kind, _), o in objects(text).items() if kind == "NetworkPolicy"]
    for (kind, name), o in objects(text).items():
        if kind not in ("Deployment", "StatefulSet"):
            continue
        labels = o["spec"]["template"]["metadata"]["labels"].items()
        chosen = [p for p in policies if p["spec"]["podSelector"]["matchLabels"].items() <= labels]
        assert [p["spec"]["policyTypes"] for p in chosen] == [["Ingress", "Egress"]], name
    redis = objects(text)["NetworkPolicy", "flame-redis"]["spec"]
    callers = [peer["podSelector"]["matchLabels"] for peer in redis["ingress"][0]["from"]]
    assert [c["app.kubernetes.io/name"] for c in callers] == ["flame-broker", "flame-autoscaler"]
    assert redis["egress"] == []


def test_pods_of_the_autoscaler_fall_under_policy_and_budget():
    # Labels as autoscaler/kubernetes/deployment.cpp gives them.
    labels = {
        "app.kubernetes.io/name": "flame-executor",
        "app.kubernetes.io/instance": "flame",
    }.items()
    found = objects(rendered())
    for kind, selector in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        spec = found[kind, "flame-executor"]["spec"]
        assert spec[selector]["matchLabels"].items() == labels
    scaler = found["Deployment", "flame-autoscaler"]["spec"]["template"]["spec"]["containers"][0]
    assert "--instance=flame" in scaler["args"]


def test_alerts_are_those_of_compose():
    ours = (CHART / "files/flame-alerts.yml").read_text()
    assert ours == (ROOT / "docker/prometheus/flame-alerts.yml").read_text()
    found = objects(rendered("--set", "prometheusRule.enabled=true"))
    rules = found["PrometheusRule", "flame-broker"]
    assert rules["spec"] == yaml.safe_load(ours)


@pytest.mark.parametrize("component", ["broker", "executor", "autoscaler"])
def test_a_program_knows_the_options_that_the_chart_gives_it(component):
    text = rendered("--set", "executor.replicas=1")
    pod = next(p for (_, name), p in pods(text).items() if name == f"flame-{component}")
    program = BIN / f"flame-{component}"
    known = subprocess.run([program, "--help"], text=True, capture_output=True, check=True).stdout
    for word in pod["containers"][0]["args"]:
        assert f"{word.split('=')[0]} " in known, f"{program.name}: {word}"


def test_the_autoscaler_takes_its_pod_defaults(tmp_path):
    defaults = objects(rendered())["ConfigMap", "flame-autoscaler"]["data"]["pods.yaml"]
    (tmp_path / "pods.yaml").write_text(defaults)
    # They are read first: what is left to complain of is the kubeconfig.
    words = ["--provider=kubernetes", "--broker=tcp://flame-broker:7701", "--kubeconfig=/nowhere"]
    command = [BIN / "flame-autoscaler", *words, f"--pod-defaults={tmp_path}/pods.yaml"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode != 0 and "/nowhere" in done.stderr, done.stderr


def test_the_schema_has_the_fields_of_pod_defaults():
    source = (ROOT / "autoscaler/kubernetes/deployment.cpp").read_text()
    # The default of `slots` is an option of the autoscaler: autoscaler.slots.
    fields = set(re.findall(r'Field\{"(\w+)", Kind', source)) - {"slots"}
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["autoscaler"]
    assert len(fields) > 15
    assert set(schema["properties"]["podDefaults"]["properties"]) == fields | {"allow"}


def test_redis_is_configured_as_for_compose():
    compose = (ROOT / "docker/redis.conf").read_text()
    chart = objects(rendered())["ConfigMap", "flame-redis"]["data"]["redis.conf"]
    own = {"dir", "include", "#"}
    theirs = [line for line in compose.splitlines() if line.split(" ")[0] not in own]
    assert [line for line in chart.splitlines() if line.split(" ")[0] not in own] == theirs


@pytest.mark.parametrize(
    "wrong, named",
    [
        ("broker.ring.sise=1GiB", "sise"),
        ("redis.appendfsync=no", "appendfsync"),
        ("autoscaler.replicas=0", "replicas"),
        ("autoscaler.podDefaults.imagee=x", "imagee"),
        ("autoscaler.extraArgs={now}", "extraArgs"),
        ("redis.enabled=false", "externalRedis.existingSecret"),
    ],
)
def test_wrong_values_are_named(wrong, named):
    done = helm("--set", wrong)
    assert done.returncode != 0 and named in done.stderr, done


def test_skaffold_builds_and_installs_what_is_there():
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    names = []
    for artifact in skaffold["build"]["artifacts"]:
        target = artifact["docker"]["target"]
        assert f" AS {target}\n" in dockerfile and artifact["image"] == f"flame-{target}"
        names.append(target)
    release = skaffold["deploy"]["helm"]["releases"][0]
    assert ROOT / release["chartPath"] == CHART
    words = [f"{key}=x/{key}:1" for key in release["setValueTemplates"]]
    text = rendered("--set", ",".join([*words, "executor.replicas=1"]))
    for name in names:
        assert f"image: x/images.{name}:1\n" in text
