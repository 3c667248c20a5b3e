"""A Sandbox's plan: one pod, probed, told the truth about, and never a second one."""

import itertools
from typing import Any

import pytest
from tests.operator.objects import (
    NAME,
    POD_UID,
    RUNNING,
    SANDBOX_UID,
    WORKSPACE_UID,
    Json,
    after,
    condition,
    pod,
    ready_status,
    sandbox,
    terminated,
    waiting,
)
from tests.operator.planning import kinds, message, new_status, only, plan_sandbox, said

from paddock_api.conditions import ConditionReason as R
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Converse, Create, PatchStatus, Plan, Probe
from paddock_operator.plan.evidence import Trouble

NOTHING = Plan()
NO_TEMPLATE = Trouble(R.TEMPLATE_NOT_FOUND, "SandboxTemplate/python does not exist.")
NO_QUOTA = Trouble(R.QUOTA_EXCEEDED, "pod/x: exceeded quota.")
YOUNG: Json = {"phase": "Pending", "ip": "", "runtime": {}, "workspace": {}}


def test_without_a_pod_it_is_created_and_nothing_else_happens() -> None:
    plan = plan_sandbox(sandbox())
    assert kinds(plan) == ["Create Pod"]
    create = only(plan, Create)
    assert (create.key.name, create.owner_uid) == (NAME, SANDBOX_UID)
    workspace = create.manifest["spec"]["containers"][1]
    assert workspace["securityContext"]["runAsUser"] == WORKSPACE_UID


def test_a_young_pod_is_waited_for_without_a_write() -> None:
    assert plan_sandbox(sandbox(), pod(**YOUNG)) == NOTHING


@pytest.mark.parametrize(
    ("fields", "probed"),
    [
        pytest.param({}, True, id="running with an address"),
        pytest.param({"ip": ""}, False, id="no address"),
        pytest.param({"runtime": {}}, False, id="no runtime"),
        pytest.param({"runtime": waiting("ContainerCreating")}, False, id="runtime waits"),
        pytest.param({"workspace": {}}, True, id="the workspace may come later"),
    ],
)
def test_a_runtime_is_asked_as_soon_as_it_runs(fields: Json, probed: bool) -> None:
    plan = plan_sandbox(sandbox(), pod(**fields))
    assert kinds(plan) == (["Probe"] if probed else [])
    if probed:
        probe = only(plan, Probe)
        assert (probe.pod_uid, probe.ip, probe.sandbox.name) == (POD_UID, "10.0.0.7", NAME)


def test_a_runtime_that_answers_makes_it_ready_in_one_write() -> None:
    plan = plan_sandbox(sandbox(), pod(), answering=True)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    status = new_status(plan)
    assert said(status, "Ready") == ("True", "Answering")
    assert [entry["type"] for entry in status["conditions"]] == ["Ready"]
    assert status["podUid"] == POD_UID
    assert status["podIP"] == "10.0.0.7"
    assert status["workspaceUid"] == WORKSPACE_UID
    assert status["readyAt"] == "2026-08-01T09:30:01.000Z"


def test_a_ready_sandbox_plans_nothing() -> None:
    plan = plan_sandbox(sandbox(), pod(), answering=True)
    ready = sandbox(status=new_status(plan))
    assert plan_sandbox(ready, pod(), answering=True, now=after(50)) == NOTHING


def test_after_a_restart_a_ready_sandbox_is_asked_again_and_not_written() -> None:
    plan = plan_sandbox(sandbox(status=ready_status()), pod(), answering=False)
    assert kinds(plan) == ["Probe"]


@pytest.mark.parametrize("now_running", [True, False])
def test_a_restarting_runtime_does_not_make_it_less_than_ready(now_running: bool) -> None:
    state = RUNNING if now_running else terminated(137, "OOMKilled")
    plan = plan_sandbox(sandbox(status=ready_status()), pod(runtime=state))
    assert kinds(plan) == (["Probe"] if now_running else [])


