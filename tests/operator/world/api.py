"""The model cluster behind the operator's `Api` protocol, with faults in between."""

import re
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar, get_args

from tests.operator.world.cluster import Cluster, Json, Refused

from paddock_operator.cluster.client import path_of
from paddock_operator.cluster.errors import Overloaded, Unreachable, from_response
from paddock_operator.plan.actions import Key, Kind

T = TypeVar("T")

_COLLECTIONS: dict[str, Kind] = {path_of(kind).rsplit("/", 1)[1]: kind for kind in get_args(Kind)}
_PATH = re.compile(
    r"/apis?(?:/paddock\.dev)?/v1(?:alpha1)?(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?P<status>/status)?"
)

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class Crash(BaseException):
    """The operator's process is gone at this very point; nothing may catch it."""


class FakeApi:
    """Carries requests out on a model cluster.

    `fault` names what goes wrong with the next mutating request: `crash-before`, `crash-after`
    (carried out, then the process dies), `lost` (carried out, no answer), `unreachable`,
    `overloaded`. With `crash_after` = n the process dies right after the n-th write.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.writes: Counter[str] = Counter()
        """Mutating requests that reached the server, Events apart."""
        self.log: list[str] = []
        """The same in their order: `create Sandbox`, `patch Sandbox/status`, …"""
        self.refused = 0
        self.events: list[Json] = []
        self.secrets: dict[str, Json] = {}
        self.fault: str | None = None
        self.faults: dict[int, str] = {}
        """The same by the number of a write, counted from 1."""
        self.crash_after: int | None = None
        self.during: Callable[[], object] | None = None
        """Called once, when the next write was carried out and before it is answered."""
        self.between: Callable[[], None] = lambda: None
        """Called within every list, after its snapshot was taken."""

    @property
    def written(self) -> int:
        """All mutating requests so far."""
        return self.writes.total()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """See Api."""
        if path.endswith("/events"):
            self.events.append(dict(body or {}))
            return {}
        match = _PATH.fullmatch(path)
        assert match, path
        namespace, name = match["namespace"] or "", match["name"]
        kind = _COLLECTIONS[match["plural"]]
        try:
            if method == "GET":
                return self._read(kind, namespace, name, (query or {}).get("labelSelector"))
            self.writes[f"{method} {kind}"] += 1
            self.log.append(f"{_VERBS[method]} {kind}{match['status'] or ''}")
            return self._write(method, Key(kind, namespace, name or ""), dict(body or {}))
        except Refused as refused:
            if method != "GET":
                self.refused += 1
            raise from_response(refused.status, refused.body, creating=method == "POST") from None

    def _read(self, kind: Kind, namespace: str, name: str | None, label: str | None) -> Json:
        if name:
            return self._cluster._get(Key(kind, namespace, name))
        items = [
            obj
            for _, obj in self._cluster.of_kind(kind)
            if label is None or label in obj["metadata"].get("labels", {})
        ]
        version = self._cluster.version
        self.between()
        return {"items": items, "metadata": {"resourceVersion": version}}

    def _write(self, method: str, key: Key, body: Json) -> Json:
        fault, self.fault = self.fault or self.faults.get(self.written), None
        if fault == "crash-before":
            raise Crash
        if fault == "unreachable":
            raise Unreachable("no route to host")
        if fault == "overloaded":
            raise Overloaded("too many requests", 429)
        answer = self._carry_out(method, key, body)
        during, self.during = self.during, None
        if during is not None:
            during()
        if fault == "crash-after" or self.written == self.crash_after:
            raise Crash
        if fault == "lost":
            raise Unreachable("timed out")
        return answer

    def _carry_out(self, method: str, key: Key, body: Json) -> Json:
        if method == "POST":
            return self._cluster.create(key.kind, key.namespace, body)
        if method == "PATCH":
            metadata = body["metadata"]
            uid, version = metadata["uid"], metadata["resourceVersion"]
            if set(body) == {"metadata", "spec"}:
                assert key.kind == "Sandbox", "the spec of an object that a user made"
                return self._cluster.patch_spec(key, uid, version, body["spec"])
            assert set(body) == {"metadata", "status"}
            return self._cluster.patch_status(key, uid, version, body["status"])
        assert method == "DELETE"
        self._cluster.delete(key, body["preconditions"]["uid"])
        return self._cluster.objects.get(key) or {}


def drive(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never really waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waited for something")
