"""How sessions end: by their steps, by their deadline, with their sandbox."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from paddock_api.base import format_time
from paddock_api.conditions import ConditionReason as R
from paddock_api.durations import format_duration
from paddock_api.executions import Execution
from paddock_api.reasons import ExecutionReason
from paddock_api.session import AgentSessionSpec
from paddock_operator.plan import lifetimes, session_status, steps
from paddock_operator.plan.actions import Action, Delete, Emit, PatchStatus, Plan
from paddock_operator.plan.evidence import PodEnd, Trouble
from paddock_operator.plan.lifetimes import RUNTIME_GRACE, ttl_ends_at
from paddock_operator.plan.session_input import Refused, SessionObserved
from paddock_operator.plan.session_status import Draft, Outcome
from paddock_operator.plan.steps import StepStatus
from paddock_operator.plan.views import parse_time, sandbox_key, session_key

DEADLINE_SLACK = timedelta(seconds=2)
"""An end this close to expiresAt was brought by the deadline: creationTimestamp has whole
seconds, and the runtime counts from when it was told."""
WITH_THE_SANDBOX = frozenset(
    {
        ExecutionReason.CANCELLED,
        ExecutionReason.SANDBOX_LOST,
        ExecutionReason.WORKSPACE_LOST,
        ExecutionReason.RUNTIME_RESTARTED,
    }
)
"""Ends of an execution that came from outside of it: the sandbox's end explains them."""


def outcome_of(draft: Draft, progress: steps.Progress, now: datetime) -> Outcome | None:
    """The session's end, if its steps say so."""
    assert draft.expires_at is not None
    cancelled = any(step.get("reason") == ExecutionReason.CANCELLED for step in progress.failed)
    if cancelled and now >= draft.expires_at - DEADLINE_SLACK:
        return deadline(draft)
    if (stopped := progress.stopped_by) is not None:
        return Outcome(False, R.STEP_FAILED, _step_sentence(stopped))
    if draft.steps and progress.done == len(draft.steps):
        count, failed = len(draft.steps), len(progress.failed)
        if failed:
            return Outcome(
                True, R.COMPLETED, f"{count} of {count} steps ran, {failed} failed and may."
            )
        return Outcome(True, R.COMPLETED, f"{count} of {count} steps succeeded.")
    return None


def deadline(draft: Draft) -> Outcome:
    when = f" at {format_time(draft.expires_at)}" if draft.expires_at else ""
    if draft.steps:
        return Outcome(
            False,
            R.DEADLINE_EXCEEDED,
            f"the session reached its maxDuration{when} with steps unfinished. "
            "Raise spec.lifetime.maxDuration or do less.",
        )
    return Outcome(None, R.EXPIRED, f"the session reached its maxDuration{when}.")


def never_ready(draft: Draft, trouble: Trouble | None) -> Outcome:
    """The whole life passed without a sandbox that answers."""
    assert draft.expires_at is not None
    message = (
        f"the session reached its maxDuration at {format_time(draft.expires_at)} before its "
        "sandbox was ready."
    )
    if trouble is not None:
        message = f"{message} Last: {trouble.message}"
    return Outcome(False, R.DEADLINE_EXCEEDED, message)


def after_end(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, end: PodEnd, now: datetime
) -> Plan:
    """The sandbox is no more: what its steps became, and what that makes of the session."""
    statuses = list(draft.steps)
    current = steps.progress(spec, statuses).current
    events: list[Emit] = []
    if current is not None:
        statuses = replace_step(statuses, _last_words(seen, current, end))
        events = step_events(seen, statuses, current)
    after = steps.progress(spec, statuses)
    draft = replace(draft, steps=statuses, stopped_by=after.stopped_by)
    expired = draft.expires_at is not None and now >= draft.expires_at - DEADLINE_SLACK
    said = outcome_of(draft, after, now)
    stopped = after.stopped_by
    if said is not None and (stopped is None or stopped.get("reason") not in WITH_THE_SANDBOX):
        outcome = said
    elif end.reason is R.IDLE and not draft.steps:
        outcome = Outcome(None, R.IDLE, _idle_sentence(seen, spec))
    elif end.reason is R.DEADLINE_EXCEEDED or (end.reason is R.SANDBOX_LOST and expired):
        outcome = deadline(draft)
    else:
        outcome = Outcome(
            False, end.reason, f"{end.message} Create the session again to start over."
        )
    return finish(seen, draft, outcome, now, events)


