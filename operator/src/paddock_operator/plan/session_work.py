"""A session whose sandbox answers: take in results, send the next step, finish after the last."""

from dataclasses import replace
from datetime import datetime, timedelta

from paddock_api.conditions import ConditionReason as R
from paddock_api.executions import ExecutionRequest
from paddock_api.messages import Configure, InputFile
from paddock_api.reasons import ExecutionReason
from paddock_api.session import AgentSessionSpec
from paddock_operator.plan import lifetimes, session_status, steps
from paddock_operator.plan.actions import Action, Converse, Emit, Plan, until
from paddock_operator.plan.evidence import last_words_until
from paddock_operator.plan.lifetimes import RUNTIME_GRACE
from paddock_operator.plan.session_ends import (
    DEADLINE_SLACK,
    WITH_THE_SANDBOX,
    collected,
    finish,
    outcome_of,
    overdue,
    replace_step,
    step_events,
)
from paddock_operator.plan.session_input import Refused, SessionObserved
from paddock_operator.plan.session_status import Draft, Outcome
from paddock_operator.plan.steps import StepStatus
from paddock_operator.plan.views import ObjectView, PodView, parse_time, session_key

POD_TOLD = timedelta(seconds=5)
"""From a runtime's last answer to the pod status that says why: its exit (2 s at most), the
kubelet's sync (1 s) and a watch."""


def work(
    seen: SessionObserved,
    sandbox: ObjectView,
    draft: Draft,
    spec: AgentSessionSpec,
    now: datetime,
) -> Plan:
    """The sandbox answers: take in results, dispatch the next step, finish after the last."""
    session, pod = seen.session, seen.pod
    expires_at = draft.expires_at
    assert expires_at is not None
    assert pod is not None
    leaving = last_words_until(pod) is not None
    draft = replace(draft, ready=True, sandbox=(sandbox.name, sandbox.uid))
    statuses = list(draft.steps)
    events: list[Emit] = []
    before = steps.progress(spec, statuses)
    if isinstance(refused := seen.results.get(""), Refused):
        reason = Outcome(False, R.CONFIGURE_REFUSED, f"{refused.code}: {refused.detail}")
        return finish(seen, draft, reason, now)
    ended = collected(seen, before.current) if before.current is not None else None
    explained = _explained_until(pod, ended, now) if ended is not None else None
    if explained is not None and now < expires_at - DEADLINE_SLACK:
        return Plan(requeue_at=explained)  # what was answered is kept until then
    if before.current is not None and ended is not None:
        statuses = replace_step(statuses, ended)
        events = step_events(seen, statuses, before.current)
    after = steps.progress(spec, statuses)
    draft = replace(draft, steps=statuses, stopped_by=after.stopped_by)
    if (outcome := outcome_of(draft, after, now)) is not None:
        return finish(seen, draft, outcome, now, events)
    if (late := overdue(seen, draft, spec, now)) is not None:
        return late
    execution = None
    if after.next is not None and not leaving:
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
            events.insert(0, _ready_event(session, sandbox, now))
    actions += events
    if not leaving or execution is not None:
        actions.append(_converse(seen, sandbox, draft, spec, now, execution))
    plan = Plan(tuple(actions), expires_at + RUNTIME_GRACE)
    return until(plan, last_words_until(pod))


def _explained_until(pod: PodView, ended: StepStatus, now: datetime) -> datetime | None:
    """An execution that ended with its sandbox is explained by how the pod ends. Its runtime
    answers before the kubelet writes that, and before a slow watch brings it."""
    if pod.deleting and ended.get("reason") in WITH_THE_SANDBOX:
        return last_words_until(pod)
    finished = parse_time(ended.get("finishedAt"))
    if ended.get("reason") != ExecutionReason.CANCELLED or finished is None:
        return None
    # By the pod's clock: if it is far from ours, the step's own reason has to do.
    return finished + POD_TOLD if finished <= now < finished + POD_TOLD else None


def _ready_event(session: ObjectView, sandbox: ObjectView, now: datetime) -> Emit:
    took = (now - sandbox.created_at).total_seconds()
    message = f"sandbox/{sandbox.name} answers, {took:.1f} s after it was made."
    return Emit(session_key(session), session.uid, "Normal", "SandboxReady", message)


def _converse(
    seen: SessionObserved,
    sandbox: ObjectView,
    draft: Draft,
    spec: AgentSessionSpec,
    now: datetime,
    execution: ExecutionRequest | None,
) -> Converse:
    session, pod = seen.session, seen.pod
    assert pod is not None
    assert draft.expires_at is not None
    return Converse(
        session=session_key(session),
        session_uid=session.uid,
        sandbox_uid=sandbox.uid,
        pod_uid=pod.uid,
        ip=pod.ip,
        configure=Configure(
            session_uid=session.uid,
            env=[entry.to_message() for entry in spec.env],
            files=[InputFile(path=file.path, content=file.content) for file in spec.files],
            keep_files=pod.volume_claim is not None,
            expires_in_ms=lifetimes.remaining_ms(draft.expires_at, now),
            idle_timeout_ms=lifetimes.idle_ms(spec.lifetime, sandbox, seen.template),
        ),
        expires_at=draft.expires_at,
        execution=execution,
    )


def named(sandbox: ObjectView, pod: PodView | None) -> bool:
    """After a suspension the sandbox may have another pod. Its status names it before anything
    is sent to it: one that is lost then is not replaced, and no step is sent twice."""
    if sandbox.condition("Suspended") is None:
        return True
    return pod is not None and sandbox.status.get("podUid") == pod.uid
