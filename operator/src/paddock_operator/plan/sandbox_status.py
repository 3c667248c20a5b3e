"""A Sandbox's status: built whole from what is known, written only if it says something new."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paddock_api.base import format_time
from paddock_api.conditions import ConditionReason as R
from paddock_operator.plan.actions import PatchStatus
from paddock_operator.plan.conditions import Condition, merge
from paddock_operator.plan.evidence import PodEnd, Trouble, already_told
from paddock_operator.plan.views import ObjectView, PodView, sandbox_key

_KEPT = ("podName", "podUid", "podIP", "workspaceUid", "volumeClaimName", "readyAt", "expiresAt")
_OF_THE_POD = ("podName", "podUid", "podIP")


@dataclass(frozen=True, slots=True)
class Report:
    """What a sandbox's status is to say; at most one of the four."""

    ready: bool = False
    trouble: Trouble | None = None
    stalled: bool = False
    """The trouble does not pass by itself: it takes an edit."""
    end: PodEnd | None = None
    suspended: bool = False
    note: str = ""
    """What else is to be known while it is ready."""


def patch(
    sandbox: ObjectView,
    pod: PodView | None,
    report: Report,
    now: datetime,
    expires_at: datetime | None = None,
) -> PatchStatus | None:
    """The write, or None if there is nothing new.

    Before the pod answers, nothing is written unless there is trouble to tell: a young sandbox
    is described by the schema's default status, which costs no request. `pod` is its own one;
    `expires_at` is that of a sandbox made by hand.
    """
    ready = sandbox.condition("Ready") or {}
    quiet = not (report.ready or report.end or report.suspended or report.stalled)
    if quiet and already_told(ready.get("reason"), report.trouble):
        return None
    status: dict[str, Any] = {
        "observedGeneration": sandbox.generation,
        "conditions": merge(
            sandbox.status.get("conditions") or (),
            _conditions(report, sandbox),
            generation=sandbox.generation,
            now=now,
        ),
    }
    status |= {name: sandbox.status[name] for name in _KEPT if name in sandbox.status}
    if pod is not None:
        status |= _of_pod(pod)
    if report.suspended:
        status = {name: value for name, value in status.items() if name not in _OF_THE_POD}
    if expires_at is not None:
        status["expiresAt"] = format_time(expires_at)
    if report.ready:
        status.setdefault("readyAt", format_time(now))
        status["launch"] = "Cold"
    elif "launch" in sandbox.status:
        status["launch"] = sandbox.status["launch"]
    if status == dict(sandbox.status):
        return None
    return PatchStatus(
        sandbox_key(sandbox),
        sandbox.uid,
        sandbox.resource_version,
        sandbox.status,
        status,
    )


def _of_pod(pod: PodView) -> dict[str, Any]:
    found: dict[str, Any] = {
        "podName": pod.name,
        "podUid": pod.uid,
        "podIP": pod.ip or None,
        "workspaceUid": pod.workspace_uid,
        "volumeClaimName": pod.volume_claim,
    }
    return {name: value for name, value in found.items() if value is not None}


def _conditions(report: Report, sandbox: ObjectView) -> list[Condition]:
    end, trouble = report.end, report.trouble
    if end is not None:
        return [
            Condition("Ready", "False", end.reason, end.message),
            Condition("Finished", "True", end.reason, end.message),
        ]
    if report.suspended:
        message = "spec.suspend is true: it has no pod. Set it to false to go on."
        return [
            Condition("Ready", "False", R.SUSPENDED, message),
            Condition("Suspended", "True", R.SUSPENDED, message),
        ]
    resumed = []
    if sandbox.condition("Suspended") is not None:
        resumed = [Condition("Suspended", "False", R.RESUMED, "spec.suspend is false again.")]
    if report.ready:
        message = f"the runtime answers. {report.note}".strip()
        return [Condition("Ready", "True", R.ANSWERING, message), *resumed]
    if trouble is None:
        trouble = Trouble(R.STARTING, "the pod is starting.")
        return [
            Condition("Ready", "Unknown", trouble.reason, trouble.message),
            Condition("Reconciling", "True", trouble.reason, trouble.message),
            *resumed,
        ]
    waits = "Stalled" if report.stalled else "Reconciling"
    return [
        Condition("Ready", "False", trouble.reason, trouble.message),
        Condition(waits, "True", trouble.reason, trouble.message),
        *resumed,
    ]
