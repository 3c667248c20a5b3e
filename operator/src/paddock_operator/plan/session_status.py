"""A session's status: built whole from what is known, written only if it differs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from paddock_api.base import format_time
from paddock_api.conditions import ConditionReason as R
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_operator.plan import steps as step_rules
from paddock_operator.plan.actions import PatchStatus
from paddock_operator.plan.conditions import Condition, merge
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.steps import StepStatus
from paddock_operator.plan.views import ObjectView, session_key


@dataclass(frozen=True, slots=True)
class Outcome:
    """A session's end. `succeeded` None means that it expired: neither."""

    succeeded: bool | None
    reason: R
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """The parts of a status before they are put together."""

    session: ObjectView
    steps: Sequence[StepStatus] = ()
    sandbox: tuple[str, str] | None = None
    """Name and uid, from the write that precedes the first dispatch on."""
    expires_at: datetime | None = None
    starting: bool = False
    """The sandbox exists and has not answered yet."""
    ready: bool = False
    trouble: Trouble | None = None
    outcome: Outcome | None = None
    stopped_by: StepStatus | None = None
    suspension: Condition | None = None
    """What the condition Suspended says; True: it has no pod."""
    sandboxes_lost: int = 0
    note: str = ""
    """What else is to be known while it is ready."""

    @property
    def suspended(self) -> bool:
        """It has no pod because its spec says so."""
        return self.suspension is not None and self.suspension.status == "True"

    def end(self, outcome: Outcome) -> "Draft":
        """The same draft with the session ended. Steps that never ran are Skipped, one that
        may still be running ends with the session."""
        closed = [_closed(step, outcome) for step in self.steps]
        return replace(self, outcome=outcome, steps=closed)


def _closed(step: StepStatus, outcome: Outcome) -> StepStatus:
    if step_rules.is_finished(step):
        return step
    if step.get("state") == ExecutionState.RUNNING:
        return step_rules.lost(step, ExecutionReason.CANCELLED, outcome.message)
    return step_rules.skipped(step)


def patch(draft: Draft, now: datetime) -> PatchStatus | None:
    """The write that makes the stored status equal to the draft, or None if it is."""
    session = draft.session
    status = build(draft, now)
    if status == dict(session.status):
        return None
    return PatchStatus(
        session_key(session),
        session.uid,
        session.resource_version,
        session.status,
        status,
    )


def build(draft: Draft, now: datetime) -> dict[str, Any]:
    """The whole status."""
    session, old = draft.session, draft.session.status
    status: dict[str, Any] = {
        "observedGeneration": session.generation,
        "phase": phase(draft),
        "conditions": merge(
            old.get("conditions") or (),
            conditions(draft),
            generation=session.generation,
            now=now,
        ),
        "startedAt": old.get("startedAt") or format_time(session.created_at),
    }
    if draft.sandbox is not None:
        name, uid = draft.sandbox
        status["sandbox"] = {"name": name, "uid": uid, "launch": "Cold"}
    # Before there is a sandbox the template decides, which may still come or change.
    if draft.expires_at is not None and (draft.starting or draft.sandbox or draft.outcome):
        status["expiresAt"] = format_time(draft.expires_at)
    if draft.sandboxes_lost:
        status["sandboxesLost"] = draft.sandboxes_lost
    if old.get("readyAt") or draft.ready:
        status["readyAt"] = old.get("readyAt") or format_time(now)
    if draft.steps:
        status["steps"] = step_rules.within_bounds(draft.steps)
        if result := step_rules.summary(draft.steps, draft.stopped_by):
            status["result"] = result
    if draft.outcome is not None:
        status["finishedAt"] = format_time(now)
        status["executions"] = {
            "total": sum("executionId" in step for step in draft.steps),
            "failed": sum(
                step_rules.is_finished(step) and not step_rules.succeeded(step)
                for step in draft.steps
            ),
        }
    return status


def phase(draft: Draft) -> str:
    """One word for people, derived from the rest."""
    if draft.outcome is not None:
        return {True: "Succeeded", False: "Failed", None: "Expired"}[draft.outcome.succeeded]
    if draft.suspended:
        return "Suspended"
    if not draft.ready:
        return "Starting" if draft.starting else "Pending"
    return "Running" if draft.steps else "Ready"


def conditions(draft: Draft) -> list[Condition]:
    """Ready (kstatus), SandboxReady, and the ends where they apply."""
    outcome = draft.outcome
    if outcome is not None:
        gone = Condition("SandboxReady", "False", R.RELEASED, "the session has ended.")
        finished = Condition("Finished", "True", outcome.reason, outcome.message)
        if outcome.succeeded is False:
            stalled = [Condition("Stalled", "True", outcome.reason, outcome.message)]
            return [
                Condition("Ready", "False", outcome.reason, outcome.message),
                *stalled,
                gone,
                finished,
                Condition("Failed", "True", outcome.reason, outcome.message),
            ]
        return [
            Condition("Ready", "True", outcome.reason, outcome.message),
            gone,
            finished,
            Condition("Complete", "True", outcome.reason, outcome.message),
        ]
    suspension = [draft.suspension] if draft.suspension is not None else []
    if draft.suspended:
        message = draft.suspension.message if draft.suspension else ""
        return [
            Condition("Ready", "False", R.SUSPENDED, message),
            Condition("SandboxReady", "False", R.SUSPENDED, message),
            *suspension,
        ]
    if draft.ready:
        name = draft.sandbox[0] if draft.sandbox else ""
        message = f"sandbox/{name} answers. {draft.note}".strip()
        return [
            Condition("Ready", "True", R.ANSWERING, message),
            Condition("SandboxReady", "True", R.ANSWERING, f"sandbox/{name} answers."),
            *suspension,
        ]
    trouble = draft.trouble or Trouble(R.STARTING, "the sandbox is starting.")
    return [
        Condition("Ready", "Unknown", trouble.reason, trouble.message),
        Condition("Reconciling", "True", trouble.reason, trouble.message),
        Condition("SandboxReady", "False", trouble.reason, trouble.message),
        *suspension,
    ]
