"""A session whose spec says suspend: end what runs, tell it, let the pod go."""

from dataclasses import replace
from datetime import datetime, timedelta

from paddock_api.base import format_time
from paddock_api.conditions import ConditionReason as R
from paddock_api.reasons import ExecutionReason
from paddock_api.session import AgentSessionSpec
from paddock_operator.plan import session_status, steps
from paddock_operator.plan.actions import Action, CancelExecution, Emit, Plan, SetSuspend, until
from paddock_operator.plan.conditions import Condition
from paddock_operator.plan.session_ends import (
    collected,
    deadline,
    finish,
    outcome_of,
    replace_step,
    step_events,
)
from paddock_operator.plan.session_input import Refused, SessionObserved
from paddock_operator.plan.session_status import Draft
from paddock_operator.plan.steps import StepStatus
from paddock_operator.plan.views import parse_time, sandbox_key, session_key

CANCEL_PATIENCE = timedelta(seconds=10)
"""How long a runtime gets to say how the cancelled step ended; the pod goes after it."""
SUSPENDED = "spec.suspend is true: it has no pod. Set it to false to go on."


def plan_suspended(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, now: datetime
) -> Plan:
    """Between steps. A step that runs is cancelled first; that is its end, so it fails the
    session unless it has continueOnFailure."""
    session, sandbox = seen.session, seen.sandbox
    assert draft.expires_at is not None
    expires_at = draft.expires_at
    statuses: list[StepStatus] = list(draft.steps)
    events: list[Emit] = []
    current = steps.progress(spec, statuses).current
    if current is not None:
        ended = _cancelled(seen, current, now)
        if ended is None:
            return _cancel(seen, draft, current, now)
        statuses = replace_step(statuses, ended)
        events = step_events(seen, statuses, current)
    after = steps.progress(spec, statuses)
    draft = replace(draft, steps=statuses, stopped_by=after.stopped_by)
    if (outcome := outcome_of(draft, after, now)) is not None:
        return finish(seen, draft, outcome, now, events)
    if now >= expires_at:
        return finish(seen, draft, deadline(draft), now, events)
    message = f"{SUSPENDED} It ends at {format_time(expires_at)} in any case."
    told = replace(draft, suspension=Condition("Suspended", "True", R.SUSPENDED, message))
    actions: list[Action] = []
    if (write := session_status.patch(told, now)) is not None:
        key = session_key(session)
        actions = [write, *events, Emit(key, session.uid, "Normal", "Suspended", SUSPENDED)]
    ours = sandbox is not None and sandbox.owned_by(session.uid)
    if sandbox is not None and ours and sandbox.spec.get("suspend") is not True:
        key, version = sandbox_key(sandbox), sandbox.resource_version
        actions.append(SetSuspend(key, sandbox.uid, version, suspend=True))
    return Plan(tuple(actions), expires_at)


def _cancelled(seen: SessionObserved, current: StepStatus, now: datetime) -> StepStatus | None:
    """The running step's end, or None while it is waited for."""
    answer = seen.results.get(str(current.get("executionId")))
    if isinstance(answer, Refused) and answer.code == "NotFound":
        message = "the session was suspended before its runtime had taken the step."
        return steps.lost(current, ExecutionReason.CANCELLED, message)
    if (ended := collected(seen, current)) is not None:
        if ended.get("reason") == ExecutionReason.CANCELLED:
            return {**ended, "message": "spec.suspend was set while it ran; it is not repeated."}
        return ended
    since = _suspending_since(seen)
    if since is not None and now >= since + CANCEL_PATIENCE:
        message = "the session was suspended; the runtime did not say how the step ended."
        return steps.lost(current, ExecutionReason.CANCELLED, message)
    return None


def _cancel(seen: SessionObserved, draft: Draft, current: StepStatus, now: datetime) -> Plan:
    session, pod = seen.session, seen.pod
    message = f"spec.suspend is true: step {current['name']} is being cancelled."
    suspending = Condition("Suspended", "Unknown", R.SUSPENDING, message)
    actions: list[Action] = []
    write = session_status.patch(replace(draft, ready=True, suspension=suspending), now)
    if write is not None:
        actions.append(write)
    if pod is not None and pod.ip and draft.sandbox is not None:
        actions.append(
            CancelExecution(
                session_key(session),
                session.uid,
                draft.sandbox[1],
                pod.uid,
                pod.ip,
                str(current.get("executionId")),
            )
        )
    since = _suspending_since(seen) or now
    return until(Plan(tuple(actions), draft.expires_at), since + CANCEL_PATIENCE)


def _suspending_since(seen: SessionObserved) -> datetime | None:
    told = seen.session.condition("Suspended") or {}
    return parse_time(told.get("lastTransitionTime")) if told.get("status") == "Unknown" else None
