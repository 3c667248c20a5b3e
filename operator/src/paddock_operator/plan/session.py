"""An AgentSession's plan: get a sandbox, run the steps once each, tell the end, let go.

Order of the writes of an undisturbed session (docs/lifecycle.md has them numbered): create
Sandbox · create Pod · sandbox Ready · session Running with the sandbox's uid · session
Finished · delete Sandbox. The write that names the sandbox and marks a step Running lands
before that step's first dispatch, so after a crash the status tells what may have run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from paddock_api.base import format_time
from paddock_api.conditions import ConditionReason as R
from paddock_api.durations import MAX_DURATION_MS
from paddock_api.messages import Configure, Execution, InputFile
from paddock_api.names import child_name
from paddock_api.reasons import ExecutionReason
from paddock_api.session import AgentSessionSpec
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan import session_status, steps
from paddock_operator.plan.actions import Action, Converse, Create, Delete, Emit, Key, Plan
from paddock_operator.plan.evidence import PodEnd, Trouble, pod_end
from paddock_operator.plan.pods import owner_reference
from paddock_operator.plan.refusals import max_duration_ms, refusal
from paddock_operator.plan.session_status import Draft, Outcome
from paddock_operator.plan.steps import StepStatus
from paddock_operator.plan.views import TRACE_ANNOTATION, ObjectView, PodView, get

RUNTIME_GRACE = timedelta(seconds=15)
"""How long after expiresAt the operator leaves the end to the runtime's own clock: its grace
for a last answer, the kubelet's status and a watch. After that it deletes the sandbox itself."""
CONFIGURE_SLACK = timedelta(seconds=2)
"""A Cancelled execution this close to expiresAt was cancelled by the deadline."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The runtime understood and refused: asking again would not help."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class SessionObserved:
    """Everything a session's plan may look at."""

    session: ObjectView
    template: SandboxTemplateSpec | Trouble
    sandbox: ObjectView | None
    """Whatever has our child's name, whoever owns it."""
    pod: PodView | None
    """The pod whose controller is that sandbox."""
    answering: bool | None
    """Whether the runtime has answered /readyz to this process; None: not asked yet."""
    results: Mapping[str, Execution | Refused]
    """What runtimes answered to this process, by execution id ('' = configure refused)."""
    trouble: Trouble | None = None
    """What the last attempt to create the sandbox was answered."""


def plan_session(seen: SessionObserved, now: datetime) -> Plan:
    """What to do for an AgentSession now."""
    session = seen.session
    if session.deleting:
        return Plan()
    if session.is_true("Finished"):
        return Plan(_release(seen))
    spec = AgentSessionSpec.model_validate(session.spec)
    draft = Draft(session, steps.initial(spec, session.status.get("steps") or ()))
    named = session.status.get("sandbox") or {}
    if named.get("uid"):
        draft = replace(draft, sandbox=(str(named.get("name")), str(named["uid"])))
    if isinstance(seen.template, Trouble):
        return _without_template(seen, draft, spec, seen.template, now)
    if draft.sandbox is None and (why := refusal(spec, seen.template)) is not None:
        return _finish(seen, draft, Outcome(False, why.reason, why.message, stalled=True), now)
    expires_at = session.created_at + timedelta(milliseconds=max_duration_ms(spec, seen.template))
    draft = replace(draft, expires_at=expires_at)
    sandbox = seen.sandbox
    if draft.sandbox is not None and (sandbox is None or sandbox.uid != draft.sandbox[1]):
        end = PodEnd(R.SANDBOX_LOST, f"sandbox/{draft.sandbox[0]} is gone.")
        return _after_end(seen, draft, spec, end, now)
    if sandbox is None:
        return _create_sandbox(seen, draft, spec, now)
    if not sandbox.owned_by(session.uid):
        taken = Trouble(
            R.NAME_TAKEN,
            f"sandbox/{sandbox.name} exists and is not this session's. Delete that sandbox.",
        )
        return _waiting(seen, draft, taken, now)
    end_seen = _sandbox_end(seen)
    if end_seen is not None:
        return _after_end(seen, draft, spec, end_seen, now)
    if not seen.answering:
        if draft.sandbox is not None:
            # It was ready before: either this process has not asked yet, or it is restarting.
            return _overdue(seen, draft, spec, now) or Plan(requeue_at=expires_at + RUNTIME_GRACE)
        return _waiting(seen, draft, _sandbox_trouble(sandbox), now)
    return _work(seen, draft, spec, now)


