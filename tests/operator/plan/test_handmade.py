"""A sandbox that no session owns: its own lifetime, its own end, and what is left of it."""

import itertools
import json
from typing import Any

import pytest
from tests.operator.objects import (
    POD_UID,
    Json,
    after,
    condition,
    owner_entry,
    pod,
    ready_status,
    sandbox,
    terminated,
)
from tests.operator.planning import kinds, message, new_status, only, plan_sandbox, said

from paddock_api.conditions import ConditionReason as R
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Converse, Delete, PatchStatus, Plan
from paddock_operator.plan.evidence import Trouble

NO_TEMPLATE = Trouble(R.TEMPLATE_NOT_FOUND, "SandboxTemplate/python does not exist.")
YOUNG: Json = {"phase": "Pending", "ip": "", "runtime": {}, "workspace": {}}
EVICTED: Json = {"phase": "Failed", "reason": "Evicted"}


def mine(status: Json | None = None, *, suspend: bool | None = None, **lifetime: str) -> Json:
    """One made by hand."""
    more: dict[str, Any] = {} if suspend is None else {"suspend": suspend}
    return sandbox(owner_uid=None, status=status, lifetime=lifetime, **more)


def look(stored: Json, its_pod: Json | None = None, seconds: float = 1, **more: Any) -> Plan:
    return plan_sandbox(stored, its_pod, now=after(seconds), **more)


def idle() -> Json:
    words = json.dumps({"reason": "Idle"})
    return pod(runtime=terminated(0, "Completed", words), phase="Succeeded")


def foreign_owner() -> Json:
    made = mine(maxDuration="1m")
    made["metadata"]["ownerReferences"] = [
        {**owner_entry("Workflow", "nightly", "w-1"), "apiVersion": "argoproj.io/v1alpha1"}
    ]
    return made


def orphaned() -> Json:
    """`kubectl delete ags --cascade=orphan`: what its session gave it is still there."""
    made = sandbox(lifetime={"maxDuration": "1m", "idleTimeout": "20s"})
    del made["metadata"]["ownerReferences"]
    return made


@pytest.mark.parametrize(
    ("made", "expires", "idle_ms"),
    [
        pytest.param(mine(maxDuration="1m"), 60, 900_000, id="by hand"),
        pytest.param(mine(maxDuration="1m", idleTimeout="9s"), 60, 9000, id="with idleTimeout"),
        pytest.param(mine(), 3600, 900_000, id="silent"),
        pytest.param(orphaned(), 60, 20_000, id="orphaned"),
        pytest.param(foreign_owner(), 60, 900_000, id="of something else"),
    ],
)
def test_its_runtime_is_told_when_it_ends_and_its_status_says_it(
    made: Json, expires: int, idle_ms: int
) -> None:
    plan = look(made, pod(), 10, answering=True)
    assert kinds(plan) == ["PatchStatus Sandbox", "Converse configure"]
    converse = only(plan, Converse)
    assert converse.expires_at == after(expires)
    assert converse.configure.idle_timeout_ms == idle_ms
    assert converse.session_uid == converse.sandbox_uid
    assert new_status(plan)["expiresAt"] == after(expires).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert plan.requeue_at == after(expires)


def test_the_one_of_a_session_has_no_life_of_its_own() -> None:
    plan = look(sandbox(lifetime={"maxDuration": "1s"}), pod(), 9999, answering=True)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    assert "expiresAt" not in new_status(plan)
    assert plan.requeue_at is None


def test_above_the_ceiling_no_pod_is_made_and_it_stalls() -> None:
    plan = look(mine(maxDuration="48h"))
    assert kinds(plan) == ["PatchStatus Sandbox"]
    status = new_status(plan)
    assert said(status, "Stalled") == ("True", "DurationAboveCeiling")
    assert said(status, "Ready") == ("False", "DurationAboveCeiling")
    for words in ("spec.lifetime.maxDuration is 48h", "ceiling is 24h", "Lower it"):
        assert words in message(status, "Stalled")
    again = look(mine(status, maxDuration="48h"), seconds=99)
    assert (kinds(again), again.requeue_at) == ([], after(48 * 3600))
    assert kinds(look(mine(status, maxDuration="24h"), seconds=99)) == ["Create Pod"]


