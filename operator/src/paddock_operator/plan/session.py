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
from paddock_api.session import AgentSessionSpec
from paddock_operator.plan import lifetimes, steps
from paddock_operator.plan.actions import Emit, Plan, SetSuspend, until
from paddock_operator.plan.conditions import Condition
from paddock_operator.plan.evidence import PodEnd, Trouble, last_words_until
from paddock_operator.plan.lifetimes import RUNTIME_GRACE
from paddock_operator.plan.refusals import refusal
from paddock_operator.plan.session_ends import (
    after_end,
    after_its_end,
    finish,
    overdue,
    release,
    stored_reason,
)
from paddock_operator.plan.session_input import SessionObserved
from paddock_operator.plan.session_start import (
    create_sandbox,
    replacement,
    sandbox_end,
    sandbox_trouble,
    waiting,
)
from paddock_operator.plan.session_status import Draft, Outcome
from paddock_operator.plan.session_suspend import plan_suspended
from paddock_operator.plan.session_work import named, work
from paddock_operator.plan.templates import spec_invalid
from paddock_operator.plan.views import ObjectView, parse_time, sandbox_key, session_key


def plan_session(seen: SessionObserved, now: datetime) -> Plan:
    """What to do for an AgentSession now."""
    session = seen.session
    if session.deleting:
        return Plan(release(seen))  # somebody's finalizer may keep it here for long
    if session.is_true("Finished"):
        return after_its_end(seen, now)
    draft = _draft(session)
    try:
        spec = AgentSessionSpec.model_validate(session.spec)
    except ValidationError as error:
        return _not_understood(seen, draft, error, now)
    draft = replace(draft, steps=steps.initial(spec, draft.steps))
    template = seen.template
    # Before anything was made, more than the ceiling ends the session: see refusal.
    ceiling = lifetimes.ceiling_ms(template, seen.pod) if seen.sandbox is not None else None
    default_ms = lifetimes.default_ms(seen.sandbox, template)
    expires_at, note = lifetimes.expires_at(session, spec.lifetime, default_ms, ceiling)
    draft = replace(draft, expires_at=expires_at, note=note)
    sandbox = seen.sandbox
    if draft.sandbox is None and sandbox is None:
        if isinstance(template, Trouble):
            return waiting(seen, draft, template, now)  # GitOps applies in any order
        if (why := refusal(spec, template)) is not None:
            return finish(seen, draft, Outcome(False, why.reason, why.message, stalled=True), now)
    if draft.sandbox is not None and (sandbox is None or sandbox.uid != draft.sandbox[1]):
        end = PodEnd(R.SANDBOX_LOST, f"sandbox/{draft.sandbox[0]} is gone.")
        return after_end(seen, draft, spec, end, now)
    ours = sandbox is not None and sandbox.owned_by(session.uid)
    if ours and (ended := sandbox_end(seen, now)) is not None:
        return replacement(seen, draft, ended, now) or after_end(seen, draft, spec, ended, now)
    if spec.suspend:
        return plan_suspended(seen, draft, spec, now)
    if sandbox is None:
        return create_sandbox(seen, draft, spec, now)
    if not ours:
        taken = Trouble(
            R.NAME_TAKEN,
            f"sandbox/{sandbox.name} exists and is not this session's. Delete that sandbox.",
        )
        return waiting(seen, draft, taken, now)
    return _with_sandbox(seen, sandbox, draft, spec, now)


def _draft(session: ObjectView) -> Draft:
    """What the stored status says, before anything new is taken in."""
    named = session.status.get("sandbox") or {}
    suspension = None
    if (told := session.condition("Suspended")) is not None:
        suspension = Condition("Suspended", "False", R.RESUMED, "spec.suspend is false again.")
        if session.spec.get("suspend") is True:  # as it is until the plan says otherwise
            suspension = Condition(
                "Suspended", told["status"], stored_reason(told), str(told.get("message"))
            )
    return Draft(
        session,
        session.status.get("steps") or (),
        (str(named.get("name")), str(named["uid"])) if named.get("uid") else None,
        suspension=suspension,
        sandboxes_lost=int(session.status.get("sandboxesLost") or 0),
    )


def _not_understood(
    seen: SessionObserved, draft: Draft, error: ValidationError, now: datetime
) -> Plan:
    """A spec of a newer version. What runs goes on; its end is told, step by step or not."""
    session, sandbox = seen.session, seen.sandbox
    if draft.sandbox is not None:
        end: PodEnd | None = PodEnd(R.SANDBOX_LOST, f"sandbox/{draft.sandbox[0]} is gone.")
        if sandbox is not None and sandbox.uid == draft.sandbox[1]:
            end = sandbox_end(seen, now)
        if end is not None:
            return finish(seen, draft, Outcome(False, end.reason, end.message), now)
    life_ms = lifetimes.default_ms(sandbox, None)
    stored = parse_time(session.status.get("expiresAt"))
    expires_at = stored or session.created_at + timedelta(milliseconds=life_ms)
    return waiting(seen, replace(draft, expires_at=expires_at), spec_invalid(error), now)


def _with_sandbox(
    seen: SessionObserved,
    sandbox: ObjectView,
    draft: Draft,
    spec: AgentSessionSpec,
    now: datetime,
) -> Plan:
    assert draft.expires_at is not None
    if sandbox.spec.get("suspend") is True:
        key, uid, version = sandbox_key(sandbox), sandbox.uid, sandbox.resource_version
        wake = SetSuspend(key, uid, version, suspend=False)
        told = "spec.suspend is false again: another pod is made."
        event = Emit(session_key(seen.session), seen.session.uid, "Normal", "Resumed", told)
        return Plan((wake, event), draft.expires_at)
    leaving = seen.pod is not None and last_words_until(seen.pod) is not None
    if seen.answering and named(sandbox, seen.pod) and not (leaving and draft.sandbox is None):
        return work(seen, sandbox, draft, spec, now)
    if not seen.session.is_true("SandboxReady"):
        return waiting(seen, draft, sandbox_trouble(sandbox), now)
    # It was ready before: either this process has not asked yet, or it is restarting.
    late = overdue(seen, draft, spec, now)
    quiet = Plan(requeue_at=draft.expires_at + RUNTIME_GRACE)
    return late or until(quiet, last_words_until(seen.pod) if seen.pod is not None else None)