def _idle_sentence(seen: SessionObserved, spec: AgentSessionSpec) -> str:
    idle_ms = lifetimes.idle_ms(spec.lifetime, seen.sandbox, seen.template)
    how_long = f"{format_duration(idle_ms)} (idleTimeout)" if idle_ms else "its idleTimeout"
    return (
        f"the session was not used for {how_long}. Create a new one, with a longer "
        "lifetime.idleTimeout if that was short."
    )


def _last_words(seen: SessionObserved, current: StepStatus, end: PodEnd) -> StepStatus:
    """The running step's end: the runtime's answer if one arrived, its termination message, or
    the plain fact that nobody can say."""
    wanted = str(current.get("executionId"))
    answer = seen.results.get(wanted)
    if isinstance(answer, Execution):
        return steps.finished(current, answer)
    for execution in end.executions:
        if execution.id == wanted:
            return steps.finished(current, execution)
    if end.reason is R.DEADLINE_EXCEEDED:
        return steps.lost(current, ExecutionReason.CANCELLED, end.message)
    return steps.lost(current, ExecutionReason.SANDBOX_LOST, end.message)


def overdue(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, now: datetime
) -> Plan | None:
    """The runtime should have ended itself and has not been seen to: end it from here."""
    if draft.expires_at is None or now < draft.expires_at + RUNTIME_GRACE:
        return None
    end = PodEnd(R.DEADLINE_EXCEEDED, "the runtime did not end at maxDuration; it was deleted.")
    return after_end(seen, draft, spec, end, now)


def finish(
    seen: SessionObserved,
    draft: Draft,
    outcome: Outcome,
    now: datetime,
    events: Sequence[Emit] = (),
) -> Plan:
    session = seen.session
    write = session_status.patch(draft.end(outcome), now)
    assert write is not None
    kind = "Warning" if outcome.succeeded is False else "Normal"
    told = Emit(session_key(session), session.uid, kind, outcome.reason, outcome.message)  # type: ignore[arg-type]
    return Plan((write, *events, told, *release(seen)))


def after_its_end(seen: SessionObserved, now: datetime) -> Plan:
    """The sandbox goes; the session follows after its ttl."""
    session = seen.session
    due = ttl_ends_at(session, parse_time(session.status.get("finishedAt")))
    if due is not None and now >= due:
        return Plan((*release(seen), Delete(session_key(session), session.uid)))
    seen_edit: tuple[Action, ...] = ()
    if session.status.get("observedGeneration") != session.generation:
        # Nothing else changes any more; tools that wait for it must not wait for ever.
        status = {**session.status, "observedGeneration": session.generation}
        key, version = session_key(session), session.resource_version
        seen_edit = (PatchStatus(key, session.uid, version, session.status, status),)
    return Plan((*seen_edit, *release(seen)), due)


def collected(seen: SessionObserved, current: StepStatus) -> StepStatus | None:
    """The running step with what its runtime answered to this process."""
    answer = seen.results.get(str(current.get("executionId")))
    if isinstance(answer, Refused):
        message = f"{answer.code}: {answer.detail}"
        return steps.lost(current, ExecutionReason.START_FAILED, message)
    return steps.finished(current, answer) if answer is not None else None


def release(seen: SessionObserved) -> tuple[Action, ...]:
    """Delete our sandbox: its results are in status, or the session ended without it."""
    sandbox = seen.sandbox
    if sandbox is None or sandbox.deleting or not sandbox.owned_by(seen.session.uid):
        return ()
    return (Delete(sandbox_key(sandbox), sandbox.uid),)


def replace_step(statuses: Sequence[StepStatus], new: StepStatus) -> list[StepStatus]:
    return [new if status["name"] == new["name"] else status for status in statuses]


def _step_sentence(step: StepStatus) -> str:
    said = f"step {step['name']}: {step.get('reason')}"
    if "exitCode" in step:
        said += f" with exit code {step['exitCode']}"
    if "signal" in step:
        said += f" by {step['signal']}"
    if "message" in step:
        said += f": {str(step['message']).rstrip('.')}"
    return f"{said}. Read status.steps for its output."


def step_events(
    seen: SessionObserved, statuses: Sequence[StepStatus], was: StepStatus
) -> list[Emit]:
    """One event for a step that has just failed; successes are told by the last one."""
    now = next(status for status in statuses if status["name"] == was["name"])
    if not steps.is_finished(now) or steps.succeeded(now):
        return []
    session = seen.session
    return [Emit(session_key(session), session.uid, "Warning", "StepFailed", _step_sentence(now))]


def stored_reason(condition: Mapping[str, object]) -> R:
    """A stored reason; one that another version wrote reads as SandboxLost."""
    try:
        return R(str(condition.get("reason")))
    except ValueError:
        return R.SANDBOX_LOST
