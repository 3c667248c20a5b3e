"""Lifetimes end by themselves, whether or not an operator is there to see it."""

import time

import pykube
import pytest
from e2e.installation import Paddock
from e2e.kube import AgentSession, Json, Kube, Sandbox, condition, step, until
from e2e.sandboxes import (
    bash,
    edit,
    foreign_pod,
    how,
    pod_of,
    python,
    runs,
    sandbox,
    session,
    template,
    until_ready,
    until_sandbox,
)

from paddock_api.quantities import Quantity

pytestmark = pytest.mark.usefixtures("paddock")
SLOW = python("slow", "import time; print('begun', flush=True); time.sleep(30)")
GIB = 1 << 30
RETURN_S = 10.0
"""Within so many seconds of the operator's return the truth is told and the pod is gone."""


def test_an_open_session_that_nobody_uses_ends_as_idle(kube: Kube, namespace: str) -> None:
    kube.kubectl.apply(session("idle", lifetime={"idleTimeout": "2s"}), namespace)
    seen = kube.finished("idle", namespace)
    assert seen["status"]["phase"] == "Expired"
    for kind in ("Ready", "Finished", "Complete"):
        assert (condition(seen, kind)["status"], condition(seen, kind)["reason"]) == (
            "True",
            "Idle",
        )
    kube.until_empty(namespace)


def test_a_finished_session_goes_after_its_ttl_which_may_be_set_late(
    kube: Kube, namespace: str
) -> None:
    kube.kubectl.apply(session("hello", bash("greet", "echo hello")), namespace)
    kube.kubectl.apply(
        session("brief", bash("greet", "echo hello"), lifetime={"ttlAfterFinished": "2s"}),
        namespace,
    )
    kube.finished("hello", namespace)
    until(lambda: kube.find(AgentSession, "brief", namespace) is None, "brief is gone", 20)
    assert kube.find(AgentSession, "hello", namespace) is not None, "unset keeps it"
    edit(kube, "hello", namespace, lifetime={"ttlAfterFinished": "1s"})
    until(lambda: kube.find(AgentSession, "hello", namespace) is None, "hello is gone", 10)


def test_a_life_is_shortened_and_lengthened_while_it_runs(kube: Kube, namespace: str) -> None:
    for name in ("shorter", "longer"):
        lifetime = {"maxDuration": "1h" if name == "shorter" else "12s"}
        kube.kubectl.apply(session(name, lifetime=lifetime), namespace)
    for name in ("shorter", "longer"):
        until_ready(kube, name, namespace)
    edit(kube, "longer", namespace, lifetime={"maxDuration": "1h"})
    edit(kube, "shorter", namespace, lifetime={"maxDuration": "1s"})
    seen = kube.finished("shorter", namespace, timeout=20)
    assert how(seen) == (
        "Expired",
        "Expired",
    )
    time.sleep(12)
    seen = kube.session("longer", namespace)
    assert seen["status"]["phase"] == "Ready", "it outlived its first maxDuration"
    edit(kube, "longer", namespace, lifetime={"maxDuration": "25h"})

    def told(seen: Json) -> bool:
        return "above the 24h" in condition(seen, "Ready")["message"]

    seen = kube.until_session("longer", namespace, told, "says why it is not longer", 10)
    assert seen["status"]["phase"] == "Ready"


def test_containers_end_without_an_operator_and_the_truth_is_told_when_it_returns(
    kube: Kube, paddock: Paddock, namespace: str
) -> None:
    long = session("deadline", SLOW, bash("after", "true"), lifetime={"maxDuration": "12s"})
    kube.kubectl.apply(long, namespace)
    kube.kubectl.apply(session("idle", lifetime={"idleTimeout": "6s"}), namespace)
    kube.kubectl.apply(sandbox("by-hand", lifetime={"maxDuration": "12s"}), namespace)
    pods = [pod_of(kube, until_ready(kube, name, namespace)) for name in ("deadline", "idle")]
    until_sandbox(kube, "by-hand", namespace, "Ready")
    names = [pod["metadata"]["name"] for pod in pods] + ["by-hand"]
    paddock.scale(0)
    try:

        def ended() -> bool:
            found = [kube.find(pykube.Pod, name, namespace) for name in names]
            return all(pod and pod["status"]["phase"] == "Succeeded" for pod in found)

        until(ended, "all pods ended by themselves", 30)
    finally:
        paddock.scale(1)
    back = time.monotonic()
    seen = kube.finished("deadline", namespace, timeout=RETURN_S)
    assert seen["status"]["phase"] == "Failed"
    assert condition(seen, "Failed")["reason"] == "DeadlineExceeded"
    slow = step(seen, "slow")
    assert (slow["reason"], slow["durationMs"] > 1000) == ("Cancelled", True), "kept in the pod"
    assert step(seen, "after")["state"] == "Skipped"
    seen = kube.finished("idle", namespace, timeout=RETURN_S)
    assert how(seen) == ("Expired", "Idle")
    seen = until_sandbox(kube, "by-hand", namespace, "Finished", timeout=RETURN_S)
    assert condition(seen, "Finished")["reason"] == "DeadlineExceeded"
    until(lambda: not kube.all(pykube.Pod, namespace), "all pods are gone", RETURN_S)
    assert time.monotonic() - back < RETURN_S


