"""Sandboxes that no session owns: their own spec says how long they live."""

from dataclasses import dataclass
from datetime import datetime

from paddock_api.conditions import ConditionReason as R
from paddock_api.durations import MAX_DURATION_MS, format_duration
from paddock_api.messages import Configure
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan import lifetimes
from paddock_operator.plan.actions import Converse
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.views import ObjectView, PodView, is_of_a_session, sandbox_key


@dataclass(frozen=True, slots=True)
class Life:
    """When a sandbox made by hand is over. All empty for a session's: its session decides."""

    expires_at: datetime | None = None
    idle_ms: int | None = None
    refused: Trouble | None = None
    """It asks for more than the template allows; no pod is made for it."""
    note: str = ""


def life_of(
    sandbox: ObjectView, template: SandboxTemplateSpec | Trouble, pod: PodView | None
) -> Life:
    """A sandbox that lost its owner (`kubectl delete --cascade=orphan`) counts as made by hand:
    it has the lifetime that its session gave it, so it ends by itself."""
    if is_of_a_session(sandbox):
        return Life()
    own = lifetimes.read_lifetime(sandbox)
    ceiling = lifetimes.ceiling_ms(template, pod)
    default_ms = MAX_DURATION_MS if ceiling is None else ceiling
    if isinstance(template, SandboxTemplateSpec):
        default_ms = template.lifetime.max_duration.ms
    had_a_pod = pod is not None or "workspaceUid" in sandbox.status
    expires_at, note = lifetimes.expires_at(
        sandbox, own, default_ms, ceiling if had_a_pod else None
    )
    refused = None
    if own.max_duration is not None and ceiling is not None and own.max_duration.ms > ceiling:
        refused = Trouble(
            R.DURATION_ABOVE_CEILING,
            f"spec.lifetime.maxDuration is {own.max_duration}, the template's ceiling is "
            f"{format_duration(ceiling)}. Lower it or use another template.",
        )
    return Life(expires_at, lifetimes.idle_ms(own, sandbox, template), refused, note)


def configure(sandbox: ObjectView, pod: PodView, life: Life, now: datetime) -> Converse | None:
    """Tell the runtime its deadlines; None for a session's sandbox."""
    if life.expires_at is None:
        return None
    return Converse(
        session=sandbox_key(sandbox),
        session_uid=sandbox.uid,
        sandbox_uid=sandbox.uid,
        pod_uid=pod.uid,
        ip=pod.ip,
        configure=Configure(
            session_uid=sandbox.uid,
            expires_in_ms=lifetimes.remaining_ms(life.expires_at, now),
            idle_timeout_ms=life.idle_ms,
        ),
        expires_at=life.expires_at,
    )
