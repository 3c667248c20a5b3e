"""What keeps a session from starting: one condition with a reason and a sentence that helps.

None of these ends the session: it goes on by itself as soon as the trouble is gone.
"""

import time
from dataclasses import dataclass

import pykube
import pytest
from e2e.installation import Paddock
from e2e.kube import Json, Kube, Sandbox, condition
from e2e.sandboxes import (
    foreign_pod,
    foreign_sandbox,
    pod_of,
    python,
    session,
    template,
    until_ready,
)
from pykube.objects import NamespacedAPIObject

from paddock_api.names import child_name

pytestmark = pytest.mark.usefixtures("paddock")
HELLO = python("greet", "print('hello')")


def told(seen: Json, reason: str) -> str:
    """The message of the trouble, after a check that all conditions tell the same."""
    ready, reconciling = condition(seen, "Ready"), condition(seen, "Reconciling")
    assert (ready["status"], ready["reason"]) == ("Unknown", reason)
    assert (reconciling["status"], reconciling["reason"]) == ("True", reason)
    assert condition(seen, "SandboxReady")["status"] == "False"
    assert not condition(seen, "Finished")
    assert not condition(seen, "Stalled")
    assert ready["message"] == reconciling["message"]
    return str(ready["message"])


def succeeded(kube: Kube, name: str, namespace: str, timeout: float = 60) -> None:
    """The session gets over it: no word of the trouble is left."""
    seen = kube.finished(name, namespace, timeout)
    assert seen["status"]["phase"] == "Succeeded"
    kinds = {entry["type"] for entry in seen["status"]["conditions"]}
    assert kinds == {"Ready", "SandboxReady", "Finished", "Complete"}


def test_a_missing_template_is_named_and_the_session_starts_when_it_comes(
    kube: Kube, shared_namespace: str
) -> None:
    kube.kubectl.apply(session("early", HELLO, template={"name": "later"}), shared_namespace)
    seen = kube.troubled("early", shared_namespace, "TemplateNotFound")
    message = told(seen, "TemplateNotFound")
    assert message.startswith("SandboxTemplate/later does not exist. Create it")
    assert seen["status"]["phase"] == "Pending"
    kube.kubectl.apply(template("later"), shared_namespace)
    succeeded(kube, "early", shared_namespace)


def test_an_image_that_cannot_be_had_is_named_and_the_session_can_be_deleted(
    kube: Kube, namespace: str
) -> None:
    kube.kubectl.apply(template("typo", image="localhost/no-such-image:1"), namespace)
    kube.kubectl.apply(session("no-image", HELLO, template={"name": "typo"}), namespace)
    seen = kube.troubled("no-image", namespace, "ImageUnavailable")
    message = told(seen, "ImageUnavailable")
    assert "container workspace of pod no-image-" in message
    assert "Check the template's image" in message
    assert "localhost/no-such-image:1" in message
    assert seen["status"]["phase"] == "Starting"
    assert kube.until_event(namespace, "no-image", "ImageUnavailable") == ["ImageUnavailable"]
    kube.kubectl("delete", "ags", "no-image", namespace=namespace)
    kube.until_empty(namespace)


def test_a_sandbox_that_no_node_has_room_for_is_said_to_be_so(kube: Kube, namespace: str) -> None:
    kube.kubectl.apply(template("huge", resources={"memory": "200Gi"}), namespace)
    kube.kubectl.apply(session("no-room", HELLO, template={"name": "huge"}), namespace)
    message = told(kube.troubled("no-room", namespace, "Unschedulable"), "Unschedulable")
    assert message.startswith("no node has room for pod no-room-")
    assert "Insufficient memory" in message
    assert "lower resources in the template" in message
    kube.kubectl("delete", "ags", "no-room", namespace=namespace)
    kube.until_empty(namespace)


