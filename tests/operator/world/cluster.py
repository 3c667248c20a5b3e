"""A model of the API server: objects with uids and versions, preconditions, garbage collection.

Every version of an object is a new dictionary that nobody changes, so handing it out is a
snapshot. What happens is kept as a log of watch events.
"""

import copy
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.operator.schema import check_status, default_status

from paddock_api.base import format_time
from paddock_operator.plan.actions import Key, Kind
from paddock_operator.plan.views import SANDBOX_LABEL, ObjectView

Json = dict[str, Any]
WITH_STATUS = ("AgentSession", "Sandbox")


class Refused(Exception):
    """An answer that is not success: HTTP status and the body of a metav1.Status."""

    def __init__(self, status: int, reason: str, message: str = "", **details: Any) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.body = {"reason": reason, "message": message or reason, "details": details}


@dataclass(frozen=True, slots=True)
class Event:
    """One watch event."""

    type: str
    kind: Kind
    obj: Json

    @property
    def watched(self) -> bool:
        """Of pods only those with our label are, claims never."""
        if self.kind == "PersistentVolumeClaim":
            return False
        return self.kind != "Pod" or SANDBOX_LABEL in self.obj["metadata"].get("labels", {})


class Cluster:
    """The truth. `observers` are called with every event, in order."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._versions = itertools.count(1000)
        self._uids = itertools.count(1)
        self.objects: dict[Key, Json] = {}
        self.observers: list[Callable[[Event], None]] = []
        self.writing: list[Callable[[Key, Json | None, Json | None], None]] = []
        """Called before every change, with the version before and after it."""
        self.no_quota_for: set[str] = set()
        self.terminating: set[str] = set()
        """Namespaces that are being deleted."""

    @property
    def version(self) -> str:
        """resourceVersion of a list of now."""
        return str(next(self._versions))

    def of_kind(self, kind: str) -> list[tuple[Key, Json]]:
        """All objects of a kind."""
        return [(key, obj) for key, obj in self.objects.items() if key.kind == kind]

    def create(self, kind: Kind, namespace: str, manifest: Mapping[str, Any]) -> Json:
        """Raises Refused 409 for a taken name, 403 for a quota or a namespace that is leaving."""
        obj = copy.deepcopy(dict(manifest))
        key = Key(kind, namespace, obj["metadata"]["name"])
        if namespace in self.terminating:
            cause = {"reason": "NamespaceTerminating"}
            raise Refused(403, "Forbidden", f"namespace {namespace} is leaving", causes=[cause])
        if key in self.objects:
            raise Refused(409, "AlreadyExists", f"{kind} {key.name} already exists")
        if kind in self.no_quota_for:
            raise Refused(403, "Forbidden", f"{key.name} is forbidden: exceeded quota: few")
        obj["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.UUID(int=next(self._uids))),
            "generation": 1,
            "creationTimestamp": format_time(self._now().replace(microsecond=0)),
        }
        if not namespace:
            del obj["metadata"]["namespace"]
        if kind in WITH_STATUS:
            obj["status"] = default_status(kind)
        if kind == "Pod":
            obj["status"] = {"phase": "Pending"}
        return self._store("ADDED", key, obj)

    def patch_status(self, key: Key, uid: str, version: str, patch: Mapping[str, Any]) -> Json:
        """A merge patch of the status with both preconditions."""
        old = self._get(key)
        view = ObjectView(old)
        if view.uid != uid or view.resource_version != version:
            raise Refused(409, "Conflict", f"{key} has been modified")
        status = apply_merge_patch(old.get("status") or {}, patch)
        if status == old.get("status"):
            return old
        check_status(key.kind, status)
        return self._store("MODIFIED", key, {**old, "status": status})

    def patch_spec(self, key: Key, uid: str, version: str, patch: Mapping[str, Any]) -> Json:
        """A merge patch of the spec with both preconditions; moves the generation."""
        old = self._get(key)
        view = ObjectView(old)
        if view.uid != uid or view.resource_version != version:
            raise Refused(409, "Conflict", f"{key} has been modified")
        spec = apply_merge_patch(old.get("spec") or {}, patch)
        if spec == old.get("spec"):
            return old
        metadata = {**old["metadata"], "generation": view.generation + 1}
        return self._store("MODIFIED", key, {**old, "metadata": metadata, "spec": spec})

    def edit(self, key: Key, change: Callable[[Json], None]) -> None:
        """A user edits the spec."""
        old = self._get(key)
        spec = copy.deepcopy(old["spec"])
        change(spec)
        if spec != old["spec"]:
            metadata = {**old["metadata"], "generation": ObjectView(old).generation + 1}
            self._store("MODIFIED", key, {**old, "metadata": metadata, "spec": spec})

    def change(self, key: Key, change: Callable[[Json], None]) -> Json:
        """What the kubelet or a user changes; `change` gets a copy to work on."""
        obj = copy.deepcopy(self._get(key))
        change(obj)
        return self._store("MODIFIED", key, obj)

    def delete(self, key: Key, uid: str | None = None, *, force: bool = False) -> None:
        """Pods stay until their kubelet has let them go, unless forced; children follow."""
        old = self._get(key)
        if uid is not None and ObjectView(old).uid != uid:
            raise Refused(409, "Conflict", "the uid in the precondition is another")
        if key.kind == "Pod" and not force:
            if not ObjectView(old).deleting:
                moment = format_time(self._now())
                self.change(key, lambda obj: obj["metadata"].update(deletionTimestamp=moment))
            return
        self.remove(key)

    def remove(self, key: Key) -> None:
        """The object is gone."""
        old = self.objects[key]
        for check in self.writing:
            check(key, old, None)
        del self.objects[key]
        last = copy.deepcopy(old)
        last["metadata"]["resourceVersion"] = self.version
        self._tell(Event("DELETED", key.kind, last))

    def collect_garbage(self) -> bool:
        """Delete what has lost its controller; True if something was."""
        alive = {ObjectView(obj).uid for obj in self.objects.values()}
        found = False
        for key, obj in list(self.objects.items()):
            owner = ObjectView(obj).owner
            orphan = owner is not None and owner.uid not in alive and not ObjectView(obj).deleting
            if orphan and key in self.objects:
                self.delete(key)
                found = True
        return found

    def events_of(self, kind: Kind) -> Iterator[Event]:
        """What a watch that starts anew is sent first."""
        for _, obj in self.of_kind(kind):
            event = Event("ADDED", kind, obj)
            if event.watched:
                yield event

    def _get(self, key: Key) -> Json:
        if key not in self.objects:
            raise Refused(404, "NotFound", f"{key} not found")
        return self.objects[key]

    def _store(self, kind: str, key: Key, obj: Json) -> Json:
        for check in self.writing:
            check(key, self.objects.get(key), obj)
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": self.version}}
        self.objects[key] = obj
        self._tell(Event(kind, key.kind, obj))
        return obj

    def _tell(self, event: Event) -> None:
        for observer in list(self.observers):
            observer(event)


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386, written from its pseudo code."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply_merge_patch(result.get(name), value)
    return result
