"""Typed, lazy reading of the dictionaries that the API server sent.

Only the fields that decisions need are read. Nothing is trusted to be there: an object of an
older or newer version, or one that another client wrote, must not raise here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paddock_operator.plan.actions import Key

Json = Mapping[str, Any]

SANDBOX_LABEL = "paddock.dev/sandbox"
"""Only a watch selector and a help for people: ownership is the controller's uid."""
TRACE_ANNOTATION = "opentelemetry.io/trace-context"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time in UTC, or None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def get(obj: Json, *path: str) -> Any:
    """The value at a path of keys, or None as soon as something on the way is missing."""
    current: Any = obj
    for key in path:
        if not isinstance(current, Mapping):
            return None
        current = current.get(key)
    return current


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller ownerReference."""

    kind: str
    name: str
    uid: str
    api_version: str

    @property
    def ours(self) -> bool:
        """Of our API group: others have a kind Sandbox as well."""
        return self.api_version.startswith("paddock.dev/")


@dataclass(frozen=True, slots=True)
class ObjectView:
    """Metadata, spec and status of any object."""

    obj: Json

    @property
    def namespace(self) -> str:
        """'' for a cluster-scoped object."""
        return get(self.obj, "metadata", "namespace") or ""

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return str(get(self.obj, "metadata", "name") or "")

    @property
    def uid(self) -> str:
        """`metadata.uid`, the only thing that identifies an object."""
        return str(get(self.obj, "metadata", "uid") or "")

    @property
    def resource_version(self) -> str:
        """`metadata.resourceVersion`."""
        return str(get(self.obj, "metadata", "resourceVersion") or "")

    @property
    def generation(self) -> int:
        """`metadata.generation`; 0 if the kind has none."""
        return int(get(self.obj, "metadata", "generation") or 0)

    @property
    def created_at(self) -> datetime:
        """Server time of creation, whole seconds."""
        return parse_time(get(self.obj, "metadata", "creationTimestamp")) or EPOCH

    @property
    def deleting(self) -> bool:
        """True once somebody asked for its deletion."""
        return get(self.obj, "metadata", "deletionTimestamp") is not None

    @property
    def deleted_at(self) -> datetime | None:
        """For a pod the moment at which its grace is over; None while nobody wants it gone."""
        return parse_time(get(self.obj, "metadata", "deletionTimestamp"))

    @property
    def owner(self) -> Owner | None:
        """The one ownerReference with controller=true."""
        for ref in get(self.obj, "metadata", "ownerReferences") or ():
            if ref.get("controller"):
                return Owner(
                    *(str(ref.get(name) or "") for name in ("kind", "name", "uid", "apiVersion"))
                )
        return None

    @property
    def spec(self) -> Json:
        """`spec`, empty if absent."""
        return get(self.obj, "spec") or {}

    @property
    def status(self) -> Json:
        """`status`, empty if absent."""
        return get(self.obj, "status") or {}

    def condition(self, kind: str) -> Json | None:
        """The condition of this type."""
        for condition in self.status.get("conditions") or ():
            if condition.get("type") == kind:
                return condition  # type: ignore[no-any-return]
        return None

    def is_true(self, kind: str) -> bool:
        """Whether the condition of this type is there and True."""
        condition = self.condition(kind)
        return condition is not None and condition.get("status") == "True"

    def owned_by(self, uid: str) -> bool:
        """Whether the controller is the object with this uid."""
        owner = self.owner
        return owner is not None and owner.uid == uid


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One entry of `status.containerStatuses`."""

    state: Json
    restarts: int = 0
    last_state: Json | None = None

    @property
    def running(self) -> bool:
        """The kubelet says it runs."""
        return "running" in self.state

    @property
    def waiting(self) -> tuple[str, str] | None:
        """Reason and message while it cannot start."""
        waiting = self.state.get("waiting")
        if not waiting:
            return None
        return str(waiting.get("reason") or ""), str(waiting.get("message") or "")

    @property
    def terminated(self) -> Json | None:
        """exitCode, reason, message of its end."""
        return self.state.get("terminated")


NO_CONTAINER = ContainerView({})


@dataclass(frozen=True, slots=True)
class PodView(ObjectView):
    """A sandbox's pod."""

    @property
    def ip(self) -> str:
        """'' until the network is there."""
        return str(self.status.get("podIP") or "")

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Unknown."""
        return str(self.status.get("phase") or "Pending")

    def container(self, name: str) -> ContainerView:
        """Status of a container, empty before the kubelet wrote one."""
        for status in self.status.get("containerStatuses") or ():
            if status.get("name") == name:
                return ContainerView(
                    status.get("state") or {},
                    int(status.get("restartCount") or 0),
                    status.get("lastState"),
                )
        return NO_CONTAINER

    @property
    def unschedulable(self) -> str | None:
        """The scheduler's sentence when it found no node."""
        condition = self.condition("PodScheduled")
        if condition and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no node fits")
        return None

    @property
    def disruption(self) -> tuple[str, str] | None:
        """Reason and message of the condition DisruptionTarget: who in the cluster ended it."""
        condition = self.condition("DisruptionTarget")
        if condition and condition.get("status") == "True":
            return str(condition.get("reason") or ""), str(condition.get("message") or "")
        return None

    @property
    def volume_claim(self) -> str | None:
        """Name of the PersistentVolumeClaim that holds the workspace."""
        for volume in self.spec.get("volumes") or ():
            if volume.get("name") == "workspace":
                claim = get(volume, "persistentVolumeClaim", "claimName")
                return claim if isinstance(claim, str) else None
        return None

    @property
    def workspace_uid(self) -> int | None:
        """The user id that the pod's workspace runs as."""
        for container in self.spec.get("containers") or ():
            if container.get("name") == "workspace":
                uid = get(container, "securityContext", "runAsUser")
                return int(uid) if isinstance(uid, int) else None
        return None


def session_key(session: ObjectView) -> Key:
    """The key of an AgentSession."""
    return Key("AgentSession", session.namespace, session.name)


def sandbox_key(sandbox: ObjectView) -> Key:
    """The key of a Sandbox."""
    return Key("Sandbox", sandbox.namespace, sandbox.name)


def is_of_a_session(sandbox: ObjectView) -> bool:
    """Whether a session controls it; whatever else may (a workflow, nothing) did it by hand."""
    owner = sandbox.owner
    return owner is not None and owner.ours and owner.kind == "AgentSession"


def parent_of(key: Key, view: ObjectView) -> Key | None:
    """The key of the controller, if it is of our kinds."""
    owner = view.owner
    if owner is None or not owner.ours:
        return None
    if key.kind == "Pod" and owner.kind == "Sandbox":
        return Key("Sandbox", key.namespace, owner.name)
    if key.kind == "Sandbox" and owner.kind == "AgentSession":
        return Key("AgentSession", key.namespace, owner.name)
    return None


def trace_context(view: ObjectView) -> str | None:
    """The W3C traceparent that the creator left on the object, if it looks like one.

    The annotation holds either a bare traceparent or a JSON carrier, as peers write it.
    """
    raw = get(view.obj, "metadata", "annotations", TRACE_ANNOTATION)
    if not isinstance(raw, str) or len(raw) > 1024:
        return None
    if raw.startswith("{"):
        try:
            raw = json.loads(raw).get("traceparent")
        except (ValueError, RecursionError):
            return None
    if isinstance(raw, str) and _TRACEPARENT.fullmatch(raw):
        return raw
    return None
