"""A Sandbox's plan: one pod at a time, and the truth about it in conditions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from paddock_api.conditions import ConditionReason as R
from paddock_api.sandbox import SandboxSpec
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan import sandbox_status, volumes
from paddock_operator.plan.actions import Action, Create, Delete, Key, Plan, Probe, until
from paddock_operator.plan.evidence import (
    RUNTIME,
    PodEnd,
    Trouble,
    end_of_gone,
    last_words_until,
    pod_end,
    pod_trouble,
)
from paddock_operator.plan.handmade import Life, configure, life_of
from paddock_operator.plan.lifetimes import RUNTIME_GRACE, ttl_ends_at
from paddock_operator.plan.pods import PodSettings, build_pod
from paddock_operator.plan.sandbox_status import Report
from paddock_operator.plan.templates import spec_invalid
from paddock_operator.plan.views import (
    ObjectView,
    PodView,
    is_of_a_session,
    parse_time,
    sandbox_key,
)

NAME_TAKEN_RETRY = timedelta(seconds=15)
"""Nothing tells us that an object which is not ours has gone."""


@dataclass(frozen=True, slots=True)
class SandboxObserved:
    """Everything a sandbox's plan may look at."""

    sandbox: ObjectView
    template: SandboxTemplateSpec | Trouble
    pod: PodView | None
    """Whatever has its name, whoever owns it."""
    gone: PodView | None
    """The pod that its status names, as it was when it went."""
    answering: bool
    """The runtime of exactly this pod uid has answered /readyz to this process."""
    free_uid: int
    """The workspace uid for a pod to be made: its own of before, else one that nobody has."""
    trouble: Trouble | None = None
    """What the last attempt to create the pod was answered."""
    claimed: bool = False
    """A session's status names this very sandbox, so steps may have run in its pod."""
    in_use: bool = False
    """That session has not said that it is suspended: a step may be running in the pod."""


def plan_sandbox(seen: SandboxObserved, settings: PodSettings, now: datetime) -> Plan:
    """What to do for a Sandbox now."""
    sandbox = seen.sandbox
    if sandbox.deleting:
        return Plan()
    if sandbox.is_true("Finished"):
        return _after_its_end(seen, now)
    try:
        SandboxSpec.model_validate(sandbox.spec)
    except ValidationError as error:
        return _report(seen, now, Report(trouble=spec_invalid(error)))
    life = life_of(sandbox, seen.template, _own_pod(seen))
    if life.expires_at is not None and now >= life.expires_at:
        # Its pod may prove another end, most often an earlier one.
        told = end_by_its_pod(sandbox, _own_pod(seen), seen.gone, now)
        waits_for_runtime = _own_pod(seen) is not None and seen.answering
        overdue = not waits_for_runtime or now >= life.expires_at + RUNTIME_GRACE
        if told is None and overdue:
            end = PodEnd(R.DEADLINE_EXCEEDED, "it reached its maxDuration.")
            return _report(seen, now, Report(end=end), life)
    plan = _live(seen, settings, life, now)
    if life.expires_at is None:
        return plan
    due = life.expires_at if now < life.expires_at else life.expires_at + RUNTIME_GRACE
    return until(plan, due)


def _live(seen: SandboxObserved, settings: PodSettings, life: Life, now: datetime) -> Plan:
    sandbox, pod = seen.sandbox, seen.pod
    known = sandbox.status.get("podUid")
    # Of a session's sandbox nobody else may take the pod away: a step would be lost with it.
    if sandbox.spec.get("suspend") is True and not seen.in_use:
        return _suspend(seen, life, now)
    if pod is None:
        if known or (seen.claimed and sandbox.condition("Suspended") is None):
            lost = PodEnd(R.SANDBOX_LOST, f"pod {sandbox.name} is gone.")
            end = end_by_its_pod(sandbox, None, seen.gone, now)
            return _report(seen, now, Report(end=end or lost), life)
        if life.refused is not None:
            return _report(seen, now, Report(trouble=life.refused, stalled=True), life)
        return _create_pod(seen, settings, life, now)
    if not pod.owned_by(sandbox.uid):
        if pod.deleting:
            return Plan(requeue_at=now + NAME_TAKEN_RETRY)  # its DELETED event brings us back
        taken = Trouble(
            R.NAME_TAKEN,
            f"pod {pod.name} exists and is not this sandbox's. Delete or rename that pod.",
        )
        return until(_report(seen, now, Report(trouble=taken), life), now + NAME_TAKEN_RETRY)
    if known not in (None, pod.uid):
        lost = PodEnd(R.SANDBOX_LOST, f"pod {pod.name} with uid {known} is gone.")
        end = end_by_its_pod(sandbox, None, seen.gone, now)
        return _report(seen, now, Report(end=end or lost), life)
    end = pod_end(pod, now)
    if known is None and sandbox.is_true("Suspended") and (pod.deleting or end is not None):
        return Plan(_delete_pod(pod))  # of before the suspension: the next one takes its name
    if end is not None:
        return _report(seen, now, Report(end=end), life)
    if not seen.answering:
        probe: tuple[Action, ...] = ()
        if pod.ip and pod.container(RUNTIME).running:
            probe = (Probe(sandbox_key(sandbox), pod.uid, pod.ip),)
        if sandbox.is_true("Ready"):
            # Another life of this operator saw it ready: no write until something proves otherwise.
            return until(Plan(probe), last_words_until(pod))
        told = _report(seen, now, Report(trouble=pod_trouble(pod)), life)
        return until(Plan((*probe, *told.actions)), last_words_until(pod))
    ready = _report(seen, now, Report(ready=True, note=life.note), life)
    if (converse := configure(sandbox, pod, life, now)) is not None:
        ready = Plan((*ready.actions, converse))
    return until(ready, last_words_until(pod))


