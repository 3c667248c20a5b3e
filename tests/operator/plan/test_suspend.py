"""Suspend: between steps, the status first, then the sandbox; and on again with another pod."""

from typing import Any

import pytest
from tests.operator.objects import (
    NAME,
    POD_UID,
    SANDBOX_UID,
    SESSION_UID,
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
    only,
    plan_sandbox,
    plan_session,
    said,
)

from paddock_api.conditions import ConditionReason as R
from paddock_api.reasons import ExecutionReason as X
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import CancelExecution, Converse, Plan, SetSuspend
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.session_input import Refused

ID = f"{SESSION_UID}.one"
RUNNING = {"name": "one", "state": "Running", "executionId": ID}
PENDING = {"name": "two", "state": "Pending"}
DONE = {"name": "one", "state": "Finished", "reason": "Exited", "exitCode": 0}
READY = sandbox(status=ready_status())
TELLS = ["PatchStatus AgentSession", "SetSuspend Sandbox"]
CANCELLED = ended("one", None, reason=X.CANCELLED)
NO_TEMPLATE = Trouble(R.TEMPLATE_NOT_FOUND, "SandboxTemplate/python does not exist.")
FILES = [{"path": "a", "content": "b"}]
DISK = SandboxTemplateSpec.read({"workspace": {"volume": {"size": "1Gi"}}})


def stored(*entries: Json, suspend: bool = True, tolerant: bool = False, **more: Any) -> Json:
    """A session of two steps that stand like this; open without any."""
    steps = [step("one", continueOnFailure=tolerant), step("two")] if entries else []
    status = working_status(*entries)
    return session(*steps, status={**status, **more.pop("status", {})}, suspend=suspend, **more)


def look(made: Json, seen: Json | None = READY, its_pod: Json | None = None, **more: Any) -> Plan:
    return plan_session(made, seen, its_pod, **{"answering": its_pod is not None, **more})


def with_condition(status: str, reason: str, since: float = 0) -> Json:
    told = condition("Suspended", status, reason, since=after(since))
    return {"conditions": [*working_status()["conditions"], told]}


def asleep(*entries: Json, **more: Any) -> Json:
    """Its status after the write that suspends it."""
    made = stored(*entries, **more)
    return {**made, "status": new_status(look(made, READY, pod()))}


SLEEPING_BOX = sandbox(
    suspend=True,
    status={
        **{k: v for k, v in ready_status().items() if k not in ("podUid", "podIP", "podName")},
        "conditions": [
            condition("Ready", "False", "Suspended"),
            condition("Suspended", "True", "Suspended"),
        ],
    },
)


@pytest.mark.parametrize(
    "entries", [(), (DONE, PENDING), ({"name": "one", "state": "Pending"}, PENDING)]
)
@pytest.mark.parametrize("answering", [True, False])
def test_between_steps_the_status_comes_first_and_then_the_sandbox_is_told(
    entries: tuple[Json, ...], answering: bool
) -> None:
    plan = look(stored(*entries), READY, pod(), answering=answering)
    assert kinds(plan) == TELLS
    status = new_status(plan)
    assert status["phase"] == "Suspended"
    assert said(status, "Suspended") == ("True", "Suspended")
    assert said(status, "Ready") == ("False", "Suspended")
    assert said(status, "SandboxReady") == ("False", "Suspended")
    assert "Set it to false" in message(status, "Ready")
    assert status["sandbox"]["uid"] == SANDBOX_UID
    told = only(plan, SetSuspend)
    assert (told.uid, told.resource_version, told.suspend) == (SANDBOX_UID, "110", True)
    assert events(plan) == ["Suspended"]
    assert plan.requeue_at == after(600)


def test_what_was_told_is_not_told_again() -> None:
    made = asleep()
    assert kinds(look(made, READY, pod())) == ["SetSuspend Sandbox"], "the write of before failed"
    for its_pod in (pod(), pod(deleting=True), None):
        plan = look(made, SLEEPING_BOX, its_pod, now=after(99))
        assert plan == Plan(requeue_at=after(600))