def _work(seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, now: datetime) -> Plan:
    """The sandbox answers: take in results, dispatch the next step, finish after the last."""
    session, sandbox = seen.session, seen.sandbox
    assert sandbox is not None
    expires_at = draft.expires_at
    assert expires_at is not None
    draft = replace(draft, ready=True, sandbox=(sandbox.name, sandbox.uid))
    statuses = list(draft.steps)
    events: list[Emit] = []
    before = steps.progress(spec, statuses)
    if isinstance(refused := seen.results.get(""), Refused):
        reason = Outcome(False, R.CONFIGURE_REFUSED, f"{refused.code}: {refused.detail}")
        return _finish(seen, _close_running(draft, ExecutionReason.CANCELLED), reason, now)
    if before.current is not None:
        answer = seen.results.get(str(before.current.get("executionId")))
        if isinstance(answer, Refused):
            message = f"{answer.code}: {answer.detail}"
            statuses = _set(
                statuses, steps.lost(before.current, ExecutionReason.START_FAILED, message)
            )
        elif answer is not None:
            statuses = _set(statuses, steps.finished(before.current, answer))
        events = _step_events(seen, statuses, before.current)
    draft = replace(draft, steps=statuses)
    after = steps.progress(spec, statuses)
    draft = replace(draft, stopped_by=after.stopped_by)
    if (outcome := _outcome(draft, after, now)) is not None:
        return _finish(seen, draft, outcome, now, events)
    if (late := _overdue(seen, draft, spec, now)) is not None:
        return late
    execution = None
    if after.next is not None:
        statuses = _set(statuses, steps.running({"name": after.next.name}, session.uid))
        draft = replace(draft, steps=statuses)
        execution = after.next.to_request(session.uid)
    elif after.current is not None:
        name = after.current["name"]
        step = next(step for step in spec.steps if step.name == name)
        execution = step.to_request(session.uid)
    actions: list[Action] = []
    if (write := session_status.patch(draft, now)) is not None:
        actions.append(write)
        if not session.status.get("readyAt"):
            took = (now - session.created_at).total_seconds()
            events.insert(
                0,
                Emit(
                    _key(session),
                    session.uid,
                    "Normal",
                    "SandboxReady",
                    f"sandbox/{sandbox.name} answers, {took:.1f} s after creation.",
                ),
            )
    actions += events
    actions.append(_converse(seen, draft, spec, now, execution))
    return Plan(tuple(actions), expires_at + RUNTIME_GRACE)


def _converse(
    seen: SessionObserved,
    draft: Draft,
    spec: AgentSessionSpec,
    now: datetime,
    execution: object,
) -> Converse:
    assert seen.pod is not None
    assert seen.sandbox is not None
    assert draft.expires_at is not None
    remaining = max(1, int((draft.expires_at - now).total_seconds() * 1000))
    return Converse(
        session=_key(seen.session),
        session_uid=seen.session.uid,
        sandbox_uid=seen.sandbox.uid,
        pod_uid=seen.pod.uid,
        ip=seen.pod.ip,
        configure=Configure(
            session_uid=seen.session.uid,
            env=[entry.to_message() for entry in spec.env],
            files=[InputFile(path=file.path, content=file.content) for file in spec.files],
            expires_in_ms=remaining,
        ),
        expires_at=draft.expires_at,
        execution=execution,  # type: ignore[arg-type]
    )


