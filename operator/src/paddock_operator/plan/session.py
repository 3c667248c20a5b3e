"""An AgentSession's plan: get a sandbox, run the steps once each, tell the end, let go.

Order of the writes of an undisturbed session (docs/lifecycle.md has them numbered): create
Sandbox · create Pod · sandbox Ready · session Running with the sandbox's uid · session
Finished · delete Sandbox. The write that names the sandbox and marks a step Running lands
before that step's first dispatch, so after a crash the status tells what may have run.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from paddock_api.conditions import ConditionReason as R
from paddock_api.durations import MAX_DURATION_MS
from paddock_api.messages import Configure, InputFile
from paddock_api.names import child_name
from paddock_api.reasons import ExecutionReason
from paddock_api.session import AgentSessionSpec
from paddock_operator.plan import session_status, steps
from paddock_operator.plan.actions import Action, Converse, Create, Emit, Key, Plan
from paddock_operator.plan.evidence import PodEnd, Trouble, already_told, pod_end
from paddock_operator.plan.pods import owner_reference
from paddock_operator.plan.refusals import max_duration_ms, refusal
from paddock_operator.plan.sandbox import NAME_TAKEN_RETRY
from paddock_operator.plan.session_ends import (
    RUNTIME_GRACE,
    after_end,
    close_running,
    finish,
    never_ready,
    outcome_of,
    overdue,
    release,
    replace_step,
    session_key,
    step_events,
    stored_reason,
)
from paddock_operator.plan.session_input import Refused, SessionObserved
from paddock_operator.plan.session_status import Draft, Outcome
from paddock_operator.plan.templates import spec_invalid
from paddock_operator.plan.views import TRACE_ANNOTATION, ObjectView, get, parse_time


def plan_session(seen: SessionObserved, now: datetime) -> Plan:
    """What to do for an AgentSession now."""
    session = seen.session
    if session.deleting:
        return Plan()
    if session.is_true("Finished"):
        return Plan(release(seen))
    named = session.status.get("sandbox") or {}
    used = (str(named.get("name")), str(named["uid"])) if named.get("uid") else None
    stored = session.status.get("steps") or ()
    try:
        spec = AgentSessionSpec.model_validate(session.spec)
    except ValidationError as error:
        return _waiting_for_an_upgrade(seen, Draft(session, stored, used), error, now)
    draft = Draft(session, steps.initial(spec, stored), used)
    if draft.sandbox is None:
        if isinstance(seen.template, Trouble):
            return _without_template(seen, draft, spec, seen.template, now)
        if (why := refusal(spec, seen.template)) is not None:
            return finish(seen, draft, Outcome(False, why.reason, why.message, stalled=True), now)
    expires_at = _expires_at(seen, spec)
    draft = replace(draft, expires_at=expires_at)
    sandbox = seen.sandbox
    if draft.sandbox is not None and (sandbox is None or sandbox.uid != draft.sandbox[1]):
        end = PodEnd(R.SANDBOX_LOST, f"sandbox/{draft.sandbox[0]} is gone.")
        return after_end(seen, draft, spec, end, now)
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
        return after_end(seen, draft, spec, end_seen, now)
    if not seen.answering:
        if draft.sandbox is not None:
            # It was ready before: either this process has not asked yet, or it is restarting.
            return overdue(seen, draft, spec, now) or Plan(requeue_at=expires_at + RUNTIME_GRACE)
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
        return finish(seen, close_running(draft, ExecutionReason.CANCELLED), reason, now)
    if before.current is not None:
        answer = seen.results.get(str(before.current.get("executionId")))
        if isinstance(answer, Refused):
            message = f"{answer.code}: {answer.detail}"
            statuses = replace_step(
                statuses, steps.lost(before.current, ExecutionReason.START_FAILED, message)
            )
        elif answer is not None:
            statuses = replace_step(statuses, steps.finished(before.current, answer))
        events = step_events(seen, statuses, before.current)
    draft = replace(draft, steps=statuses)
    after = steps.progress(spec, statuses)
    draft = replace(draft, stopped_by=after.stopped_by)
    if (outcome := outcome_of(draft, after, now)) is not None:
        return finish(seen, draft, outcome, now, events)
    if (late := overdue(seen, draft, spec, now)) is not None:
        return late
    execution = None
    if after.next is not None:
        statuses = replace_step(statuses, steps.running({"name": after.next.name}, session.uid))
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
                    session_key(session),
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
        session=session_key(seen.session),
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


def _waiting(seen: SessionObserved, draft: Draft, trouble: Trouble | None, now: datetime) -> Plan:
    """Not there yet. Quiet unless there is trouble to tell or to take back."""
    assert draft.expires_at is not None
    if now >= draft.expires_at:
        return finish(seen, draft, never_ready(draft, trouble), now)
    again = draft.expires_at
    if trouble is not None and trouble.reason is R.NAME_TAKEN:
        again = min(again, now + NAME_TAKEN_RETRY)
    told = seen.session.condition("Reconciling") or {}
    if already_told(told.get("reason"), trouble):
        return Plan(requeue_at=again)
    write = session_status.patch(
        replace(draft, trouble=trouble, starting=seen.sandbox is not None), now
    )
    if write is None:
        return Plan(requeue_at=again)
    actions: list[Action] = [write]
    if trouble is not None:
        session = seen.session
        actions.append(
            Emit(session_key(session), session.uid, "Warning", trouble.reason, trouble.message)
        )
    return Plan(tuple(actions), again)


def _expires_at(seen: SessionObserved, spec: AgentSessionSpec) -> datetime:
    """The end of its life. A running session keeps the one it was given if its template has
    gone, or if an edit asks for more than the template's ceiling: that is never clamped."""
    session, template = seen.session, seen.template
    stored = parse_time(session.status.get("expiresAt"))
    if isinstance(template, Trouble):
        return stored or session.created_at
    wanted_ms = max_duration_ms(spec, template)
    if stored is not None and wanted_ms > template.lifetime.max_duration_limit.ms:
        return stored
    return session.created_at + timedelta(milliseconds=wanted_ms)


def _without_template(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, trouble: Trouble, now: datetime
) -> Plan:
    """The template may still come: GitOps applies in any order."""
    life_ms = spec.lifetime.max_duration.ms if spec.lifetime.max_duration else MAX_DURATION_MS
    expires_at = seen.session.created_at + timedelta(milliseconds=life_ms)
    return _waiting(seen, replace(draft, expires_at=expires_at), trouble, now)


def _waiting_for_an_upgrade(
    seen: SessionObserved, draft: Draft, error: ValidationError, now: datetime
) -> Plan:
    expires_at = seen.session.created_at + timedelta(milliseconds=MAX_DURATION_MS)
    return _waiting(seen, replace(draft, expires_at=expires_at), spec_invalid(error), now)


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
        return PodEnd(stored_reason(finished), str(finished.get("message")))
    if sandbox.deleting:
        return PodEnd(R.SANDBOX_LOST, f"sandbox/{sandbox.name} was deleted by somebody else.")
    return None


def _sandbox_trouble(sandbox: ObjectView) -> Trouble | None:
    ready = sandbox.condition("Ready")
    if ready is None or ready.get("status") != "False":
        return None
    return Trouble(stored_reason(ready), str(ready.get("message")))
