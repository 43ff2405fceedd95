# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What the autoscaler relies on of an API server, call by call: the fake server of the tests and,
by `make test-kube`, a real one answer alike."""

import copy
import json
import threading

import pytest
from conftest import KUBE, ROOT, wait_until
from control_plane import Client, Refused
from fake_api import FakeApi
from real_api import KINDS, RealApi

APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
OURS = "?fieldManager=flame-autoscaler&fieldValidation=Strict"
pytestmark = pytest.mark.brief


@pytest.fixture
def api(request):
    if KUBE:
        plane = request.getfixturevalue("control_plane")
        made = RealApi(plane, ROOT / "deploy/kubernetes/flame.yaml")
    else:
        made = FakeApi()
    yield made
    made.close()


class Caller:
    """The autoscaler's token; answers are (code, object)."""

    def __init__(self, api, token):
        self.client, self.space = Client(api.url, token, api.certificate), api.namespace

    def __call__(self, method, kind, name="", body=None, content="application/json", space=None):
        path = f"{KINDS[kind]}/namespaces/{space or self.space}/{kind}"
        path += f"/{name}" if name and name[0] != "?" else name
        try:
            return 200, self.client.call(method, path, body, content)
        except Refused as refused:
            return refused.code, refused.status

    def apply(self, body, query=OURS + "&force=true", **more):
        return self("PATCH", "deployments", "d" + query, body, APPLY, **more)


@pytest.fixture
def call(api):
    return Caller(api, api.new_token())