def test_trouble_is_told_once_and_taken_back() -> None:
    stuck = pod(phase="Pending", ip="", workspace=waiting("ErrImagePull", "no such image"))
    told = plan_sandbox(sandbox(), stuck)
    assert kinds(told) == ["PatchStatus Sandbox"]
    status = new_status(told)
    assert said(status, "Ready") == ("False", "ImageUnavailable")
    assert said(status, "Reconciling") == ("True", "ImageUnavailable")

    other_words = pod(phase="Pending", ip="", workspace=waiting("ImagePullBackOff", "back-off"))
    assert plan_sandbox(sandbox(status=status), other_words) == NOTHING

    passed = plan_sandbox(sandbox(status=status), pod(ip=""))
    assert said(new_status(passed), "Ready") == ("Unknown", "Starting")


def test_an_unschedulable_pod_is_told_with_what_to_do() -> None:
    refused = condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available")
    status = new_status(plan_sandbox(sandbox(), pod(**YOUNG, conditions=[refused])))
    assert said(status, "Ready") == ("False", "Unschedulable")
    assert "lower resources" in message(status, "Ready")


def test_a_refused_create_is_told_before_it_is_tried_again() -> None:
    plan = plan_sandbox(sandbox(), trouble=NO_QUOTA)
    assert kinds(plan) == ["PatchStatus Sandbox", "Create Pod"]
    told = sandbox(status=new_status(plan))
    assert kinds(plan_sandbox(told, trouble=NO_QUOTA)) == ["Create Pod"]


def test_a_missing_template_is_told_and_a_pod_is_made_when_it_appears() -> None:
    plan = plan_sandbox(sandbox(), template=NO_TEMPLATE)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    told = sandbox(status=new_status(plan))
    assert said(told["status"], "Ready") == ("False", "TemplateNotFound")
    assert plan_sandbox(told, template=NO_TEMPLATE) == NOTHING
    assert kinds(plan_sandbox(told)) == ["Create Pod"]


@pytest.mark.parametrize(
    ("status", "fields", "answering"),
    [(None, {}, False), (None, {}, True), (ready_status(), {}, True), (ready_status(), {}, False)],
)
def test_a_pod_that_exists_does_not_need_its_template_any_more(
    status: Json | None, fields: Json, answering: bool
) -> None:
    with_it = plan_sandbox(sandbox(status=status), pod(**fields), answering=answering)
    without = plan_sandbox(
        sandbox(status=status), pod(**fields), answering=answering, template=NO_TEMPLATE
    )
    assert without == with_it


def test_the_end_of_a_pod_is_told_although_the_template_has_gone() -> None:
    plan = plan_sandbox(
        sandbox(status=ready_status()), pod(runtime=terminated(1)), template=NO_TEMPLATE
    )
    assert said(new_status(plan), "Finished") == ("True", "RuntimeFailed")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"deleting": True, "runtime": terminated(137)}, "PodDeleted"),
        ({"workspace": terminated(1)}, "WorkspaceLost"),
        ({"phase": "Failed", "workspace": terminated(137, "OOMKilled")}, "OOMKilled"),
    ],
)
@pytest.mark.parametrize("status", [None, ready_status()], ids=["young", "ready"])
def test_an_end_is_told_and_final(fields: Json, reason: str, status: Json | None) -> None:
    plan = plan_sandbox(sandbox(status=status), pod(**fields), answering=True)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    ended = new_status(plan)
    assert said(ended, "Finished") == ("True", reason)
    assert said(ended, "Ready") == ("False", reason)
    assert ended["podUid"] == POD_UID
    for later in (None, pod(), pod(**fields)):
        assert plan_sandbox(sandbox(status=ended), later, answering=True) == NOTHING


def test_a_pod_that_is_gone_is_not_made_again_once_it_was_known() -> None:
    plan = plan_sandbox(sandbox(status=ready_status()), None)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    assert said(new_status(plan), "Finished") == ("True", "SandboxLost")
    assert new_status(plan)["podUid"] == POD_UID


def test_a_pod_that_is_gone_is_not_made_again_once_a_session_may_have_used_it() -> None:
    plan = plan_sandbox(sandbox(), None, claimed=True)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    assert said(new_status(plan), "Finished") == ("True", "SandboxLost")


