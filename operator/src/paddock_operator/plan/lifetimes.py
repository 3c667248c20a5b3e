"""How long objects live: maxDuration and idleTimeout while they work, their ttl afterwards.

What a sandbox was made with stays: a template that is edited changes sandboxes made later, so
the defaults of a running session are those that its Sandbox was created with.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from paddock_api.durations import MAX_DURATION_MS, format_duration
from paddock_api.sandbox import Lifetime
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.pods import DEADLINE_SLACK_SECONDS
from paddock_operator.plan.views import ObjectView, PodView, parse_time

RUNTIME_GRACE = timedelta(seconds=15)
"""How long after expiresAt the operator leaves the end to the runtime's own clock: its grace
for a last answer, the kubelet's status and a watch. After that it ends the sandbox itself."""


def read_lifetime(view: ObjectView) -> Lifetime:
    """`spec.lifetime`; silent where only a newer operator would understand it."""
    try:
        return Lifetime.model_validate(view.spec.get("lifetime") or {})
    except ValidationError:
        return Lifetime()


def max_duration_ms(own: Lifetime, template: SandboxTemplateSpec) -> int:
    """Life from creation in milliseconds: its own word, else the template's default."""
    return (own.max_duration or template.lifetime.max_duration).ms


def resolved(own: Lifetime, template: SandboxTemplateSpec) -> Mapping[str, Any]:
    """`spec.lifetime` of a session's Sandbox: nothing is left to what the template says later."""
    life_ms = max_duration_ms(own, template)
    idle = own.idle_timeout or template.lifetime.idle_timeout
    return {"maxDuration": format_duration(life_ms), "idleTimeout": str(idle)}


def default_ms(sandbox: ObjectView | None, template: object) -> int:
    """The life of whoever is silent about it: what the sandbox was made with, before there is one
    the template's default, and the longest where nobody can say."""
    if sandbox is not None and (made_with := read_lifetime(sandbox).max_duration) is not None:
        return made_with.ms
    if isinstance(template, SandboxTemplateSpec):
        return template.lifetime.max_duration.ms
    return MAX_DURATION_MS


def remaining_ms(expires_at: datetime, now: datetime) -> int:
    """What `configure` says of the end; at least 1, which is at once."""
    return max(1, (expires_at - now) // timedelta(milliseconds=1))


def idle_ms(own: Lifetime, sandbox: ObjectView | None, template: object) -> int | None:
    """What `configure` says of idleness, in milliseconds: its own word, that which the sandbox
    was made with, the template's default."""
    made_with = read_lifetime(sandbox) if sandbox is not None else Lifetime()
    default = template.lifetime.idle_timeout if isinstance(template, SandboxTemplateSpec) else None
    chosen = own.idle_timeout or made_with.idle_timeout or default
    return chosen.ms if chosen is not None else None


def ceiling_ms(template: object, pod: PodView | None) -> int | None:
    """The most that it may live. Of a pod that is there it is what the pod was made with: the
    kubelet would end it then, whatever the template has come to say."""
    if pod is not None and isinstance(seconds := pod.spec.get("activeDeadlineSeconds"), int):
        return (seconds - DEADLINE_SLACK_SECONDS) * 1000
    if isinstance(template, SandboxTemplateSpec):
        return template.lifetime.max_duration_limit.ms
    return None


def expires_at(
    view: ObjectView, own: Lifetime, default_ms: int, ceiling: int | None
) -> tuple[datetime, str]:
    """When it is over, and a sentence if that is not what its spec asks for.

    The end that is in its status, before that the one it was made with, stays if the spec is
    silent, or if an edit asks for more than the ceiling: that is refused, never clamped. While
    the ceiling is not known (None), nothing gets longer.
    """
    stored = parse_time(view.status.get("expiresAt"))
    made_with = stored or view.created_at + timedelta(milliseconds=default_ms)
    if own.max_duration is None:
        return made_with, ""
    if ceiling is None:
        asked = view.created_at + timedelta(milliseconds=own.max_duration.ms)
        return min(asked, stored) if stored is not None else asked, ""
    if own.max_duration.ms > ceiling:
        return made_with, (
            f"spec.lifetime.maxDuration is {own.max_duration}, above the "
            f"{format_duration(ceiling)} that its template allowed; the end stays as it was. "
            "Lower it."
        )
    return view.created_at + timedelta(milliseconds=own.max_duration.ms), ""


def ttl_ends_at(view: ObjectView, finished_at: datetime | None) -> datetime | None:
    """When a finished object is to be deleted; None keeps it."""
    ttl = read_lifetime(view).ttl_after_finished
    if ttl is None or finished_at is None:
        return None
    return finished_at + timedelta(milliseconds=ttl.ms)
