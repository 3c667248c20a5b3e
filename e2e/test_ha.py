"""Two replicas: the leader's pod goes in the middle of a session, and the other takes over."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.installation import Paddock
from e2e.kube import Json, Kube, until
from e2e.sandboxes import bash, session

TAKE_OVER_S = 3.0
"""From the lease given back until the other holds it; before that the kubelet stops the pod."""
STOP_S = 10.0
RAN = "runs.txt"
STEPS = (
    *(bash(f"work-{n}", f"echo {n} >> {RAN}; sleep 2; echo done {n}") for n in range(4)),
    bash("fail", "exit 3", continueOnFailure=True),
    bash("count", f"cat {RAN}"),
)


@pytest.fixture
def two(paddock: Paddock) -> Iterator[Paddock]:
    """The operator with a second replica."""
    paddock.scale(2)
    yield paddock
    paddock.scale(1)


def outcome(seen: Json) -> list[Any]:
    """How a session ended, without times and measurements."""
    status = seen["status"]
    kept = ("name", "state", "reason", "exitCode", "stdoutTail")
    steps = [[entry.get(name) for name in kept] for entry in status["steps"]]
    conditions = sorted(
        [entry["type"], entry["status"], entry["reason"]] for entry in status["conditions"]
    )
    return [status["phase"], status["executions"], steps, conditions]


def test_a_session_ends_as_undisturbed_when_its_leader_goes(
    kube: Kube, two: Paddock, namespace: str
) -> None:
    kube.kubectl.apply(session("undisturbed", *STEPS), namespace)
    undisturbed = kube.finished("undisturbed", namespace)

    kube.kubectl.apply(session("disturbed", *STEPS), namespace)
    kube.until_session(
        "disturbed",
        namespace,
        lambda seen: any(
            entry["name"] == "work-1" and entry["state"] == "Running"
            for entry in (seen.get("status") or {}).get("steps") or ()
        ),
        "runs its second step",
        timeout=60,
    )
    old = two.leader()
    assert old is not None
    transitions = two.lease()["leaseTransitions"]
    kube.kubectl("delete", "pod", old, "--wait=false", namespace=two.namespace)
    begun = time.monotonic()
    until(lambda: not_named(two, old), f"{old} gives the lease back", STOP_S, two.log, every=0.02)
    released = time.monotonic()
    until(lambda: two.leader() not in (None, old), "the other leads", TAKE_OVER_S, two.log)
    print(f"stopped {released - begun:.1f} s, taken over {time.monotonic() - released:.1f} s later")

    disturbed = kube.finished("disturbed", namespace)
    assert outcome(disturbed) == outcome(undisturbed)
    steps = disturbed["status"]["steps"]
    assert steps[-1]["stdoutTail"] == "0\n1\n2\n3\n", "each ran once"
    assert two.lease()["leaseTransitions"] == transitions + 1
    two.until_ready(2)
    kube.until_empty(namespace)


def not_named(paddock: Paddock, pod: str) -> bool:
    """Whether the lease names somebody else or nobody."""
    return not str(paddock.lease().get("holderIdentity") or "").startswith(f"{pod}_")