def _after_its_end(seen: SandboxObserved, now: datetime) -> Plan:
    """One made by hand lets its pod go and follows after its ttl; one of a session is deleted
    by its session, which may still have to read the pod's last words."""
    sandbox, pod = seen.sandbox, _own_pod(seen)
    if is_of_a_session(sandbox):
        return Plan()
    actions = _delete_pod(pod) if pod is not None else ()
    finished = sandbox.condition("Finished") or {}
    due = ttl_ends_at(sandbox, parse_time(finished.get("lastTransitionTime")))
    if due is not None and now >= due:
        delete = Delete(sandbox_key(sandbox), sandbox.uid)
        return Plan((*actions, delete))
    return Plan(actions, due)


def _suspend(seen: SandboxObserved, life: Life, now: datetime) -> Plan:
    """The status first: a pod that goes without it would count as lost."""
    plan = _report(seen, now, Report(suspended=True), life)
    pod = _own_pod(seen)
    return Plan((*plan.actions, *(_delete_pod(pod) if pod is not None else ())))


def _create_pod(seen: SandboxObserved, settings: PodSettings, life: Life, now: datetime) -> Plan:
    sandbox = seen.sandbox
    if isinstance(seen.template, Trouble):
        return _report(seen, now, Report(trouble=seen.template), life)
    actions: list[Action] = []
    if seen.trouble is not None:
        actions += _report(seen, now, Report(trouble=seen.trouble), life).actions
    # What its first pod had stays, whatever the template has come to say: files are in it.
    claim_name = sandbox.status.get("volumeClaimName")
    first = "workspaceUid" not in sandbox.status
    if first and (claim := volumes.claim_of(sandbox, seen.template)) is not None:
        actions.append(claim)
        claim_name = claim.key.name
    manifest = build_pod(sandbox, seen.template, settings, seen.free_uid, claim_name)
    actions.append(Create(Key("Pod", sandbox.namespace, sandbox.name), sandbox.uid, manifest))
    return Plan(tuple(actions))


def end_by_its_pod(
    sandbox: ObjectView, pod: PodView | None, gone: PodView | None, now: datetime
) -> PodEnd | None:
    """The end that its own pod proves, or did when it went. That of a suspended sandbox is meant
    to end."""
    if sandbox.is_true("Suspended") or sandbox.spec.get("suspend") is True:
        return None
    if pod is not None:
        return pod_end(pod, now)
    return end_of_gone(gone) if gone is not None else None


def _own_pod(seen: SandboxObserved) -> PodView | None:
    """Owned by it, and not a second one: it never has two."""
    pod, known = seen.pod, seen.sandbox.status.get("podUid")
    ours = pod is not None and pod.owned_by(seen.sandbox.uid) and known in (None, pod.uid)
    return pod if ours else None


def _delete_pod(pod: PodView) -> tuple[Action, ...]:
    if pod.deleting:
        return ()
    return (Delete(Key("Pod", pod.namespace, pod.name), pod.uid),)


def _report(seen: SandboxObserved, now: datetime, report: Report, life: Life | None = None) -> Plan:
    pod = _own_pod(seen)
    expires_at = life.expires_at if life is not None and pod is not None else None
    write = sandbox_status.patch(seen.sandbox, pod, report, now, expires_at)
    return Plan((write,) if write is not None else ())
