"""What the API server last said, by key, with children found by their controller's uid.

Fed by watches, by our own lists and by the answers to our own writes, in any order: an older
version of an object never replaces a newer one, and one that was removed never comes back.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from paddock_operator.plan.actions import Key, Kind
from paddock_operator.plan.views import ObjectView, get
from paddock_operator.telemetry import metrics

Json = dict[str, Any]

_INPUTS = frozenset({"steps", "files", "env"})
TOMBSTONES = 10_000
"""Uids of removed objects that are remembered: a list page or an answer that was on its way
while its object went must not bring it back. An answer is at most 15 s late."""


class Store:
    """Objects of the watched kinds. Not a cache of the cluster: only what decisions need."""

    def __init__(self) -> None:
        self._objects: defaultdict[Kind, dict[Key, Json]] = defaultdict(dict)
        self._children: defaultdict[str, set[Key]] = defaultdict(set)
        self._removed: dict[str, None] = {}
        self._last_pods: dict[str, Json] = {}
        """By the uid of a sandbox that lives: its pod as it was when somebody took it away."""

    def put(self, key: Key, obj: Mapping[str, Any]) -> bool:
        """Take in a version of an object; False if the store knew it or a newer one."""
        old = self.get(key)
        if ObjectView(obj).uid in self._removed or (old is not None and not _newer(obj, old)):
            return False
        slim = _slim(obj)
        if old is not None:
            self._forget_child(key, old)
            if ObjectView(old).uid != ObjectView(obj).uid:
                self._bury(old)
        self._objects[key.kind][key] = slim
        if (owner := ObjectView(slim).owner) is not None:
            self._children[owner.uid].add(key)
        if old is None:
            metrics.OBJECTS.labels(key.kind).inc()
        return True

    def remove(self, key: Key, uid: str | None = None) -> bool:
        """Forget an object; with `uid` only if it is that one."""
        old = self.get(key)
        if old is None or (uid is not None and ObjectView(old).uid != uid):
            return False
        del self._objects[key.kind][key]
        self._forget_child(key, old)
        self._bury(old)
        if key.kind == "Pod":
            self._keep_last(key, old)
        self._last_pods.pop(ObjectView(old).uid, None)
        metrics.OBJECTS.labels(key.kind).dec()
        return True

    def get(self, key: Key) -> Json | None:
        """The newest known version."""
        return self._objects[key.kind].get(key)

    def children(self, uid: str, kind: Kind) -> list[Json]:
        """Objects of a kind whose controller has this uid."""
        keys = self._children.get(uid, ())
        return [self._objects[kind][key] for key in keys if key.kind == kind]

    def last_pod(self, sandbox_uid: str) -> Json | None:
        """The last version of a pod that went before its sandbox had ended: what it says may not
        have been looked at."""
        return self._last_pods.get(sandbox_uid)

    def of_kind(self, kind: Kind) -> Iterator[tuple[Key, Json]]:
        """All objects of a kind."""
        return iter(list(self._objects[kind].items()))

    def _keep_last(self, key: Key, pod: Json) -> None:
        owner = ObjectView(pod).owner
        named = self.get(Key("Sandbox", key.namespace, key.name))
        if owner is None or named is None:
            return
        sandbox = ObjectView(named)
        if sandbox.uid == owner.uid and not sandbox.is_true("Finished"):
            self._last_pods[sandbox.uid] = pod

    def _bury(self, obj: Json) -> None:
        self._removed[ObjectView(obj).uid] = None
        if len(self._removed) > TOMBSTONES:
            del self._removed[next(iter(self._removed))]

    def _forget_child(self, key: Key, obj: Json) -> None:
        owner = ObjectView(obj).owner
        if owner is None:
            return
        self._children[owner.uid].discard(key)
        if not self._children[owner.uid]:
            del self._children[owner.uid]


def key_of(kind: Kind, obj: Mapping[str, Any]) -> Key:
    """The key of an object as the API server sent it."""
    return Key(
        kind,
        str(get(obj, "metadata", "namespace") or ""),
        str(get(obj, "metadata", "name") or ""),
    )


def _newer(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether `new` was written after `old`.

    Resource versions of one kind are comparable numbers (Kubernetes 1.35 promises it, every
    etcd-backed server before did it); anything else is taken as newer.
    """
    first, second = get(new, "metadata", "resourceVersion"), get(old, "metadata", "resourceVersion")
    if str(first).isdigit() and str(second).isdigit():
        return int(first) > int(second)
    return bool(first != second)


def _slim(obj: Mapping[str, Any]) -> Json:
    """Without managedFields and the last-applied copy, half of an object's size; of a finished
    session without its inputs, which nobody will ask for again."""
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations:
        metadata["annotations"] = {
            k: v
            for k, v in annotations.items()
            if k != "kubectl.kubernetes.io/last-applied-configuration"
        }
    slim = {**obj, "metadata": metadata}
    if ObjectView(slim).is_true("Finished") and isinstance(slim.get("spec"), Mapping):
        slim["spec"] = {k: v for k, v in slim["spec"].items() if k not in _INPUTS}
    return slim
