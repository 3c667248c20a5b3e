"""What a request to the API server is about, read from its method and path alone."""

from collections.abc import Mapping
from dataclasses import dataclass

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
MUTATING = frozenset(_VERBS.values())
APART = frozenset({"events", "leases"})
"""Written on their own schedule: they say nothing about sessions and are counted apart."""


@dataclass(frozen=True, slots=True)
class Request:
    """`resource` has the subresource in it, as in `agentsessions/status`; "" is `/version` etc."""

    verb: str
    """get, list, watch, create, update, patch or delete."""
    resource: str
    namespace: str = ""
    name: str = ""

    @property
    def mutating(self) -> bool:
        return self.verb in MUTATING

    @property
    def counted(self) -> bool:
        """A write that a session costs: Events and Leases are not."""
        return self.mutating and self.resource not in APART

    def __str__(self) -> str:
        """Such as `patch agentsessions/status team/hello`."""
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return " ".join(part for part in (self.verb, self.resource, where) if part)


def parse(method: str, path: str, query: Mapping[str, str]) -> Request:
    """From `GET /apis/GROUP/VERSION/namespaces/NS/RESOURCE/NAME/SUB?watch=true` and the like."""
    parts = [part for part in path.split("/") if part]
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:] if parts[:1] == ["apis"] else []
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = ([*rest, "", "", ""])[:3]
    if method in _VERBS:
        verb = _VERBS[method]
    elif query.get("watch") in ("true", "1"):
        verb = "watch"
    else:
        verb = "get" if name or not resource else "list"
    return Request(verb, f"{resource}/{subresource}" if subresource else resource, namespace, name)
