"""What keeps a session from starting: told once, taken back, ended at its deadline."""

from typing import Any

import pytest
from tests.operator.objects import (
    NAME,
    Json,
    after,
    condition,
    pod,
    ready_status,
    sandbox,
    session,
    step,
    working_status,
)
from tests.operator.planning import (
    answers,
    ended,
    events,
    kinds,
    message,
    new_status,
    plan_session,
    said,
)

from paddock_api.conditions import ConditionReason as R
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Create, Delete, PatchStatus, Plan
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.pods import DEADLINE_SLACK_SECONDS

NO_TEMPLATE = Trouble(R.TEMPLATE_NOT_FOUND, "SandboxTemplate/python does not exist.")
NO_QUOTA = Trouble(R.QUOTA_EXCEEDED, "sandbox/x: exceeded quota.")
RUNNING = {"name": "greet", "state": "Running", "executionId": "u.greet"}
STUCK = sandbox(
    status={
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "False", "ImageUnavailable", "cannot get its image."),
            condition("Reconciling", "True", "ImageUnavailable", "cannot get its image."),
        ],
    }
)


def told(plan: Plan) -> Json:
    """The session with the status that the plan writes."""
    return session(step(), status=new_status(plan))


def test_a_missing_template_is_told_once_with_an_event() -> None:
    plan = plan_session(session(step()), template=NO_TEMPLATE)
    assert kinds(plan) == ["PatchStatus AgentSession"]
    assert events(plan) == ["TemplateNotFound"]
    status = new_status(plan)
    assert status["phase"] == "Pending"
    assert said(status, "Ready") == ("Unknown", "TemplateNotFound")
    assert said(status, "Reconciling") == ("True", "TemplateNotFound")
    assert plan.requeue_at == after(600)
    again = plan_session(told(plan), template=NO_TEMPLATE, now=after(99))
    assert again == Plan(requeue_at=after(600))


def test_when_the_template_appears_the_session_goes_on() -> None:
    stored = told(plan_session(session(step()), template=NO_TEMPLATE))
    assert kinds(plan_session(stored)) == ["Create Sandbox"]
    back = plan_session(stored, sandbox())
    assert kinds(back) == ["PatchStatus AgentSession"]
    assert said(new_status(back), "Reconciling") == ("True", "Starting")
    assert events(back) == []


def test_a_template_that_never_appears_ends_the_session_at_its_deadline() -> None:
    plan = plan_session(session(step()), template=NO_TEMPLATE, now=after(600))
    assert kinds(plan) == ["PatchStatus AgentSession"]
    status = new_status(plan)
    assert said(status, "Failed") == ("True", "DeadlineExceeded")
    assert "does not exist" in message(status, "Failed")


def test_without_a_word_about_its_life_it_waits_for_a_week() -> None:
    silent = session(step(), max_duration=None)
    assert plan_session(silent, template=NO_TEMPLATE).requeue_at == after(168 * 3600)


@pytest.mark.parametrize("end", [False, True])
def test_a_session_that_runs_does_not_need_its_template_any_more(end: bool) -> None:
    running = session(step(), status=working_status(RUNNING))
    results = answers(ended().model_copy(update={"id": "u.greet"})) if end else {}
    seen: dict[str, Any] = {"answering": True, "results": results}
    with_it = plan_session(running, sandbox(status=ready_status()), pod(), **seen)
    without = plan_session(
        running, sandbox(status=ready_status()), pod(), **seen, template=NO_TEMPLATE
    )
    assert without == with_it
    assert kinds(without)[-1] == ("Delete Sandbox" if end else "Converse greet")


def test_trouble_of_the_sandbox_is_told_in_the_session_and_taken_back() -> None:
    plan = plan_session(session(step()), STUCK)
    assert kinds(plan) == ["PatchStatus AgentSession"]
    status = new_status(plan)
    assert status["phase"] == "Starting"
    assert said(status, "Reconciling") == ("True", "ImageUnavailable")
    assert kinds(plan_session(told(plan), STUCK, now=after(50))) == []
    back = plan_session(told(plan), sandbox())
    assert said(new_status(back), "Reconciling") == ("True", "Starting")


def test_trouble_of_the_sandbox_is_named_at_the_deadline_and_the_sandbox_let_go() -> None:
    plan = plan_session(session(step()), STUCK, now=after(600))
    assert kinds(plan) == ["PatchStatus AgentSession", "Delete Sandbox"]
    status = new_status(plan)
    assert status["phase"] == "Failed"
    assert said(status, "Failed") == ("True", "DeadlineExceeded")
    assert "cannot get its image" in message(status, "Failed")


def test_an_open_session_that_never_was_ready_has_failed() -> None:
    status = new_status(plan_session(session(), sandbox(), now=after(600)))
    assert status["phase"] == "Failed"
    assert said(status, "Failed") == ("True", "DeadlineExceeded")