def _outcome(draft: Draft, progress: steps.Progress, now: datetime) -> Outcome | None:
    """The session's end, if its steps say so."""
    assert draft.expires_at is not None
    if (stopped := progress.stopped_by) is not None:
        if (
            stopped.get("reason") == ExecutionReason.CANCELLED
            and now >= draft.expires_at - CONFIGURE_SLACK
        ):
            return _deadline(draft)
        return Outcome(False, R.STEP_FAILED, _step_sentence(stopped))
    if draft.steps and progress.done == len(draft.steps):
        count, failed = len(draft.steps), len(progress.failed)
        if failed:
            return Outcome(
                True, R.COMPLETED, f"{count} of {count} steps ran, {failed} failed and may."
            )
        return Outcome(True, R.COMPLETED, f"{count} of {count} steps succeeded.")
    return None


def _deadline(draft: Draft) -> Outcome:
    when = f" at {format_time(draft.expires_at)}" if draft.expires_at else ""
    if draft.steps:
        return Outcome(
            False,
            R.DEADLINE_EXCEEDED,
            f"the session reached its maxDuration{when} with steps unfinished. "
            "Raise spec.lifetime.maxDuration or do less.",
        )
    return Outcome(None, R.EXPIRED, f"the session reached its maxDuration{when}.")


def _after_end(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, end: PodEnd, now: datetime
) -> Plan:
    """The sandbox is no more: what its steps became, and what that makes of the session."""
    statuses = list(draft.steps)
    current = steps.progress(spec, statuses).current
    events: list[Emit] = []
    if current is not None:
        statuses = _set(statuses, _last_words(seen, current, end))
        events = _step_events(seen, statuses, current)
    after = steps.progress(spec, statuses)
    draft = replace(draft, steps=statuses, stopped_by=after.stopped_by)
    expired = draft.expires_at is not None and now >= draft.expires_at - CONFIGURE_SLACK
    if statuses and after.stopped_by is None and after.done == len(statuses):
        outcome = _outcome(draft, after, now)
        assert outcome is not None
    elif end.reason is R.DEADLINE_EXCEEDED or (end.reason is R.SANDBOX_LOST and expired):
        outcome = _deadline(draft)
    else:
        outcome = Outcome(
            False, end.reason, f"{end.message} Create the session again to start over."
        )
    return _finish(seen, draft, outcome, now, events)


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


def _overdue(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, now: datetime
) -> Plan | None:
    """The runtime should have ended itself and has not been seen to: end it from here."""
    if draft.expires_at is None or now < draft.expires_at + RUNTIME_GRACE:
        return None
    end = PodEnd(R.DEADLINE_EXCEEDED, "the runtime did not end at maxDuration; it was deleted.")
    return _after_end(seen, draft, spec, end, now)


def _waiting(seen: SessionObserved, draft: Draft, trouble: Trouble | None, now: datetime) -> Plan:
    """Not there yet. Quiet unless there is trouble to tell or to take back."""
    assert draft.expires_at is not None
    if now >= draft.expires_at:
        outcome = _deadline(draft)
        if trouble is not None:
            outcome = replace(outcome, message=f"{outcome.message} Last: {trouble.message}")
        return _finish(seen, draft, replace(outcome, succeeded=False), now)
    told = seen.session.condition("Reconciling")
    if trouble is None and (told is None or told.get("reason") in (R.PENDING, R.STARTING)):
        return Plan(requeue_at=draft.expires_at)
    write = session_status.patch(replace(draft, trouble=trouble), now)
    if write is None:
        return Plan(requeue_at=draft.expires_at)
    actions: list[Action] = [write]
    if trouble is not None and (told is None or told.get("reason") != trouble.reason):
        session = seen.session
        actions.append(Emit(_key(session), session.uid, "Warning", trouble.reason, trouble.message))
    return Plan(tuple(actions), draft.expires_at)


def _without_template(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, trouble: Trouble, now: datetime
) -> Plan:
    """The template may still come (GitOps applies in any order), or may have gone while we ran."""
    if draft.sandbox is not None:
        return Plan()
    life_ms = spec.lifetime.max_duration.ms if spec.lifetime.max_duration else MAX_DURATION_MS
    expires_at = seen.session.created_at + timedelta(milliseconds=life_ms)
    return _waiting(seen, replace(draft, expires_at=expires_at), trouble, now)


