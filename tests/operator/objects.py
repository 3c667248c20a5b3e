"""Objects as the API server would send them, small and complete."""

import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.operator.schema import default_status

from paddock_api.base import format_time
from paddock_api.names import sandbox_name
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.pods import PodSettings, build_pod
from paddock_operator.plan.views import ObjectView

Json = dict[str, Any]

NOW = datetime(2026, 8, 1, 9, 30, tzinfo=UTC)
SESSION_UID = "5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11"
SANDBOX_UID = "0f6d1c3a-1111-4a55-8d5e-2f4f5a3b9c01"
POD_UID = "9a7c0d2e-2222-4c1b-9f00-7d1e6b8a4c02"
NAME = sandbox_name("hello", SESSION_UID)
POD_SETTINGS = PodSettings("registry/paddock-runtime:1", "a2V5", restart_rules=True)
WORKSPACE_UID = 200_003
GIVEN = {"maxDuration": "10m", "idleTimeout": "15m"}
"""The lifetime that the session below gives to its sandbox."""


def after(seconds: float) -> datetime:
    """So many seconds after the session was created."""
    return NOW + timedelta(seconds=seconds)


def step(name: str = "greet", **fields: Any) -> Json:
    """One step of a session's spec, Python unless told otherwise."""
    program = {} if "argv" in fields else {"language": "python", "code": "print('hello')"}
    return {"name": name, **program, **fields}


def session(
    *steps: Mapping[str, Any],
    status: Mapping[str, Any] | None = None,
    name: str = "hello",
    uid: str = SESSION_UID,
    version: str = "100",
    max_duration: str | None = "10m",
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Json:
    """An AgentSession; its status is the schema's default unless given."""
    metadata: Json = {
        "name": name,
        "namespace": "team",
        "uid": uid,
        "resourceVersion": version,
        "generation": 1,
        "creationTimestamp": format_time(NOW),
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    body: Json = {"user": "alice", "templateRef": {"name": "python"}, **spec}
    if steps:
        body["steps"] = [dict(entry) for entry in steps]
    if max_duration is not None:
        body["lifetime"] = {"maxDuration": max_duration}
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": metadata,
        "spec": body,
        "status": dict(status) if status is not None else default_status("AgentSession"),
    }


def sandbox(
    *,
    status: Mapping[str, Any] | None = None,
    owner_uid: str | None = SESSION_UID,
    uid: str = SANDBOX_UID,
    name: str = NAME,
    version: str = "110",
    deleting: bool = False,
    **spec: Any,
) -> Json:
    """A Sandbox of the session above; made by hand with `owner_uid=None`."""
    metadata: Json = {
        "name": name,
        "namespace": "team",
        "uid": uid,
        "resourceVersion": version,
        "generation": 1,
        "creationTimestamp": format_time(NOW),
    }
    if owner_uid is not None:
        metadata["ownerReferences"] = [owner_entry("AgentSession", "hello", owner_uid)]
    if deleting:
        metadata["deletionTimestamp"] = format_time(NOW)
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": metadata,
        "spec": {
            "templateRef": {"name": "python"},
            **({"lifetime": GIVEN} if owner_uid is not None else {}),
            **spec,
        },
        "status": dict(status) if status is not None else default_status("Sandbox"),
    }


def owner_entry(kind: str, name: str, uid: str) -> Json:
    """A controller ownerReference."""
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
    }


def ready_status(pod_uid: str = POD_UID, **more: Any) -> Json:
    """The status of a sandbox whose runtime has answered."""
    return {
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True", "Answering", "the runtime answers.")],
        "podName": NAME,
        "podUid": pod_uid,
        "podIP": "10.0.0.7",
        "workspaceUid": WORKSPACE_UID,
        "readyAt": format_time(after(1)),
        **more,
    }