def test_a_running_step_is_cancelled_first_and_the_pod_stays_meanwhile() -> None:
    plan = look(stored(RUNNING, PENDING), READY, pod(), now=after(20))
    assert kinds(plan) == ["PatchStatus AgentSession", "CancelExecution"]
    status = new_status(plan)
    assert said(status, "Suspended") == ("Unknown", "Suspending")
    assert status["steps"] == [RUNNING, PENDING]
    cancel = only(plan, CancelExecution)
    assert (cancel.execution_id, cancel.pod_uid, cancel.sandbox_uid) == (ID, POD_UID, SANDBOX_UID)
    assert plan.requeue_at == after(30)
    waits = look({**stored(RUNNING, PENDING), "status": status}, READY, pod(), now=after(29))
    assert kinds(waits) == ["CancelExecution"], "it may be asked again"
    assert waits.requeue_at == after(30)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(CANCELLED, "Cancelled", id="cancelled"),
        pytest.param(Refused("NotFound", "no such execution"), "Cancelled", id="never started"),
        pytest.param(ended("one", 3), "Exited", id="failed just before"),
        pytest.param(None, "Cancelled", id="no answer for ten seconds"),
    ],
)
@pytest.mark.parametrize("tolerant", [True, False])
def test_its_end_is_told_and_fails_the_session_unless_it_may_fail(
    answer: Any, reason: str, tolerant: bool
) -> None:
    made = stored(
        RUNNING, PENDING, tolerant=tolerant, status=with_condition("Unknown", "Suspending", 20)
    )
    results = {} if answer is None else {ID: answer}
    plan = look(made, READY, pod(), now=after(30), results=results)
    status = new_status(plan)
    one, two = status["steps"]
    assert (one["state"], one["reason"], one["executionId"]) == ("Finished", reason, ID)
    if tolerant:
        assert kinds(plan) == TELLS
        assert (status["phase"], two) == ("Suspended", PENDING)
    else:
        assert kinds(plan) == ["PatchStatus AgentSession", "Delete Sandbox"]
        assert said(status, "Failed") == ("True", "StepFailed")
        assert two["state"] == "Skipped"


def test_a_step_that_succeeded_just_before_is_a_success() -> None:
    made = stored(RUNNING, PENDING)
    plan = look(made, READY, pod(), results=answers(ended("one")))
    assert kinds(plan) == TELLS
    assert new_status(plan)["steps"][0]["exitCode"] == 0
    last = session(step("one"), status=working_status(RUNNING), suspend=True)
    done = look(last, READY, pod(), results=answers(ended("one")))
    assert said(new_status(done), "Complete") == ("True", "Completed")


@pytest.mark.parametrize("seconds", [598.5, 600, 605])
def test_a_step_that_is_cancelled_at_the_deadline_ended_by_the_deadline(seconds: float) -> None:
    made = stored(RUNNING, PENDING)
    plan = look(made, READY, pod(), now=after(seconds), results=answers(CANCELLED))
    assert said(new_status(plan), "Failed") == ("True", "DeadlineExceeded")


@pytest.mark.parametrize(
    ("entries", "kind", "reason"),
    [((), "Complete", "Expired"), ((DONE, PENDING), "Failed", "DeadlineExceeded")],
)
def test_max_duration_goes_on(entries: tuple[Json, ...], kind: str, reason: str) -> None:
    made = asleep(*entries)
    assert kinds(look(made, SLEEPING_BOX, None, now=after(599))) == []
    plan = look(made, SLEEPING_BOX, None, now=after(600))
    assert kinds(plan) == ["PatchStatus AgentSession", "Delete Sandbox"]
    assert said(new_status(plan), kind) == ("True", reason)


def test_a_session_that_is_suspended_from_the_start_gets_no_sandbox() -> None:
    made = session(step(), suspend=True)
    plan = plan_session(made)
    assert kinds(plan) == ["PatchStatus AgentSession"]
    status = new_status(plan)
    assert status["phase"] == "Suspended"
    assert "sandbox" not in status
    assert kinds(plan_session({**made, "status": status})) == []
    resumed = session(step(), suspend=False, status=status)
    assert kinds(plan_session(resumed)) == ["Create Sandbox"]


@pytest.mark.parametrize("what", ["no template", "a spec of a newer version"])
def test_it_does_not_say_that_it_was_resumed_while_its_spec_says_suspend(what: str) -> None:
    status = new_status(plan_session(session(step(), suspend=True)))
    made = session(step(), suspend=True, status=status)
    if what == "no template":
        plan = plan_session(made, template=NO_TEMPLATE)
    else:
        made["spec"]["novelty"] = {}
        plan = plan_session(made)
    assert kinds(plan) == []


@pytest.mark.parametrize("seen", [None, sandbox(uid="another"), sandbox(deleting=True)])
def test_its_sandbox_deleted_by_hand_is_lost(seen: Json | None) -> None:
    status = new_status(look(asleep(DONE, PENDING), seen, None, now=after(50)))
    assert said(status, "Failed") == ("True", "SandboxLost")
    assert [entry["state"] for entry in status["steps"]] == ["Finished", "Skipped"]


def resumed(*entries: Json, **more: Any) -> Json:
    made = asleep(*entries, **more)
    return {**made, "spec": {**made["spec"], "suspend": False}}


def test_resumed_the_sandbox_is_told_first_and_nothing_is_sent_to_the_old_pod() -> None:
    made = resumed(DONE, PENDING)
    for its_pod in (None, pod(), pod(deleting=True)):
        plan = look(made, SLEEPING_BOX, its_pod, now=after(60))
        assert kinds(plan) == ["SetSuspend Sandbox"]
        assert only(plan, SetSuspend).suspend is False


WAKING = {**SLEEPING_BOX, "spec": {**SLEEPING_BOX["spec"], "suspend": False}}