def test_a_sandbox_made_by_hand_ends_is_kept_and_goes_after_its_ttl(
    kube: Kube, namespace: str
) -> None:
    kube.kubectl.apply(template("absent", image="localhost/nobody/nothing:1"), namespace)
    lifetime = {"maxDuration": "4s", "ttlAfterFinished": "3s"}
    kube.kubectl.apply(sandbox("works", lifetime=lifetime), namespace)
    kube.kubectl.apply(sandbox("stuck", {"name": "absent"}, lifetime=lifetime), namespace)
    kube.kubectl.apply(sandbox("greedy", lifetime={"maxDuration": "25h"}), namespace)
    for name in ("works", "stuck"):
        seen = until_sandbox(kube, name, namespace, "Finished")
        assert condition(seen, "Finished")["reason"] == "DeadlineExceeded"
    until(lambda: not kube.all(pykube.Pod, namespace), "their pods are gone", 20)
    seen = until_sandbox(kube, "greedy", namespace, "Stalled")
    assert condition(seen, "Stalled")["reason"] == "DurationAboveCeiling"
    assert "the template's ceiling is 24h" in condition(seen, "Stalled")["message"]
    edit(kube, "greedy", namespace, kind="sbx", lifetime={"maxDuration": "1h"})
    until_sandbox(kube, "greedy", namespace, "Ready")
    for name in ("works", "stuck"):
        until(lambda n=name: kube.find(Sandbox, n, namespace) is None, f"{name} is gone", 20)


def test_a_sandbox_that_goes_before_anything_ran_in_it_is_replaced(
    kube: Kube, namespace: str
) -> None:
    # On a node: one that waits for a node goes so fast that nobody may see who deleted it.
    kube.kubectl.apply(template("mends", image="localhost/nobody/nothing:1"), namespace)
    kube.kubectl.apply(session("waits", bash("a", "true"), template={"name": "mends"}), namespace)
    kube.troubled("waits", namespace, "ImageUnavailable")
    (first,) = kube.all(Sandbox, namespace)
    pod = first["metadata"]["name"]
    kube.kubectl.apply(template("mends"), namespace)
    kube.kubectl("delete", "pod", pod, namespace=namespace)
    seen = kube.finished("waits", namespace)
    assert seen["status"]["phase"] == "Succeeded"
    assert seen["status"]["sandboxesLost"] == 1
    assert seen["status"]["sandbox"]["uid"] != first["metadata"]["uid"]
    assert kube.until_event(namespace, "waits", "PodDeleted")


def test_a_drained_pod_is_told_as_evicted_with_the_step_s_last_words(
    kube: Kube, namespace: str
) -> None:
    kube.kubectl.apply(session("drained", SLOW), namespace)
    name = kube.until_session("drained", namespace, runs, "runs", 60)["status"]["sandbox"]["name"]
    time.sleep(1)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    kube.kubectl("create", "--raw", path, "-f", "-", stdin=eviction)
    seen = kube.finished("drained", namespace)
    assert condition(seen, "Failed")["reason"] == "Evicted"
    assert "drain" in condition(seen, "Failed")["message"]
    slow = step(seen, "slow")
    assert slow["reason"] == "Cancelled", "its runtime said so before it went"
    assert slow["durationMs"] >= 1000


def test_a_pod_that_makes_room_for_another_is_told_as_preempted(
    kube: Kube, paddock: Paddock, namespace: str
) -> None:
    (node,) = pykube.Node.objects(kube.api)
    pods = [pod.obj for pod in pykube.Pod.objects(kube.api, namespace=pykube.all)]
    live = [pod for pod in pods if pod["status"]["phase"] in ("Pending", "Running")]
    asked = [c["resources"].get("requests") or {} for p in live for c in p["spec"]["containers"]]
    taken = sum(Quantity(requests.get("memory", "0")).value for requests in asked)
    free = Quantity(node.obj["status"]["allocatable"]["memory"]).value - taken
    kube.kubectl.apply(template("large", resources={"memory": str(free - 2 * GIB)}), namespace)
    kube.kubectl.apply(session("modest", SLOW, template={"name": "large"}), namespace)
    kube.until_session("modest", namespace, runs, "runs", 60)
    time.sleep(1)
    name = f"{namespace}-urgent"
    kube.kubectl.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": 1000,
        }
    )
    try:
        urgent = foreign_pod("urgent", {}, paddock.runtime_image)
        del urgent["spec"]["nodeSelector"]
        urgent["spec"] |= {"priorityClassName": name}
        urgent["spec"]["containers"][0]["resources"] = {"requests": {"memory": str(4 * GIB)}}
        kube.kubectl.apply(urgent, namespace)
        seen = kube.finished("modest", namespace)
    finally:
        kube.kubectl("delete", "priorityclass", name, "--ignore-not-found")
        kube.kubectl("delete", "pod", "urgent", "--ignore-not-found", namespace=namespace)
    assert how(seen) == ("Failed", "Preempted")
    assert step(seen, "slow")["reason"] == "Cancelled"