def test_a_refused_create_is_told_before_it_is_tried_again() -> None:
    plan = plan_session(session(step()), trouble=NO_QUOTA)
    assert kinds(plan) == ["PatchStatus AgentSession", "Create Sandbox"]
    assert said(new_status(plan), "Reconciling") == ("True", "QuotaExceeded")
    assert kinds(plan_session(told(plan), trouble=NO_QUOTA)) == ["Create Sandbox"]


def test_a_create_that_is_refused_to_the_end_is_given_up_at_the_deadline() -> None:
    plan = plan_session(session(step()), trouble=NO_QUOTA, now=after(600))
    assert kinds(plan) == ["PatchStatus AgentSession"]
    assert "exceeded quota" in message(new_status(plan), "Failed")


@pytest.mark.parametrize("answering", [False, True])
@pytest.mark.parametrize("owner", ["another-session", None])
def test_a_sandbox_that_is_not_ours_is_never_used_and_never_deleted(
    owner: str | None, answering: bool
) -> None:
    foreign = sandbox(owner_uid=owner, status=ready_status())
    plan = plan_session(session(step()), foreign, pod(), answering=answering)
    assert kinds(plan) == ["PatchStatus AgentSession"]
    status = new_status(plan)
    assert said(status, "Reconciling") == ("True", "NameTaken")
    assert f"sandbox/{NAME} exists" in message(status, "Ready")
    assert "sandbox" not in status
    for moment in (after(50), after(600), after(9000)):
        later = plan_session(told(plan), foreign, pod(), answering=answering, now=moment)
        assert not any(isinstance(a, Delete | Create) for a in later.actions)


def test_a_taken_name_is_looked_at_again_because_nothing_tells_when_it_is_free() -> None:
    foreign = sandbox(owner_uid="another-session")
    first = plan_session(session(step()), foreign)
    assert first.requeue_at is not None
    assert after(2) < first.requeue_at <= after(32)
    again = plan_session(told(first), foreign, now=after(40))
    assert again.actions == ()
    assert again.requeue_at is not None
    assert after(40) < again.requeue_at <= after(70)
    assert kinds(plan_session(told(first), None)) == ["Create Sandbox"]


def test_a_session_that_asks_for_too_much_is_refused_at_once_and_gets_no_sandbox() -> None:
    small = SandboxTemplateSpec.read({"limits": {"timeout": "1s"}})
    plan = plan_session(session(step(timeout="2s")), template=small)
    assert kinds(plan) == ["PatchStatus AgentSession"]
    status = new_status(plan)
    assert status["phase"] == "Failed"
    assert said(status, "Stalled") == ("True", "TimeoutAboveCeiling")
    assert said(status, "Finished") == ("True", "TimeoutAboveCeiling")
    assert [entry["state"] for entry in status["steps"]] == ["Skipped"]


def test_a_template_that_was_changed_does_not_refuse_what_runs_already() -> None:
    small = SandboxTemplateSpec.read({"languages": ["bash"], "limits": {"timeout": "1s"}})
    running = session(step(timeout="2s"), status=working_status(RUNNING))
    plan = plan_session(
        running, sandbox(status=ready_status()), pod(), answering=True, template=small
    )
    assert kinds(plan) == ["Converse greet"]


def test_a_life_beyond_the_ceiling_is_not_given_to_a_running_session() -> None:
    low = SandboxTemplateSpec.read({"lifetime": {"maxDuration": "10m", "maxDurationLimit": "10m"}})
    running = session(step(), status=working_status(RUNNING), max_duration="2h")
    its_pod = pod()
    its_pod["spec"]["activeDeadlineSeconds"] = 600 + DEADLINE_SLACK_SECONDS
    plan = plan_session(
        running, sandbox(status=ready_status()), its_pod, answering=True, template=low
    )
    assert plan.requeue_at == after(615)
    assert "maxDuration is 2h, above the 10m" in message(new_status(plan), "Ready")


@pytest.mark.parametrize(
    "change",
    [
        {"user": 3},
        {"steps": [{"name": "a", "language": "cobol", "code": "x"}]},
        {"lifetime": {"maxDuration": "soon"}},
        {"templateRef": {"name": "python", "kind": "GalacticSandboxTemplate"}},
    ],
)
def test_a_spec_that_only_a_newer_operator_understands_is_told_and_waits(change: Json) -> None:
    odd = session(step())
    odd["spec"] |= change
    plan = plan_session(odd)
    assert kinds(plan) == ["PatchStatus AgentSession"]
    status = new_status(plan)
    assert said(status, "Reconciling") == ("True", "SpecInvalid")
    assert "Upgrade the operator" in message(status, "Ready")
    stored = odd | {"status": status}
    assert [a for a in plan_session(stored).actions if isinstance(a, PatchStatus)] == []