def test_one_that_stalled_ends_at_its_max_duration_and_is_not_looked_at_for_ever() -> None:
    plan = look(mine(maxDuration="48h"), seconds=48 * 3600)
    assert said(new_status(plan), "Finished") == ("True", "DeadlineExceeded")
    assert plan.requeue_at is None or plan.requeue_at > after(48 * 3600)


@pytest.mark.parametrize("edited_before_told", [True, False])
def test_an_edit_above_the_ceiling_leaves_the_end_as_it_was(edited_before_told: bool) -> None:
    status = None
    if not edited_before_told:
        status = new_status(look(mine(maxDuration="2h"), pod(), answering=True))
    plan = look(mine(status, maxDuration="48h"), pod(), answering=True)
    assert only(plan, Converse).expires_at == after(3600 if edited_before_told else 7200)
    assert "above the 24h" in message(new_status(plan), "Ready")
    assert said(new_status(plan), "Ready") == ("True", "Answering")


def test_one_that_is_lost_after_such_an_edit_is_told_as_lost() -> None:
    status = new_status(look(mine(maxDuration="2h"), pod(), answering=True))
    plan = look(mine(status, maxDuration="48h"), None, 60)
    assert said(new_status(plan), "Finished") == ("True", "SandboxLost")


def test_one_that_is_suspended_during_such_an_edit_stays_suspended() -> None:
    status = new_status(look(mine(maxDuration="2h"), pod(), answering=True))
    asleep = new_status(look(mine(status, suspend=True, maxDuration="2h"), pod(), answering=True))
    assert kinds(look(mine(asleep, suspend=True, maxDuration="48h"), None, 60)) == []
    stalled = look(mine(asleep, suspend=False, maxDuration="48h"), None, 60)
    assert kinds(stalled) == ["PatchStatus Sandbox"]
    assert said(new_status(stalled), "Stalled") == ("True", "DurationAboveCeiling")


@pytest.mark.parametrize(
    ("its_pod", "answering"),
    [
        pytest.param(None, False, id="no pod"),
        pytest.param(pod(**YOUNG), False, id="starting"),
        pytest.param(pod(), False, id="silent"),
        pytest.param(pod(owner_uid="x"), False, id="name taken"),
    ],
)
def test_one_that_never_answered_ends_at_its_max_duration(
    its_pod: Json | None, answering: bool
) -> None:
    waits = look(mine(maxDuration="1m"), its_pod, 59, answering=answering)
    assert "Finished" not in str(waits.actions)
    assert waits.requeue_at is not None
    assert waits.requeue_at <= after(74)
    plan = look(mine(maxDuration="1m"), its_pod, 60, answering=answering)
    assert said(new_status(plan), "Finished") == ("True", "DeadlineExceeded")


def test_one_that_answers_is_left_to_its_runtime_for_fifteen_seconds() -> None:
    status = new_status(look(mine(maxDuration="1m"), pod(), answering=True))
    for seconds in (60, 74):
        plan = look(mine(status, maxDuration="1m"), pod(), seconds, answering=True)
        assert kinds(plan) == ["Converse configure"]
        assert plan.requeue_at == after(75)
    plan = look(mine(status, maxDuration="1m"), pod(), 75, answering=True)
    assert said(new_status(plan), "Finished") == ("True", "DeadlineExceeded")


@pytest.mark.parametrize("answering", [True, False])
@pytest.mark.parametrize("seconds", [30, 60, 9999])
@pytest.mark.parametrize(
    ("its_pod", "reason"),
    [
        (idle(), "Idle"),
        (pod(**EVICTED), "Evicted"),
        (pod(deleting=True, runtime=terminated(137)), "PodDeleted"),
        (pod(workspace=terminated(1)), "WorkspaceLost"),
    ],
)
def test_what_really_ended_it_is_told_however_late_it_is_seen(
    its_pod: Json, reason: str, seconds: int, answering: bool
) -> None:
    status = new_status(look(mine(maxDuration="1m"), pod(), answering=True))
    plan = look(mine(status, maxDuration="1m"), its_pod, seconds, answering=answering)
    assert said(new_status(plan), "Finished") == ("True", reason)