def condition(
    kind: str, status: str, reason: str, message: str = "", since: datetime = NOW
) -> Json:
    """One metav1.Condition."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": format_time(since),
    }


def pod(
    *,
    runtime: Mapping[str, Any] | None = None,
    workspace: Mapping[str, Any] | None = None,
    ip: str = "10.0.0.7",
    phase: str = "Running",
    restart_rules: bool = True,
    deleting: bool = False,
    uid: str = POD_UID,
    owner_uid: str = SANDBOX_UID,
    template: SandboxTemplateSpec | None = None,
    disrupted: str | None = None,
    **status: Any,
) -> Json:
    """The pod that the operator makes for the sandbox above, as the kubelet reports it.

    `runtime` and `workspace` are container states; running unless given.
    """
    owner = sandbox(uid=owner_uid)
    settings = PodSettings("registry/paddock-runtime:1", "a2V5", restart_rules=restart_rules)
    made = build_pod(ObjectView(owner), template or SandboxTemplateSpec(), settings, WORKSPACE_UID)
    made["metadata"] |= {
        "uid": uid,
        "resourceVersion": "120",
        "creationTimestamp": format_time(NOW),
    }
    if deleting:
        made["metadata"]["deletionTimestamp"] = format_time(NOW)
    made["status"] = {"phase": phase, **status}
    if ip:
        made["status"]["podIP"] = ip
    if disrupted is not None:
        made["status"]["conditions"] = [condition("DisruptionTarget", "True", disrupted, "why")]
    made["status"]["containerStatuses"] = [
        container("runtime", runtime if runtime is not None else RUNNING),
        container("workspace", workspace if workspace is not None else RUNNING),
    ]
    return made


RUNNING: Json = {"running": {"startedAt": format_time(NOW)}}


def container(name: str, state: Mapping[str, Any]) -> Json:
    """One entry of containerStatuses."""
    return {"name": name, "state": copy.deepcopy(dict(state)), "restartCount": 0}


def terminated(code: int, reason: str = "Error", message: str = "") -> Json:
    """The state of a container that has ended."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def waiting(reason: str, message: str = "") -> Json:
    """The state of a container that cannot start."""
    return {"waiting": {"reason": reason, "message": message}}


def step_statuses(*states: tuple[str, Mapping[str, Any]]) -> list[Json]:
    """`status.steps` from (name, fields) pairs; fields without state mean Finished."""
    return [{"name": name, "state": "Finished", **fields} for name, fields in states]


def working_status(*steps: Mapping[str, Any], sandbox_uid: str = SANDBOX_UID) -> Json:
    """The status of a session whose sandbox answers and whose steps stand like this."""
    return {
        "observedGeneration": 1,
        "phase": "Running" if steps else "Ready",
        "conditions": [
            condition("Ready", "True", "Answering", f"sandbox/{NAME} answers."),
            condition("SandboxReady", "True", "Answering", f"sandbox/{NAME} answers."),
        ],
        "startedAt": format_time(NOW),
        "sandbox": {"name": NAME, "uid": sandbox_uid, "launch": "Cold"},
        "expiresAt": format_time(after(600)),
        "readyAt": format_time(after(1)),
        **({"steps": [dict(entry) for entry in steps]} if steps else {}),
    }


def template(spec: Mapping[str, Any] | None = None, *, kind: str = "SandboxTemplate") -> Json:
    """A template object named python."""
    metadata: Json = {"name": "python", "uid": "t-1", "resourceVersion": "1", "generation": 1}
    if kind == "SandboxTemplate":
        metadata["namespace"] = "team"
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": dict(spec or {}),
    }


def names_of(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Their `name` or `type`, in order."""
    return [str(entry.get("name", entry.get("type"))) for entry in entries]


def ended_text(execution_id: str, **fields: Any) -> Json:
    """An ended execution as the runtime puts it into its termination message."""
    return {
        "id": execution_id,
        "state": "Finished",
        "reason": "Cancelled",
        "acceptedAt": format_time(NOW),
        **fields,
    }