def test_a_second_pod_is_not_taken_for_the_first() -> None:
    plan = plan_sandbox(sandbox(status=ready_status("first")), pod(uid="second"), answering=True)
    status = new_status(plan)
    assert said(status, "Finished") == ("True", "SandboxLost")
    assert status["podUid"] == "first"


@pytest.mark.parametrize("answering", [True, False])
def test_a_pod_that_is_not_ours_is_never_used(answering: bool) -> None:
    foreign = pod(owner_uid="somebody-else")
    plan = plan_sandbox(sandbox(), foreign, answering=answering)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    status = new_status(plan)
    assert said(status, "Ready") == ("False", "NameTaken")
    assert "podUid" not in status
    assert f"pod {NAME} exists" in message(status, "Ready")
    later = plan_sandbox(sandbox(status=status), foreign, answering=answering)
    assert not later.actions, "said already"
    assert later.requeue_at is not None, "nothing else tells us when that pod has gone"


@pytest.mark.parametrize("seen", [None, pod(), pod(deleting=True)])
def test_a_sandbox_that_is_being_deleted_plans_nothing(seen: Json | None) -> None:
    assert plan_sandbox(sandbox(deleting=True), seen, answering=True) == NOTHING


def test_one_made_by_hand_is_told_its_own_lifetime() -> None:
    alone = sandbox(owner_uid=None, lifetime={"maxDuration": "1m"})
    plan = plan_sandbox(alone, pod(), answering=True, now=after(10))
    assert kinds(plan) == ["PatchStatus Sandbox", "Converse configure"]
    converse = only(plan, Converse)
    assert converse.execution is None
    assert converse.expires_at == after(60)
    assert converse.configure.expires_in_ms == 50_000
    assert (converse.configure.env, converse.configure.files) == ([], [])


def test_one_made_by_hand_that_only_a_newer_operator_understands_is_told_so() -> None:
    odd = sandbox(owner_uid=None, lifetime={"maxDuration": "soon"})
    plan = plan_sandbox(odd, pod(), answering=True)
    assert kinds(plan) == ["PatchStatus Sandbox"]
    assert said(new_status(plan), "Ready") == ("False", "SpecInvalid")
    assert "spec.lifetime.maxDuration" in message(new_status(plan), "Ready")


def test_one_made_by_hand_without_a_word_lives_as_long_as_its_template_says() -> None:
    plan = plan_sandbox(sandbox(owner_uid=None), pod(), answering=True)
    assert only(plan, Converse).expires_at == after(3600)


def test_the_one_of_a_session_is_configured_by_its_session() -> None:
    plan = plan_sandbox(sandbox(), pod(), answering=True)
    assert [a for a in plan.actions if isinstance(a, Converse)] == []


@pytest.mark.parametrize("status", [None, ready_status()], ids=["young", "ready"])
@pytest.mark.parametrize(
    "seen",
    [None, pod(), pod(**YOUNG), pod(owner_uid="x"), pod(uid="y"), pod(workspace=terminated(2))],
    ids=["none", "running", "pending", "foreign", "second", "ended"],
)
def test_nothing_is_written_at_rest(seen: Json | None, status: Json | None) -> None:
    """Whatever was seen, what was written is not written again."""
    choices = itertools.product(
        [True, False], [True, False], [None, NO_QUOTA], [SandboxTemplateSpec(), NO_TEMPLATE]
    )
    for answering, claimed, trouble, template in choices:
        more: dict[str, Any] = {
            "answering": answering,
            "claimed": claimed,
            "trouble": trouble,
            "template": template,
        }
        first = plan_sandbox(sandbox(status=status), seen, **more)
        writes = [a for a in first.actions if isinstance(a, PatchStatus)]
        after_it = sandbox(status=writes[0].status if writes else status)
        second = plan_sandbox(after_it, seen, **more, now=after(99))
        assert [a for a in second.actions if isinstance(a, PatchStatus)] == [], more
