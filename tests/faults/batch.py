"""The sessions that a scenario runs at the same time, and how an end is compared with another."""

import re
from dataclasses import dataclass
from typing import Any

from e2e.witness import FILE
from tests.faults.history import Json, is_true

TIMES = frozenset({"startedAt", "readyAt", "expiresAt", "finishedAt", "lastTransitionTime"})
MEASURED = frozenset({"durationMs", "duration", "cpuMs", "peakMemoryBytes"})
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LAST_TROUBLE = re.compile(r"(before its sandbox was ready\.).*", re.DOTALL)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
NOWHERE = "nowhere"
"""A template that fits on no node."""


@dataclass(frozen=True, slots=True)
class Case:
    """One session. `deleted`: it is deleted as soon as its first step runs."""

    name: str
    steps: tuple[Json, ...]
    max_duration: str = "10m"
    template: str = ""
    deleted: bool = False

    def manifest(self, namespace: str) -> Json:
        reference = {"kind": "ClusterSandboxTemplate", "name": "python"}
        return {
            "apiVersion": "paddock.dev/v1alpha1",
            "kind": "AgentSession",
            "metadata": {"name": self.name},
            "spec": {
                "user": "alice",
                "templateRef": {"name": self.template} if self.template else reference,
                "env": [{"name": "RUN", "value": f"{namespace}/{self.name}"}],
                "lifetime": {"maxDuration": self.max_duration},
                "steps": list(self.steps),
            },
        }


def step_of(name: str, then: str = "exit 0", **more: Any) -> Json:
    """A step that leaves a line on the node, and the time to see it."""
    code = f'echo "$RUN {name}" >> {FILE}; sleep 0.3; echo "{name} ran"; {then}'
    return {"name": name, "language": "bash", "code": code, **more}


HELLO = Case("hello", (step_of("greet"),))
FAILING = Case("failing", (step_of("fail", "exit 3"), step_of("never")))
THREE = Case(
    "three",
    (step_of("one"), step_of("two", "exit 2", continueOnFailure=True), step_of("three")),
)
DELETED = Case("deleted", (step_of("work", "sleep 25"),), deleted=True)
NEVER = Case("never", (step_of("in-vain"),), max_duration="7s", template=NOWHERE)
LONG = Case("long", (step_of("work", "sleep 4"), step_of("after")))
SHORT_LIVED = Case("short-lived", (step_of("work", "sleep 60", timeout="9s"),), max_duration="9s")

PATIENT = Case("patient", (step_of("one"), step_of("two"), step_of("three", "sleep 4")))
"""Long enough in its last step for a restart."""
LOAD = tuple(
    Case(f"load-{n}", tuple(step_of(f"s{i}", "sleep 2") for i in range(1, 5))) for n in range(1, 9)
)
"""Eight sessions that together keep a node of two cores busy for some twenty seconds."""

BATCH = (HELLO, FAILING, THREE, DELETED, NEVER)
QUICK = (HELLO, FAILING, THREE, DELETED)
"""Without the one that takes its seven seconds."""

NOWHERE_TEMPLATE: Json = {
    "apiVersion": "paddock.dev/v1alpha1",
    "kind": "SandboxTemplate",
    "metadata": {"name": NOWHERE},
    "spec": {"languages": ["bash"], "resources": {"cpu": "256"}},
}
"""Ten times more CPU than that is on the node: a tenth of it is requested."""


def is_over(session: Json | None) -> bool:
    return session is None or is_true(session, "Finished")


def end_of(session: Json | None) -> Any:
    """How a session ended, without what differs between any two runs; None if it is gone."""
    if session is None:
        return None
    status = session["status"]
    sandbox = str((status.get("sandbox") or {}).get("name") or "no sandbox")
    return _masked(status, sandbox)


def _masked(value: Any, sandbox: str) -> Any:
    if isinstance(value, dict):
        return {
            key: "…" if key in TIMES | MEASURED else _masked(entry, sandbox)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_masked(entry, sandbox) for entry in value]
    if isinstance(value, str):
        value = _UUID.sub("UID", value.replace(sandbox, "SANDBOX"))
        return _LAST_TROUBLE.sub(r"\1", _MOMENT.sub("TIME", value))
    return value


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two ends differ, one line each."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in sorted(before.keys() | after.keys())
            for line in differences(before.get(key), after.get(key), f"{path}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for index, (old, new) in enumerate(zip(before, after, strict=True))
            for line in differences(old, new, f"{path}[{index}]")
        ]
    return [] if before == after else [f"{path.lstrip('.')} is {after!r}, undisturbed {before!r}"]
