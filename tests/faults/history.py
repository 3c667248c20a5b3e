"""What the observer has seen: every version of every object, in the order of the API server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["AgentSession", "Sandbox", "Pod"]


@dataclass(frozen=True, slots=True)
class Change:
    """One watch event; `at` is this machine's clock in seconds since 1970."""

    at: float
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    kind: Kind
    obj: Json

    @property
    def uid(self) -> str:
        return str(self.obj["metadata"]["uid"])

    @property
    def where(self) -> str:
        """`sandbox ns/name (uid)`."""
        metadata = self.obj["metadata"]
        name = f"{metadata.get('namespace')}/{metadata['name']}"
        return f"{self.kind} {name} ({self.uid})"


@dataclass
class Known:
    """An object's newest version, and when it was deleted if it was."""

    change: Change
    gone_at: float | None = None

    @property
    def obj(self) -> Json:
        return self.change.obj


@dataclass
class History:
    """By uid, gone objects included: a scenario is short."""

    objects: dict[str, Known] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    """What the witness on the node saw programs write: `NAMESPACE/SESSION STEP`."""

    def take(self, change: Change) -> Json | None:
        """Remember a change; returns the version before it."""
        known = self.objects.get(change.uid)
        if known is None:
            known = self.objects[change.uid] = Known(change)
            before = None
        else:
            before, known.change = known.obj, change
        if change.type == "DELETED":
            known.gone_at = change.at
        return before

    def living(self, kind: Kind) -> Iterator[Known]:
        """Objects of a kind that are there."""
        for known in list(self.objects.values()):
            if known.change.kind == kind and known.gone_at is None:
                yield known


def controller(obj: Json) -> str | None:
    """The uid of an object's controller."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def conditions(obj: Json) -> dict[str, Json]:
    """By type."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return {entry["type"]: entry for entry in found}


def is_true(obj: Json, kind: str) -> bool:
    return conditions(obj).get(kind, {}).get("status") == "True"


def steps(obj: Json) -> dict[str, Json]:
    """A session's step statuses by name."""
    return {entry["name"]: entry for entry in (obj.get("status") or {}).get("steps") or ()}


def run_of(session: Json) -> str:
    """What a session's steps write before their name: its variable RUN, `NAMESPACE/SESSION`."""
    for entry in session["spec"].get("env") or ():
        if entry["name"] == "RUN":
            return str(entry["value"])
    return f"{session['metadata'].get('namespace')}/{session['metadata']['name']}"


def time_of(text: str) -> float:
    """RFC 3339 as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def versions(before: Any, after: Any) -> str:
    """Both versions, for a sentence."""
    return (
        f"before: {json.dumps(before, sort_keys=True)}; after: {json.dumps(after, sort_keys=True)}"
    )