def deployment(**spec):
    labels = {"app": "x"}
    container = {"name": "c", "image": "x:1", "resources": {"requests": {"cpu": "1"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        **{"apiVersion": "apps/v1", "kind": "Deployment"},
        "metadata": {"name": "d", "labels": labels, "annotations": {"a": "1"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template} | spec,
    }


def changed(change):
    body = deployment()
    change(body)
    return body


def scale(of, replicas, **meta):
    meta = {"name": "d"} | {key: of["metadata"][key] for key in ("uid", "resourceVersion")} | meta
    return {
        **{"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta},
        "spec": {"replicas": replicas},
    }


def reason(answer):
    return answer[0], answer[1].get("reason")


def test_applying_makes_changes_and_leaves_alone(call):
    assert reason(call("GET", "deployments", "d")) == (404, "NotFound")
    code, made = call.apply(deployment())
    assert code == 200 and made["metadata"]["uid"] and made["spec"]["replicas"] == 0

    def settled():
        return call("GET", "deployments", "d")[1].get("status", {}).get("observedGeneration")

    wait_until(settled, "the controller has seen it")
    _, before = call("GET", "deployments", "d")
    _, same = call.apply(deployment())
    assert same["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    body = deployment(replicas=2)
    body["metadata"]["annotations"] = {"b": "2"}
    _, after = call.apply(body)
    notes = after["metadata"]["annotations"]
    assert after["spec"]["replicas"] == 2 and notes["b"] == "2" and "a" not in notes
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    wait_until(lambda: len(call("GET", "pods", "?labelSelector=app%3Dx")[1]["items"]) == 2, "pods")


def test_applying_an_old_version_is_a_conflict(call):
    _, made = call.apply(deployment())
    call.apply(deployment(replicas=1))
    body = deployment(replicas=2)
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert reason(call.apply(body)) == (409, "Conflict")


def container(body):
    return body["spec"]["template"]["spec"]["containers"][0]


WRONG = {
    # What has no such form is no 4xx when it is applied.
    "a field that does not exist": (
        lambda body: body["spec"].update(replicaz=1),
        *(500, "failed to create typed patch object (", "replicaz"),
    ),
    "a field that does not exist in a container": (
        lambda body: container(body).update(resources={"request": {}}),
        *(500, "failed to create typed patch object (", "resources.request"),
    ),
    "more than its limit": (
        lambda body: container(body).update(
            resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}
        ),
        *(422, "spec.template.spec.containers[0].resources.requests", "cpu limit"),
    ),
    "fewer than none": (lambda body: body["spec"].update(replicas=-1), *(422, "spec.replicas", "")),
    "labels that its selector does not choose": (
        lambda body: body["spec"]["template"]["metadata"].update(labels={"app": "y"}),
        *(422, "spec.template.metadata.labels", "selector"),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused(call, what):
    change, expected, *words = WRONG[what]
    code, status = call.apply(changed(change))
    assert code == expected and all(word in status["message"] for word in words), status


def test_making_what_has_no_such_form_is_a_bad_request(call):
    body = changed(lambda body: body["spec"].update(replicaz=1))
    code, status = call("POST", "deployments", OURS, body)
    assert (code, status["reason"]) == (400, "BadRequest") and "replicaz" in status["message"]


def test_what_cannot_be_changed_is_refused(call):
    call.apply(deployment())
    labels = {"app": "y"}
    body = deployment(selector={"matchLabels": labels})
    body["spec"]["template"]["metadata"]["labels"] = labels
    code, status = call.apply(body)
    assert code == 422 and "immutable" in status["message"], status


def test_who_applies_says_who_he_is_and_may_have_to_insist(call):
    code, status = call.apply(deployment(), "?fieldValidation=Strict&force=true")
    assert code in (400, 422) and "fieldManager" in status["message"], status
    call.apply(deployment())
    set_scale(call, 1, "other")
    code, status = call.apply(deployment(replicas=3), OURS)
    assert code == 409 and '"other"' in status["message"], status
    assert call.apply(deployment(replicas=3))[0] == 200


def newest(call, replicas, **meta):
    return scale(call("GET", "deployments", "d/scale")[1], replicas, **meta)


def set_scale(call, replicas, manager="flame-autoscaler"):
    """With the newest version; again where the controller wrote in between."""
    path = f"d/scale?fieldManager={manager}"

    def put():
        code, scaled = call("PUT", "deployments", path, newest(call, replicas))
        assert code in (200, 409), scaled
        return code == 200 and scaled

    return wait_until(put, "scaled")


def test_scaling_needs_the_newest_version(call):
    call.apply(deployment())
    old = newest(call, 2)
    scaled = set_scale(call, 1)
    assert scaled["spec"]["replicas"] == 1
    assert scaled["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]
    assert reason(call("PUT", "deployments", "d/scale" + OURS, old)) == (409, "Conflict")
    wrong = newest(call, 2, uid="00000000-0000-0000-0000-000000000000")
    assert reason(call("PUT", "deployments", "d/scale" + OURS, wrong)) == (409, "Conflict")
    # Whatever its version: it says nothing possible.
    negative = scale({"metadata": {"uid": None, "resourceVersion": None}}, -1)
    assert call("PUT", "deployments", "d/scale" + OURS, negative)[0] == 422


def test_deleting_the_right_one(call, api):
    _, made = call.apply(deployment(replicas=2))
    wait_until(lambda: len(api.all("pods")) == 2, "pods")
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    wrong = options | {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    assert reason(call("DELETE", "deployments", "d", wrong)) == (409, "Conflict")
    right = options | {"preconditions": {"uid": made["metadata"]["uid"]}}
    assert call("DELETE", "deployments", "d", right)[0] == 200
    assert reason(call("DELETE", "deployments", "d", right)) == (404, "NotFound")
    wait_until(lambda: not api.all("pods"), "those that run nowhere are gone at once")


def test_marking_a_pod(call, api):
    call.apply(deployment(replicas=1))
    [pod] = wait_until(lambda: api.all("pods"), "a pod")
    name = pod["metadata"]["name"] + "?fieldManager=flame-autoscaler"
    cost = {"controller.kubernetes.io/pod-deletion-cost": "-100"}
    _, marked = call("PATCH", "pods", name, {"metadata": {"annotations": cost}}, MERGE)
    assert cost.items() <= marked["metadata"]["annotations"].items()
    nothing = {"metadata": {"annotations": dict.fromkeys(cost)}}
    _, bare = call("PATCH", "pods", name, nothing, MERGE)
    assert not cost.keys() & bare["metadata"].get("annotations", {}).keys()
    assert call("PATCH", "pods", name, nothing, "application/json")[0] == 415


def lease(holder, version=None):
    meta = {"name": "l"} | ({"resourceVersion": version} if version else {})
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 0}
    spec["renewTime"] = "2026-01-01T00:00:00.000000Z"
    kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return kind | {"metadata": meta, "spec": spec}


def test_a_lease_is_taken_once(call):
    code, first = call("POST", "leases", OURS, lease("a"))
    assert code == 200 and first["spec"]["holderIdentity"] == "a"
    assert reason(call("POST", "leases", OURS, lease("b"))) == (409, "AlreadyExists")
    version = first["metadata"]["resourceVersion"]
    _, same = call("PUT", "leases", "l" + OURS, lease("a", version))
    assert same["metadata"]["resourceVersion"] == version, "nothing changed"
    code, given_back = call("PUT", "leases", "l" + OURS, lease("", version))
    assert code == 200 and given_back["spec"]["holderIdentity"] == ""
    assert reason(call("PUT", "leases", "l" + OURS, lease("b", version))) == (409, "Conflict")


def test_lists_come_in_pages_and_watches_go_on_from_them(call, api):
    call.apply(deployment(replicas=5))
    wait_until(lambda: len(api.all("pods")) == 5, "pods")
    names, token, versions = [], "", set()
    while True:
        _, page = call("GET", "pods", f"?limit=2&labelSelector=app%3Dx&continue={token}")
        names += [pod["metadata"]["name"] for pod in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert len(names) == len(set(names)) == 5 and len(versions) == 1
    assert not call("GET", "pods", "?labelSelector=app%3Dy")[1]["items"]
    events = watch(api, call, versions.pop())
    call("PATCH", "pods", names[0] + OURS, {"metadata": {"annotations": {"m": "1"}}}, MERGE)
    api.delete("pods", names[0])
    wait_until(lambda: any(e["type"] == "DELETED" for e in events), "it is told")
    told = [e for e in events if e["object"]["metadata"].get("name") == names[0]]
    assert [e["type"] for e in told][-1] == "DELETED"
    assert told[0]["object"]["metadata"]["annotations"]["m"] == "1"
    wait_until(lambda: any(e["type"] == "ADDED" for e in events), "and the one for it")


def watch(api, call, version):
    """Its events, as they come."""
    headers = call.client.headers
    client = Client(api.url, headers["Authorization"].removeprefix("Bearer "), api.certificate)
    query = f"?watch=true&timeoutSeconds=30&labelSelector=app%3Dx&resourceVersion={version}"
    path = f"/api/v1/namespaces/{api.namespace}/pods{query}"
    client.connection.request("GET", path, headers=client.headers)
    answer = client.connection.getresponse()
    assert answer.status == 200
    events = []

    def read():
        for line in answer:
            events.append(json.loads(line))

    threading.Thread(target=read, daemon=True).start()
    return events


def test_who_may_not_is_told(call, api):
    code, status = Caller(api, "n0ne")("GET", "deployments")
    assert (code, status["reason"]) == (401, "Unauthorized")
    code, status = Caller(api, "")("GET", "deployments")
    assert (code, status["reason"]) == (403, "Forbidden")
    api.forbid("delete", "deployments")
    # A server learns of another Role when it does.
    wait_until(lambda: call("DELETE", "deployments", "d")[0] == 403, "no right")
    code, status = call("DELETE", "deployments", "d")
    assert status["reason"] == "Forbidden" and "cannot delete" in status["message"]
    api.allow_all()
    wait_until(lambda: call("DELETE", "deployments", "d")[0] == 404, "the right again")


def test_a_namespace_that_is_not_there(api):
    admin = Caller(api, "adm1n")
    assert reason(admin.apply(deployment(), space="nowhere")) == (404, "NotFound")
    body = copy.deepcopy(deployment())
    assert reason(admin("POST", "deployments", "", body, space="nowhere")) == (404, "NotFound")
