"""A Sandbox's plan: one pod per sandbox uid, and the truth about it in three conditions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from paddock_api.base import format_time
from paddock_api.conditions import ConditionReason as R
from paddock_api.messages import Configure
from paddock_api.sandbox import SandboxSpec
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Action, Converse, Create, Key, PatchStatus, Plan, Probe
from paddock_operator.plan.conditions import Condition, merge
from paddock_operator.plan.evidence import (
    RUNTIME,
    PodEnd,
    Trouble,
    already_told,
    pod_end,
    pod_trouble,
)
from paddock_operator.plan.pods import PodSettings, build_pod
from paddock_operator.plan.templates import spec_invalid
from paddock_operator.plan.views import ObjectView, PodView

NAME_TAKEN_RETRY = timedelta(seconds=15)
"""Nothing tells us that an object which is not ours has gone."""


@dataclass(frozen=True, slots=True)
class SandboxObserved:
    """Everything a sandbox's plan may look at."""

    sandbox: ObjectView
    template: SandboxTemplateSpec | Trouble
    pod: PodView | None
    answering: bool
    """The runtime of exactly this pod uid has answered /readyz to this process."""
    free_uid: int
    """Lowest workspace uid that no live sandbox has."""
    trouble: Trouble | None = None
    """What the last attempt to create the pod was answered."""
    claimed: bool = False
    """A session's status names this very sandbox, so steps may have run in its pod."""


def plan_sandbox(seen: SandboxObserved, settings: PodSettings, now: datetime) -> Plan:
    """What to do for a Sandbox now."""
    sandbox = seen.sandbox
    if sandbox.deleting or sandbox.is_true("Finished"):
        return Plan()
    key = Key("Sandbox", sandbox.namespace, sandbox.name)
    pod = seen.pod
    known = sandbox.status.get("podUid")
    if pod is None:
        if known or seen.claimed:
            return _report(seen, now, end=PodEnd(R.SANDBOX_LOST, f"pod {sandbox.name} is gone."))
        return _create_pod(seen, settings, now)
    if not pod.owned_by(sandbox.uid):
        taken = Trouble(
            R.NAME_TAKEN,
            f"pod {pod.name} exists and is not this sandbox's. Delete or rename that pod.",
        )
        return Plan(_report(seen, now, trouble=taken).actions, now + NAME_TAKEN_RETRY)
    if not _is_its_pod(pod, sandbox):
        lost = PodEnd(R.SANDBOX_LOST, f"pod {pod.name} with uid {known} is gone.")
        return _report(seen, now, end=lost)
    if (end := pod_end(pod)) is not None:
        return _report(seen, now, end=end)
    if not seen.answering:
        probe: tuple[Action, ...] = ()
        if pod.ip and pod.container(RUNTIME).running:
            probe = (Probe(key, pod.uid, pod.ip),)
        if sandbox.is_true("Ready"):
            # Another life of this operator saw it ready: no write until something proves otherwise.
            return Plan(probe)
        return Plan((*probe, *_report(seen, now, trouble=pod_trouble(pod)).actions))
    if sandbox.owner is None and isinstance(seen.template, SandboxTemplateSpec):
        try:
            converse = _configure_unclaimed(seen, pod, seen.template, now)
        except ValidationError as error:
            return _report(seen, now, trouble=spec_invalid(error))
        return Plan((*_report(seen, now).actions, converse))
    return _report(seen, now)


def _is_its_pod(pod: PodView, sandbox: ObjectView) -> bool:
    """Owned by it, and not a second one: it never has two."""
    known = sandbox.status.get("podUid")
    return pod.owned_by(sandbox.uid) and known in (None, pod.uid)


def _create_pod(seen: SandboxObserved, settings: PodSettings, now: datetime) -> Plan:
    sandbox = seen.sandbox
    if isinstance(seen.template, Trouble):
        return _report(seen, now, trouble=seen.template)
    manifest = build_pod(sandbox, seen.template, settings, seen.free_uid)
    create = Create(Key("Pod", sandbox.namespace, sandbox.name), sandbox.uid, manifest)
    if seen.trouble is None:
        return Plan((create,))
    return Plan((*_report(seen, now, trouble=seen.trouble).actions, create))


def _configure_unclaimed(
    seen: SandboxObserved, pod: PodView, template: SandboxTemplateSpec, now: datetime
) -> Converse:
    """A sandbox made by hand has no session to send its lifetime: its own spec does."""
    sandbox = seen.sandbox
    spec = SandboxSpec.model_validate(sandbox.spec)
    lifetime = template.lifetime
    life_ms = (spec.lifetime.max_duration or lifetime.max_duration).ms
    expires_at = sandbox.created_at + timedelta(milliseconds=life_ms)
    remaining_ms = max(1, int((expires_at - now).total_seconds() * 1000))
    return Converse(
        session=Key("Sandbox", sandbox.namespace, sandbox.name),
        session_uid=sandbox.uid,
        sandbox_uid=sandbox.uid,
        pod_uid=pod.uid,
        ip=pod.ip,
        configure=Configure(session_uid=sandbox.uid, expires_in_ms=remaining_ms),
        expires_at=expires_at,
    )


def _report(
    seen: SandboxObserved,
    now: datetime,
    *,
    trouble: Trouble | None = None,
    end: PodEnd | None = None,
) -> Plan:
    """Write the status if it would say something new.

    Before the pod answers, nothing is written unless there is trouble to tell: a young sandbox
    is described by the schema's default status, which costs no request.
    """
    sandbox, pod = seen.sandbox, seen.pod
    ready = seen.answering and trouble is None and end is None
    told = (sandbox.condition("Ready") or {}).get("reason")
    if not ready and end is None and already_told(told, trouble):
        return Plan()
    status: dict[str, Any] = {
        "observedGeneration": sandbox.generation,
        "conditions": merge(
            sandbox.status.get("conditions") or (),
            _conditions(ready, trouble, end),
            generation=sandbox.generation,
            now=now,
        ),
    }
    for name in ("podName", "podUid", "podIP", "workspaceUid", "readyAt"):
        if name in sandbox.status:
            status[name] = sandbox.status[name]
    if pod is not None and _is_its_pod(pod, sandbox):
        status |= {"podName": pod.name, "podUid": pod.uid}
        if pod.ip:
            status["podIP"] = pod.ip
        if pod.workspace_uid is not None:
            status["workspaceUid"] = pod.workspace_uid
    if ready:
        status.setdefault("readyAt", format_time(now))
    if status == dict(sandbox.status):
        return Plan()
    patch = PatchStatus(
        Key("Sandbox", sandbox.namespace, sandbox.name),
        sandbox.uid,
        sandbox.resource_version,
        sandbox.status,
        status,
    )
    return Plan((patch,))


def _conditions(ready: bool, trouble: Trouble | None, end: PodEnd | None) -> list[Condition]:
    if end is not None:
        return [
            Condition("Ready", "False", end.reason, end.message),
            Condition("Finished", "True", end.reason, end.message),
        ]
    if ready:
        return [Condition("Ready", "True", R.ANSWERING, "the runtime answers.")]
    if trouble is not None:
        return [
            Condition("Ready", "False", trouble.reason, trouble.message),
            Condition("Reconciling", "True", trouble.reason, trouble.message),
        ]
    return [
        Condition("Ready", "Unknown", R.STARTING, "the pod is starting."),
        Condition("Reconciling", "True", R.STARTING, "the pod is starting."),
    ]