@pytest.mark.parametrize("its_pod", [None, pod(), pod(deleting=True)])
def test_a_suspended_one_ends_at_its_max_duration(its_pod: Json | None) -> None:
    status = new_status(look(mine(maxDuration="1m"), pod(), answering=True))
    asleep = new_status(look(mine(status, suspend=True, maxDuration="1m"), pod(), answering=True))
    stored = mine(asleep, suspend=True, maxDuration="1m")
    before = look(stored, its_pod, 59)
    assert before.requeue_at == after(60)
    plan = look(stored, its_pod, 60)
    assert said(new_status(plan), "Finished") == ("True", "DeadlineExceeded")


def ended(ttl: str | None = None) -> Json:
    end = condition("Finished", "True", "DeadlineExceeded", since=after(60))
    lifetime = {} if ttl is None else {"ttlAfterFinished": ttl}
    return mine(ready_status(conditions=[end]), **lifetime)


def test_at_its_end_its_pod_goes_and_once_is_enough() -> None:
    plan = look(ended(), pod(), 61)
    assert kinds(plan) == ["Delete Pod"]
    assert only(plan, Delete).uid == POD_UID
    for gone in (None, pod(deleting=True), pod(owner_uid="x"), pod(uid="another")):
        assert look(ended(), gone, 61) == Plan()


@pytest.mark.parametrize(("ttl", "due"), [(None, None), ("10s", 70), ("1h", 3660)])
def test_it_follows_after_its_ttl(ttl: str | None, due: int | None) -> None:
    plan = look(ended(ttl), None, 60)
    assert (kinds(plan), plan.requeue_at) == ([], None if due is None else after(due))
    if due is not None:
        assert kinds(look(ended(ttl), None, due - 1)) == []
        assert kinds(look(ended(ttl), None, due)) == ["Delete Sandbox"]
        assert kinds(look(ended(ttl), pod(), due)) == ["Delete Pod", "Delete Sandbox"]


def test_that_of_a_session_is_deleted_by_its_session() -> None:
    end = condition("Finished", "True", "Evicted", since=after(1))
    stored = sandbox(status=ready_status(conditions=[end]), lifetime={"ttlAfterFinished": "1ms"})
    assert look(stored, pod(), 9999) == Plan()


def test_a_template_that_changes_or_goes_does_not_move_its_end() -> None:
    status = new_status(look(mine(), pod(), answering=True))
    edited = SandboxTemplateSpec.read({"lifetime": {"maxDuration": "9s"}})
    for template in (edited, NO_TEMPLATE):
        plan = look(mine(status), pod(), 10, answering=True, template=template)
        assert only(plan, Converse).expires_at == after(3600)


def test_without_a_template_it_does_not_outlive_what_its_pod_was_made_for() -> None:
    plan = look(mine(), pod(), answering=True, template=NO_TEMPLATE)
    assert only(plan, Converse).expires_at == after(24 * 3600)


def test_nothing_is_written_at_rest() -> None:
    moments = [1, 59, 60, 74, 75, 9999]
    pods = [None, pod(), pod(**YOUNG), idle(), pod(owner_uid="x"), pod(deleting=True)]
    statuses = [None, ready_status()]
    lifetimes: list[dict[str, Any]] = [{}, {"maxDuration": "1m"}, {"maxDuration": "48h"}]
    for its_pod, seconds, status, lifetime in itertools.product(pods, moments, statuses, lifetimes):
        for answering, suspend in itertools.product([True, False], [True, False]):
            stored = mine(status, suspend=suspend, **lifetime)
            first = look(stored, its_pod, seconds, answering=answering)
            writes = [a for a in first.actions if isinstance(a, PatchStatus)]
            then = {**stored, "status": writes[0].status if writes else stored["status"]}
            second = look(then, its_pod, seconds, answering=answering)
            assert [a for a in second.actions if isinstance(a, PatchStatus)] == []
            if second.requeue_at is not None and "Finished" in str(then["status"]):
                raise AssertionError("a finished one without a ttl waits for nothing")
            assert second.requeue_at is None or second.requeue_at > after(seconds), "a hot loop"