def test_until_the_next_pod_answers_it_starts() -> None:
    made = resumed(DONE, PENDING)
    plan = look(made, WAKING, None, now=after(60))
    assert kinds(plan) == ["PatchStatus AgentSession"]
    status = new_status(plan)
    assert status["phase"] == "Starting"
    assert said(status, "Suspended") == ("False", "Resumed")
    assert said(status, "Reconciling") == ("True", "Starting")
    again = look({**made, "status": status}, WAKING, pod(ip=""), now=after(61), answering=False)
    assert kinds(again) == []


@pytest.mark.parametrize("named", [True, False])
def test_a_step_is_sent_only_to_a_pod_that_the_sandboxs_status_names(named: bool) -> None:
    """So that a pod that is lost then is told as lost, not replaced."""
    told = {**WAKING["status"], "conditions": [condition("Suspended", "False", "Resumed")]}
    box = {**WAKING, "status": {**told, **({"podUid": "second"} if named else {})}}
    plan = look(resumed(DONE, PENDING), box, pod(uid="second"), now=after(60))
    dispatched = [a for a in plan.actions if isinstance(a, Converse)]
    assert len(dispatched) == (1 if named else 0)
    if named:
        assert dispatched[0].execution is not None
        assert dispatched[0].execution.id == f"{SESSION_UID}.two"


def waking_box(uid: str) -> Json:
    told = [condition("Suspended", "False", "Resumed")]
    return {**WAKING, "status": {**WAKING["status"], "podUid": uid, "conditions": told}}


@pytest.mark.parametrize("with_volume", [True, False])
def test_files_on_a_volume_stay_as_they_are_and_others_are_written_anew(with_volume: bool) -> None:
    its_pod = pod(uid="second")
    if with_volume:
        volumes = [v for v in its_pod["spec"]["volumes"] if v["name"] != "workspace"]
        claim = {"name": "workspace", "persistentVolumeClaim": {"claimName": NAME}}
        its_pod["spec"]["volumes"] = [*volumes, claim]
    plan = look(resumed(files=FILES), waking_box("second"), its_pod, now=after(60))
    configure = only(plan, Converse).configure
    assert len(configure.files) == 1
    assert configure.keep_files is with_volume


def test_a_sandbox_suspends_with_its_status_first_and_then_its_pod() -> None:
    box = sandbox(status=ready_status(), suspend=True)
    plan = plan_sandbox(box, pod(), answering=True)
    assert kinds(plan) == ["PatchStatus Sandbox", "Delete Pod"]
    status = new_status(plan)
    assert said(status, "Suspended") == ("True", "Suspended")
    assert said(status, "Ready") == ("False", "Suspended")
    assert not {"podUid", "podName", "podIP"} & status.keys()
    assert status["workspaceUid"] == ready_status()["workspaceUid"]
    told = sandbox(status=status, suspend=True)
    assert kinds(plan_sandbox(told, pod(), answering=True)) == ["Delete Pod"]
    for gone in (pod(deleting=True), None, pod(owner_uid="x")):
        assert plan_sandbox(told, gone) == Plan()


@pytest.mark.parametrize("its_pod", [pod(), None, pod(deleting=True)])
def test_somebody_elses_suspension_of_a_sandbox_in_use_changes_nothing(its_pod: Json) -> None:
    """Its session sets it back; meanwhile the pod stays, with the step that runs in it."""
    theirs = sandbox(status=ready_status(), suspend=True)
    ours = sandbox(status=ready_status())
    more: dict[str, Any] = {"answering": its_pod is not None, "claimed": True, "in_use": True}
    assert kinds(plan_sandbox(theirs, its_pod, **more)) == kinds(
        plan_sandbox(ours, its_pod, **more)
    )
    plan = look(stored(RUNNING, PENDING, suspend=False), theirs, pod())
    assert kinds(plan) == ["SetSuspend Sandbox"]


def test_a_resumed_sandbox_waits_for_its_old_pod_to_go() -> None:
    assert kinds(plan_sandbox(WAKING, pod(deleting=True))) == []
    assert kinds(plan_sandbox(WAKING, pod(phase="Succeeded"))) == ["Delete Pod"]
    assert kinds(plan_sandbox(WAKING, None)) == ["Create Pod"]


def test_a_resumed_sandbox_is_ready_in_two_writes() -> None:
    starting = plan_sandbox(WAKING, pod(uid="second", ip=""))
    assert kinds(starting) == ["PatchStatus Sandbox"]
    status = new_status(starting)
    assert said(status, "Suspended") == ("False", "Resumed")
    assert status["podUid"] == "second"
    ready = plan_sandbox(sandbox(status=status), pod(uid="second"), answering=True)
    assert said(new_status(ready), "Ready") == ("True", "Answering")
    assert new_status(ready)["readyAt"] == ready_status()["readyAt"], "the first time counts"
    lost = plan_sandbox(sandbox(status=status), None, claimed=True)
    assert said(new_status(lost), "Finished") == ("True", "SandboxLost")