def test_a_used_up_quota_is_named_and_the_session_starts_when_there_is_room(
    kube: Kube, namespace: str
) -> None:
    kube.kubectl.apply(session("holder"), namespace)
    until_ready(kube, "holder", namespace)
    kube.kubectl("create", "quota", "one-pod", "--hard=pods=1", namespace=namespace)
    kube.kubectl.apply(session("second", HELLO), namespace)
    message = told(kube.troubled("second", namespace, "QuotaExceeded"), "QuotaExceeded")
    assert "exceeded quota: one-pod" in message
    assert "Raise the ResourceQuota or wait until other sandboxes of the namespace end" in message
    kube.kubectl("delete", "ags", "holder", namespace=namespace)
    succeeded(kube, "second", namespace)


@dataclass(frozen=True)
class Guest:
    """A session whose sandbox or pod finds its name taken by an object of somebody else."""

    session: str
    kind: type[NamespacedAPIObject]
    name: str
    before: Json


@pytest.fixture(scope="module")
def guests(kube: Kube, paddock: Paddock, shared_namespace: str) -> dict[str, Guest]:
    """Three of them, waiting. Their names are known while they wait for a template."""
    wanted: dict[str, tuple[type[NamespacedAPIObject], dict[str, str]]] = {
        "sandbox": (Sandbox, {"whose": "somebody-else"}),
        "pod": (pykube.Pod, {"whose": "somebody-else"}),
        "labelled-pod": (pykube.Pod, {"paddock.dev/sandbox": "mine"}),
    }
    made = {}
    for name, (kind, labels) in wanted.items():
        waiting = session(name, HELLO, template={"name": "for-guests"})
        kube.kubectl.apply(waiting, shared_namespace)
        seen = kube.troubled(name, shared_namespace, "TemplateNotFound")
        taken = child_name(name, seen["metadata"]["uid"])
        foreign = foreign_sandbox(taken, labels)
        if kind is pykube.Pod:
            foreign = foreign_pod(taken, labels, paddock.runtime_image)
        kube.kubectl.apply(foreign, shared_namespace)
        before = kube.find(kind, taken, shared_namespace)
        assert before is not None
        made[name] = Guest(name, kind, taken, before)
    kube.kubectl.apply(template("for-guests"), shared_namespace)
    return made


@pytest.mark.parametrize("name", ["sandbox", "pod", "labelled-pod"])
def test_an_object_of_somebody_else_with_our_name_is_left_alone(
    kube: Kube, shared_namespace: str, guests: dict[str, Guest], name: str
) -> None:
    guest = guests[name]
    message = told(kube.troubled(name, shared_namespace, "NameTaken"), "NameTaken")
    assert guest.name in message
    assert "Delete" in message
    time.sleep(1)
    after = kube.find(guest.kind, guest.name, shared_namespace)
    assert after is not None
    assert _without_status(after) == _without_status(guest.before)


def test_sessions_start_when_somebody_else_s_objects_are_gone(
    kube: Kube, shared_namespace: str, guests: dict[str, Guest]
) -> None:
    for guest in guests.values():
        plural = guest.kind.endpoint
        kube.kubectl(
            "delete", plural, guest.name, "--grace-period=0", "--force", namespace=shared_namespace
        )
    for name in guests:
        succeeded(kube, name, shared_namespace)
    kube.until_empty(shared_namespace)


def test_an_open_session_is_ready_and_answers(kube: Kube, namespace: str) -> None:
    kube.kubectl.apply(session("open"), namespace)
    seen = until_ready(kube, "open", namespace)
    assert seen["status"]["phase"] == "Ready"
    assert condition(seen, "Ready")["reason"] == "Answering"
    assert pod_of(kube, seen)["status"]["phase"] == "Running"
    kube.kubectl("delete", "ags", "open", namespace=namespace)
    kube.until_empty(namespace)


def _without_status(obj: Json) -> Json:
    metadata = obj["metadata"]
    ignored = ("resourceVersion", "managedFields")
    return {
        "metadata": {name: value for name, value in metadata.items() if name not in ignored},
        "spec": obj["spec"],
    }
