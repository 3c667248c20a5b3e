"""A sandbox that is lost before anything was sent to it: another one, counted, not for ever."""

import pytest
from tests.operator.objects import (
    Json,
    after,
    condition,
    pod,
    ready_status,
    sandbox,
    session,
    step,
    terminated,
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
from paddock_api.reasons import ExecutionReason as X
from paddock_operator.plan.actions import Converse, Plan

ENDED = ["PatchStatus AgentSession", "Delete Sandbox"]
EVICTED = pod(phase="Failed", reason="Evicted")
OUTSIDE = [
    R.EVICTED,
    R.NODE_LOST,
    R.PREEMPTED,
    R.POD_DELETED,
    R.SANDBOX_LOST,
    R.TERMINATED,
]
SAME_AGAIN = [
    R.OOM_KILLED,
    R.RUNTIME_FAILED,
    R.WORKSPACE_LOST,
    R.DEADLINE_EXCEEDED,
    R.IDLE,
]


def young(lost: int | None = None, **more: object) -> Json:
    made = session(step(), **more)  # type: ignore[arg-type]
    if lost is not None:
        made["status"] |= {"sandboxesLost": lost}
    return made


def finished(reason: R) -> Json:
    end = condition("Finished", "True", reason, "it ended.")
    return sandbox(status=ready_status(conditions=[end]))


@pytest.mark.parametrize("reason", OUTSIDE)
def test_an_end_from_outside_is_counted_and_then_the_sandbox_goes(reason: R) -> None:
    plan = plan_session(young(), finished(reason), None)
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert status["sandboxesLost"] == 1
    assert "sandbox" not in status
    assert said(status, "Reconciling") == ("True", reason)
    assert "another one is made" in message(status, "Ready")
    assert events(plan) == [reason]
    assert plan.requeue_at == after(600)
    assert kinds(plan_session(young(1), None)) == ["Create Sandbox"]


@pytest.mark.parametrize("reason", SAME_AGAIN)
def test_an_end_that_another_one_would_have_too_is_the_sessions(reason: R) -> None:
    plan = plan_session(young(), finished(reason), None)
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert status["phase"] == "Failed"
    assert said(status, "Failed") == ("True", reason)
    assert "sandboxesLost" not in status


def test_one_that_was_counted_is_not_counted_again_when_its_deletion_failed() -> None:
    made, box = young(), sandbox()
    status = new_status(plan_session(made, box, EVICTED))
    for _ in range(5):
        plan = plan_session({**made, "status": status}, box, EVICTED)
        assert kinds(plan) == ["Delete Sandbox"]
        assert events(plan) == []


def test_the_next_one_that_is_lost_is_counted() -> None:
    made = young()
    for lost in (1, 2, 3):
        counted = new_status(plan_session(made, sandbox(), EVICTED))
        assert counted["sandboxesLost"] == lost
        waiting = plan_session({**made, "status": counted}, sandbox(), None)
        made = {**made, "status": new_status(waiting)}
        assert said(made["status"], "Reconciling") == ("True", "Starting")
        assert made["status"]["sandboxesLost"] == lost
    plan = plan_session(made, sandbox(), EVICTED)
    assert kinds(plan) == ENDED
    assert said(new_status(plan), "Failed") == ("True", "Evicted")
    assert new_status(plan)["sandboxesLost"] == 3


def test_one_that_somebody_deletes_is_waited_for_until_it_is_gone() -> None:
    plan = plan_session(young(), sandbox(deleting=True))
    assert plan == Plan(requeue_at=after(600))


def test_after_the_write_that_names_it_no_other_is_made() -> None:
    stored = session(step(), status=working_status({"name": "greet", "state": "Pending"}))
    for lost in (finished(R.EVICTED), None, sandbox(deleting=True)):
        plan = plan_session(stored, lost, None)
        assert new_status(plan)["phase"] == "Failed"
        assert "sandboxesLost" not in new_status(plan)


def test_at_its_deadline_no_other_is_made() -> None:
    plan = plan_session(young(), finished(R.SANDBOX_LOST), None, now=after(600))
    assert said(new_status(plan), "Failed") == ("True", "DeadlineExceeded")


def test_the_sandbox_of_a_stranger_is_not_ours_to_replace() -> None:
    end = condition("Finished", "True", "Evicted")
    theirs = sandbox(owner_uid="x", status=ready_status(conditions=[end]))
    plan = plan_session(young(), theirs, None)
    assert kinds(plan) == ["PatchStatus AgentSession"]
    assert said(new_status(plan), "Reconciling") == ("True", "NameTaken")


def test_a_pod_that_is_being_deleted_gets_no_first_step() -> None:
    """Its runtime may still answer; whatever is sent to it would be cut off."""
    leaving = pod(deleting=True)
    plan = plan_session(young(), sandbox(), leaving, answering=True, now=after(1))
    assert not any(isinstance(action, Converse) for action in plan.actions)
    replaced = plan_session(young(), sandbox(), leaving, answering=True, now=after(2))
    assert new_status(replaced)["sandboxesLost"] == 1


def test_a_pod_that_is_being_deleted_gets_no_further_step_but_its_last_words_are_taken() -> None:
    run = {"name": "one", "state": "Running", "executionId": f"{session()['metadata']['uid']}.one"}
    stored = session(
        step("one"), step("two"), status=working_status(run, {"name": "two", "state": "Pending"})
    )
    box, leaving = sandbox(status=ready_status()), pod(deleting=True)
    waits = plan_session(stored, box, leaving, answering=True, now=after(1))
    assert kinds(waits) == ["Converse one"]
    assert waits.requeue_at == after(2)
    answered = answers(ended("one"))
    told = plan_session(stored, box, leaving, answering=True, now=after(1), results=answered)
    assert kinds(told) == ["PatchStatus AgentSession"]
    states = [entry["state"] for entry in new_status(told)["steps"]]
    assert states == ["Finished", "Pending"]
    gone = plan_session({**stored, "status": new_status(told)}, box, leaving, now=after(2))
    assert said(new_status(gone), "Failed") == ("True", "PodDeleted")


@pytest.mark.parametrize(
    ("disrupted", "reason"),
    [
        (None, "PodDeleted"),
        ("EvictionByEvictionAPI", "Evicted"),
        ("PreemptionByScheduler", "Preempted"),
        ("DeletionByTaintManager", "NodeLost"),
        ("DeletionByPodGC", "NodeLost"),
    ],
)
def test_a_step_that_went_with_its_pod_is_explained_by_what_ended_the_pod(
    disrupted: str | None, reason: str
) -> None:
    """The runtime's answer is faster than the kubelet's status."""
    run = {"name": "greet", "state": "Running", "executionId": ended().id}
    stored = session(step(), status=working_status(run))
    box, leaving = sandbox(status=ready_status()), pod(deleting=True, disrupted=disrupted)
    results = answers(ended(code=None, reason=X.CANCELLED))
    for moment in (1, 2):
        plan = plan_session(
            stored, box, leaving, answering=True, results=results, now=after(moment)
        )
        if "PatchStatus AgentSession" in kinds(plan):
            break
    status = new_status(plan)
    assert said(status, "Failed") == ("True", reason)
    assert status["steps"][0]["reason"] == "Cancelled"


def test_a_pod_of_which_nothing_runs_any_more_is_not_waited_for() -> None:
    gone = pod(deleting=True, runtime=terminated(137))
    plan = plan_session(young(), sandbox(), gone, now=after(0))
    assert new_status(plan)["sandboxesLost"] == 1
