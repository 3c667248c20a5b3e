"""A session on its way to a sandbox that answers: make one, wait for it, replace a lost one."""

from dataclasses import replace
from datetime import datetime

from paddock_api.conditions import ConditionReason as R
from paddock_api.names import sandbox_name
from paddock_api.session import AgentSessionSpec
from paddock_operator.plan import lifetimes, session_status
from paddock_operator.plan.actions import Action, Create, Emit, Key, Plan
from paddock_operator.plan.evidence import PodEnd, Trouble, already_told
from paddock_operator.plan.pods import owner_reference
from paddock_operator.plan.sandbox import NAME_TAKEN_RETRY, end_by_its_pod
from paddock_operator.plan.session_ends import (
    deadline,
    finish,
    never_ready,
    release,
    stored_reason,
)
from paddock_operator.plan.session_input import SessionObserved
from paddock_operator.plan.session_status import Draft
from paddock_operator.plan.views import TRACE_ANNOTATION, ObjectView, get, session_key

MOST_LOST = 3
"""Sandboxes replaced before a session gives up: something ends them one after the other."""
_FROM_OUTSIDE = frozenset(
    {R.EVICTED, R.NODE_LOST, R.PREEMPTED, R.POD_DELETED, R.SANDBOX_LOST, R.TERMINATED}
)
"""Ends that say nothing about the template: another sandbox may do better."""


def create_sandbox(
    seen: SessionObserved, draft: Draft, spec: AgentSessionSpec, now: datetime
) -> Plan:
    """Its name is the session's and a hash of its uid, so a second attempt finds the first."""
    session = seen.session
    assert draft.expires_at is not None
    if isinstance(seen.template, Trouble) or now >= draft.expires_at:
        return waiting(seen, draft, seen.trouble, now)
    name = sandbox_name(session.name, session.uid)
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
        "spec": {
            "templateRef": dict(session.spec.get("templateRef") or {}),
            "lifetime": lifetimes.resolved(spec.lifetime, seen.template),
        },
    }
    create = Create(Key("Sandbox", session.namespace, name), session.uid, manifest)
    reported: tuple[Action, ...] = ()
    if seen.trouble is not None:
        reported = waiting(seen, draft, seen.trouble, now).actions
    return Plan((*reported, create), draft.expires_at)


def waiting(seen: SessionObserved, draft: Draft, trouble: Trouble | None, now: datetime) -> Plan:
    """Not there yet. Quiet unless there is trouble to tell or to take back."""
    session = seen.session
    assert draft.expires_at is not None
    if now >= draft.expires_at:
        resumed = session.status.get("readyAt") is not None
        outcome = deadline(draft) if resumed else never_ready(draft, trouble)
        return finish(seen, draft, outcome, now)
    again = draft.expires_at
    if trouble is not None and trouble.reason is R.NAME_TAKEN:
        again = min(again, now + NAME_TAKEN_RETRY)
    told = session.condition("Reconciling") or {}
    if already_told(told.get("reason"), trouble) and not session.is_true("Suspended"):
        return Plan(requeue_at=again)
    write = session_status.patch(
        replace(draft, trouble=trouble, starting=seen.sandbox is not None), now
    )
    if write is None:
        return Plan(requeue_at=again)
    actions: list[Action] = [write]
    if trouble is not None:
        actions.append(
            Emit(session_key(session), session.uid, "Warning", trouble.reason, trouble.message)
        )
    return Plan(tuple(actions), again)


def replacement(seen: SessionObserved, draft: Draft, end: PodEnd, now: datetime) -> Plan | None:
    """Another sandbox instead of one that went before anything was sent to it.

    The status counts it once, before the old one is deleted: its reason stays there until the
    next one is seen. None where the end is the session's too.
    """
    session, sandbox = seen.session, seen.sandbox
    assert draft.expires_at is not None
    if draft.sandbox is not None or end.reason not in _FROM_OUTSIDE or now >= draft.expires_at:
        return None
    if sandbox is not None and sandbox.deleting:
        return Plan(requeue_at=draft.expires_at)  # its DELETED event brings us back
    counted_for = (session.condition("Reconciling") or {}).get("reason")
    if draft.suspended or counted_for in _FROM_OUTSIDE:
        return Plan(release(seen), draft.expires_at)
    if draft.sandboxes_lost >= MOST_LOST:
        return None
    trouble = Trouble(end.reason, f"{end.message} Nothing had run in it: another one is made.")
    counted = replace(draft, trouble=trouble, sandboxes_lost=draft.sandboxes_lost + 1)
    write = session_status.patch(counted, now)
    assert write is not None
    told = Emit(session_key(session), session.uid, "Warning", trouble.reason, trouble.message)
    return Plan((write, told, *release(seen)), draft.expires_at)


def sandbox_end(seen: SessionObserved, now: datetime) -> PodEnd | None:
    """Proof that the sandbox is over: its own Finished condition, its pod, its deletion."""
    sandbox = seen.sandbox
    assert sandbox is not None
    if (end := end_by_its_pod(sandbox, seen.pod, seen.gone, now)) is not None:
        return end
    if (finished := sandbox.condition("Finished")) and finished.get("status") == "True":
        return PodEnd(stored_reason(finished), str(finished.get("message")))
    if sandbox.deleting:
        return PodEnd(R.SANDBOX_LOST, f"sandbox/{sandbox.name} was deleted by somebody else.")
    return None


def sandbox_trouble(sandbox: ObjectView) -> Trouble | None:
    """What keeps the sandbox from answering, as its status tells it."""
    ready = sandbox.condition("Ready")
    if ready is None or ready.get("status") != "False" or ready.get("reason") == R.SUSPENDED:
        return None
    return Trouble(stored_reason(ready), str(ready.get("message")))
