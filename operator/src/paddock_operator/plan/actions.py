"""The closed set of things the operator can do, as data; engine/performing.py does them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from paddock_api.executions import ExecutionRequest
from paddock_api.messages import Configure

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON; never changed in place."""

Kind = Literal[
    "AgentSession",
    "Sandbox",
    "SandboxTemplate",
    "ClusterSandboxTemplate",
    "Pod",
    "PersistentVolumeClaim",
]
"""All that is read or written; claims are not watched."""


@dataclass(frozen=True, slots=True)
class Key:
    """What the queue and the store go by. Cluster-scoped kinds have namespace ''."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        """`Kind/namespace/name`, for logs."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


@dataclass(frozen=True, slots=True)
class Create:
    """Create a child; a name that is taken is success only if the controller uid is ours."""

    key: Key
    owner_uid: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object with exactly this uid; gone already is success."""

    key: Key
    uid: str


@dataclass(frozen=True, slots=True)
class PatchStatus:
    """Make `status` of the object (uid, resourceVersion as read) equal to `status`."""

    key: Key
    uid: str
    resource_version: str
    old: Mapping[str, Any]
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetSuspend:
    """Write `spec.suspend` of a session's own Sandbox (uid, resourceVersion as read)."""

    key: Key
    uid: str
    resource_version: str
    suspend: bool


@dataclass(frozen=True, slots=True)
class Emit:
    """A Kubernetes Event on the object; best effort, after the status it explains."""

    key: Key
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the runtime at this address whether it is ready, until it is or its pod goes."""

    sandbox: Key
    pod_uid: str
    ip: str


@dataclass(frozen=True, slots=True)
class Converse:
    """Tell the runtime its configuration (once per content) and run at most one execution.

    Repeating it is free: configure is a repeat for the runtime, an execution id is accepted
    once, and an engine that already has this conversation going does nothing.
    """

    session: Key
    session_uid: str
    sandbox_uid: str
    pod_uid: str
    ip: str
    configure: Configure
    expires_at: datetime
    execution: ExecutionRequest | None = None


@dataclass(frozen=True, slots=True)
class CancelExecution:
    """Ask the runtime to end this execution; its answer is a result like any other."""

    session: Key
    session_uid: str
    sandbox_uid: str
    pod_uid: str
    ip: str
    execution_id: str


Action = Create | Delete | PatchStatus | SetSuspend | Emit | Probe | Converse | CancelExecution


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order, and when to plan again even if nothing happens."""

    actions: tuple[Action, ...] = field(default=())
    requeue_at: datetime | None = None


def until(plan: Plan, moment: datetime | None) -> Plan:
    """The same plan, looked at again no later than this."""
    due = [when for when in (plan.requeue_at, moment) if when is not None]
    return Plan(plan.actions, min(due) if due else None)
