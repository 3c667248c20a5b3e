"""Words that the tables of scenarios share: verbs, resources, answers, ways to end."""

from collections.abc import Callable
from typing import Any

from tests.faults.faults import Answer

PATCH = frozenset({"patch"})
CREATE = frozenset({"create"})
DELETED = frozenset({"DELETED"})
PODS = frozenset({"pods"})
OBJECTS = frozenset({"agentsessions", "sandboxes", "pods"})

CONFLICT = Answer(409, "Conflict", "the object has been modified")
BUSY = Answer(429, "TooManyRequests", "too many requests", retry_after=1)
DENIED = Answer(403, "Forbidden", "not allowed to do this")


def failed(*reasons: str, step: frozenset[str] = frozenset()) -> Callable[[Any], list[str]]:
    """The session failed with one of these reasons, and its first step ended with one of those."""

    def judge(end: Any) -> list[str]:
        if end is None:
            return ["is gone"]
        told = {entry["type"]: entry for entry in end["conditions"]}
        wrong = []
        if end["phase"] != "Failed" or told.get("Failed", {}).get("reason") not in reasons:
            wrong.append(f"did not fail with one of {reasons}: {end}")
        if step and end["steps"][0].get("reason") not in step:
            wrong.append(f"its first step did not end with one of {sorted(step)}: {end['steps']}")
        return wrong

    return judge


def gone(end: Any) -> list[str]:
    return [] if end is None else [f"is still there: {end}"]


LOST = failed("SandboxLost", "PodDeleted", "Evicted", "NodeLost", "Terminated",
               step=frozenset({"SandboxLost", "Cancelled", "WorkspaceLost"}))  # fmt: skip
EARLY = frozenset({"sandboxesLost"})
LATE = failed("DeadlineExceeded")
