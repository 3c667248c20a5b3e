"""metav1.Condition lists: set, keep the transition time, compare."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from paddock_api.conditions import MESSAGE_BYTES, ConditionReason

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What one condition should say; times and generation are added by `merge`."""

    type: str
    status: ConditionStatus
    reason: ConditionReason
    message: str = ""


def clip(text: str, size: int = MESSAGE_BYTES) -> str:
    """At most `size` UTF-8 bytes, one line, control characters replaced by spaces."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    raw = clean.encode()
    if len(raw) <= size:
        return clean
    return raw[: size - 3].decode(errors="ignore") + "…"


def merge(
    old: Iterable[Mapping[str, Any]],
    wanted: Iterable[Condition],
    *,
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """The new list: exactly `wanted`, with lastTransitionTime kept where status is the same.

    A condition that is not wanted any more disappears; order is that of `wanted`.
    """
    before = {condition.get("type"): condition for condition in old}
    merged = []
    for condition in wanted:
        previous = before.get(condition.type)
        since = None
        if previous is not None and previous.get("status") == condition.status:
            since = previous.get("lastTransitionTime")
        if since is not None and str(since).startswith("1970-"):
            since = None  # the schema's default, not a moment
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason.value,
                "message": clip(condition.message),
                "observedGeneration": generation,
                # metav1.Time has whole seconds
                "lastTransitionTime": since or now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )
    return merged