def _create_sandbox(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, now: datetime
) -> Plan:
    session = seen.session
    assert draft.expires_at is not None
    if now >= draft.expires_at:
        return _waiting(seen, draft, seen.trouble, now)
    name = child_name(session.name, session.uid)
    metadata: dict[str, object] = {
        "name": name,
        "namespace": session.namespace,
        "labels": {"app.kubernetes.io/managed-by": "paddock"},
        "ownerReferences": [owner_reference(session, "AgentSession")],
    }
    context = get(session.obj, "metadata", "annotations", TRACE_ANNOTATION)
    if isinstance(context, str):
        metadata["annotations"] = {TRACE_ANNOTATION: context}
    manifest = {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": metadata,
        "spec": {"templateRef": dict(session.spec.get("templateRef") or {})},
    }
    create = Create(Key("Sandbox", session.namespace, name), session.uid, manifest)
    reported: tuple[Action, ...] = ()
    if seen.trouble is not None:
        reported = _waiting(seen, draft, seen.trouble, now).actions
    return Plan((*reported, create), draft.expires_at)


def _sandbox_end(seen: SessionObserved) -> PodEnd | None:
    """Proof that the sandbox is over: its own Finished condition, its pod, its deletion."""
    sandbox = seen.sandbox
    assert sandbox is not None
    if seen.pod is not None and (end := pod_end(seen.pod)) is not None:
        return end
    if (finished := sandbox.condition("Finished")) and finished.get("status") == "True":
        return PodEnd(_reason(finished), str(finished.get("message")))
    if sandbox.deleting:
        return PodEnd(R.SANDBOX_LOST, f"sandbox/{sandbox.name} was deleted by somebody else.")
    return None


def _sandbox_trouble(sandbox: ObjectView) -> Trouble | None:
    ready = sandbox.condition("Ready")
    if ready is None or ready.get("status") != "False":
        return None
    return Trouble(_reason(ready), str(ready.get("message")))


def _finish(
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
    told = Emit(_key(session), session.uid, kind, outcome.reason, outcome.message)  # type: ignore[arg-type]
    return Plan((write, *events, told, *_release(seen)))


def _release(seen: SessionObserved) -> tuple[Action, ...]:
    """Delete our sandbox: its results are in status, or the session ended without it."""
    sandbox = seen.sandbox
    if sandbox is None or sandbox.deleting or not sandbox.owned_by(seen.session.uid):
        return ()
    return (Delete(Key("Sandbox", sandbox.namespace, sandbox.name), sandbox.uid),)


def _close_running(draft: Draft, reason: ExecutionReason) -> Draft:
    closed = [
        steps.lost(step, reason, "the sandbox could not be configured.")
        if step.get("state") == "Running"
        else step
        for step in draft.steps
    ]
    return replace(draft, steps=closed)


def _set(statuses: Sequence[StepStatus], new: StepStatus) -> list[StepStatus]:
    return [new if status["name"] == new["name"] else status for status in statuses]


def _step_sentence(step: StepStatus) -> str:
    said = f"step {step['name']}: {step.get('reason')}"
    if "exitCode" in step:
        said += f" with exit code {step['exitCode']}"
    if "signal" in step:
        said += f" by {step['signal']}"
    if "message" in step:
        said += f": {step['message']}"
    return f"{said}. Read status.steps for its output."


def _step_events(
    seen: SessionObserved, statuses: Sequence[StepStatus], was: StepStatus
) -> list[Emit]:
    """One event for a step that has just failed; successes are told by the last one."""
    now = next(status for status in statuses if status["name"] == was["name"])
    if not steps.is_finished(now) or steps.succeeded(now):
        return []
    session = seen.session
    return [Emit(_key(session), session.uid, "Warning", "StepFailed", _step_sentence(now))]


def _reason(condition: Mapping[str, object]) -> R:
    """A stored reason; one that another version wrote reads as SandboxLost."""
    try:
        return R(str(condition.get("reason")))
    except ValueError:
        return R.SANDBOX_LOST


def _key(session: ObjectView) -> Key:
    return Key("AgentSession", session.namespace, session.name)
