"""How sessions end when something is lost, late or refused; no step is ever sent twice."""

import itertools
import json
from typing import Any

import pytest
from tests.operator.objects import (
    SESSION_UID,
    Json,
    after,
    condition,
    ended_text,
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
from paddock_operator.plan.session_input import Refused

ID = f"{SESSION_UID}.greet"
RUNNING = {"name": "greet", "state": "Running", "executionId": ID}
READY = sandbox(status=ready_status())
ENDED = ["PatchStatus AgentSession", "Delete Sandbox"]


def running(**more: Any) -> Json:
    """A session whose one step was dispatched."""
    return session(step(), status=working_status(RUNNING), **more)


def look(stored: Json, seen: Json | None = READY, its_pod: Json | None = None, **more: Any) -> Plan:
    return plan_session(stored, seen, its_pod, **{"answering": its_pod is not None, **more})


def finished_sandbox(reason: R, text: str = "it ended.") -> Json:
    return sandbox(
        status=ready_status(
            conditions=[
                condition("Ready", "False", reason, text),
                condition("Finished", "True", reason, text),
            ]
        )
    )


def only_step(plan: Plan) -> Json:
    (found,) = new_status(plan)["steps"]
    return dict(found)


def test_a_sandbox_that_vanishes_before_it_was_used_is_made_again() -> None:
    assert kinds(look(session(step()), None)) == ["Create Sandbox"]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(None, id="gone"),
        pytest.param(sandbox(uid="another", status=ready_status()), id="replaced"),
        pytest.param(sandbox(status=ready_status(), deleting=True), id="being deleted"),
        pytest.param(finished_sandbox(R.SANDBOX_LOST), id="finished"),
    ],
)
def test_a_step_whose_sandbox_is_lost_is_told_so_and_never_sent_again(seen: Json | None) -> None:
    plan = look(running(), seen, pod())
    assert not any(isinstance(action, Converse) for action in plan.actions)
    status = new_status(plan)
    assert status["phase"] == "Failed"
    assert said(status, "Failed") == ("True", "SandboxLost")
    (lost,) = status["steps"]
    assert (lost["state"], lost["reason"], lost["executionId"]) == ("Finished", "SandboxLost", ID)
    assert status["executions"] == {"total": 1, "failed": 1}
    for again in (None, READY):
        later = look(session(step(), status=status), again, pod())
        assert not any(isinstance(action, Converse) for action in later.actions)


def test_a_sandbox_lost_between_steps_leaves_the_rest_skipped() -> None:
    done = {"name": "one", "state": "Finished", "reason": "Exited", "exitCode": 0}
    waiting = {"name": "two", "state": "Pending"}
    stored = session(step("one"), step("two"), status=working_status(done, waiting))
    status = new_status(look(stored, None))
    assert [entry["state"] for entry in status["steps"]] == ["Finished", "Skipped"]
    assert said(status, "Failed") == ("True", "SandboxLost")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "Evicted"),
        ({"deleting": True}, "PodDeleted"),
        ({"phase": "Failed", "workspace": terminated(137, "OOMKilled")}, "OOMKilled"),
        ({"phase": "Failed", "reason": "NodeShutdown"}, "NodeLost"),
        ({"workspace": terminated(1)}, "WorkspaceLost"),
        ({"runtime": terminated(1)}, "RuntimeFailed"),
    ],
)
def test_the_end_of_its_pod_ends_the_session_with_the_pods_reason(
    fields: Json, reason: str
) -> None:
    plan = look(running(), READY, pod(**fields))
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert said(status, "Failed") == ("True", reason)
    assert only_step(plan)["reason"] == "SandboxLost"
    assert "Create the session again" in message(status, "Failed")


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_pod_that_goes_before_it_was_used_is_replaced(lost: int) -> None:
    young = session(step())
    young["status"] |= {"sandboxesLost": lost} if lost else {}
    plan = look(young, sandbox(), pod(phase="Failed", reason="Evicted"), answering=False)
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert status["sandboxesLost"] == lost + 1
    assert said(status, "Reconciling") == ("True", "Evicted")
    assert "another one is made" in message(status, "Ready")
    assert only_step(plan) == {"name": "greet", "state": "Pending"}


@pytest.mark.parametrize(
    ("lost", "its_pod", "reason"),
    [
        (3, pod(phase="Failed", reason="Evicted"), "Evicted"),
        (0, pod(workspace=terminated(1)), "WorkspaceLost"),
        (0, pod(runtime=terminated(1)), "RuntimeFailed"),
    ],
)
def test_it_is_not_replaced_for_ever_nor_where_another_would_end_the_same(
    lost: int, its_pod: Json, reason: str
) -> None:
    young = session(step())
    young["status"] |= {"sandboxesLost": lost} if lost else {}
    plan = look(young, sandbox(), its_pod, answering=False)
    assert kinds(plan) == ENDED
    assert said(new_status(plan), "Failed") == ("True", reason)
    assert only_step(plan) == {"name": "greet", "state": "Skipped"}


def test_an_answer_that_arrived_before_the_end_is_taken() -> None:
    lost = pod(phase="Failed", reason="Evicted")
    plan = look(running(), READY, lost, results=answers(ended()))
    assert said(new_status(plan), "Complete") == ("True", "Completed")
    assert only_step(plan)["exitCode"] == 0


@pytest.mark.parametrize(
    ("reason", "code", "outcome"),
    [
        (X.EXITED, 3, "StepFailed"),
        (X.MEMORY_LIMIT, None, "StepFailed"),
        (X.WALL_TIMEOUT, None, "StepFailed"),
        (X.CANCELLED, None, "Evicted"),
        (X.WORKSPACE_LOST, None, "Evicted"),
        (X.RUNTIME_RESTARTED, None, "Evicted"),
    ],
)
def test_a_step_that_failed_by_itself_explains_the_end_better_than_the_pod(
    reason: X, code: int | None, outcome: str
) -> None:
    answer = ended(code=code, reason=reason)
    plan = look(running(), READY, pod(phase="Failed", reason="Evicted"), results=answers(answer))
    assert said(new_status(plan), "Failed") == ("True", outcome)
    assert only_step(plan)["reason"] == reason


def test_the_termination_message_tells_how_the_step_ended() -> None:
    words = {
        "reason": "DeadlineExceeded",
        "executions": [ended_text("other"), ended_text(ID, durationMs=590_000)],
    }
    gone = pod(runtime=terminated(0, "Completed", json.dumps(words)), phase="Succeeded")
    plan = look(running(), READY, gone, now=after(601))
    assert kinds(plan) == ENDED
    assert said(new_status(plan), "Failed") == ("True", "DeadlineExceeded")
    told = only_step(plan)
    assert (told["reason"], told["durationMs"]) == ("Cancelled", 590_000)


def test_a_success_in_the_termination_message_completes_the_session() -> None:
    success = ended_text(ID, reason="Exited", exitCode=0)
    words = json.dumps({"reason": "DeadlineExceeded", "executions": [success]})
    gone = pod(runtime=terminated(0, "Completed", words), phase="Succeeded")
    plan = look(running(), READY, gone, now=after(601))
    assert said(new_status(plan), "Complete") == ("True", "Completed")


@pytest.mark.parametrize(
    "words",
    ["", "{", json.dumps({"reason": "Terminated", "executions": [ended_text("someone.else")]})],
)
def test_a_message_that_says_nothing_of_the_step_leaves_it_lost(words: str) -> None:
    gone = pod(runtime=terminated(0, "Completed", words))
    assert only_step(look(running(), READY, gone))["reason"] == "SandboxLost"


def test_at_its_deadline_the_runtime_cancels_and_the_session_says_so() -> None:
    plan = look(running(), READY, pod(), now=after(600), results=answers(cancelled()))
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert said(status, "Failed") == ("True", "DeadlineExceeded")
    assert only_step(plan)["reason"] == "Cancelled"


def cancelled() -> Any:
    return ended(code=None, reason=X.CANCELLED)


def test_a_step_that_somebody_else_cancelled_has_failed() -> None:
    plan = look(running(), READY, pod(), now=after(300), results=answers(cancelled()))
    assert said(new_status(plan), "Failed") == ("True", "StepFailed")


def test_until_the_grace_is_over_the_end_is_left_to_the_runtime() -> None:
    for moment in (after(600), after(614)):
        plan = look(running(), READY, pod(), now=moment)
        assert kinds(plan) == ["Converse greet"]
        assert plan.requeue_at == after(615)


@pytest.mark.parametrize("answering", [True, False])
def test_a_runtime_that_does_not_end_is_ended_by_deleting_its_sandbox(answering: bool) -> None:
    plan = look(running(), READY, pod(), now=after(615), answering=answering)
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert said(status, "Failed") == ("True", "DeadlineExceeded")
    assert only_step(plan)["reason"] == "Cancelled"


def test_a_ready_session_whose_runtime_is_silent_is_left_alone_until_then() -> None:
    plan = look(running(), READY, pod(), now=after(99), answering=False)
    assert plan == Plan(requeue_at=after(615))


@pytest.mark.parametrize("how", ["pod", "sandbox", "overdue", "gone"])
def test_an_open_session_expires_well(how: str) -> None:
    stored = session(status=working_status())
    words = json.dumps({"reason": "DeadlineExceeded"})
    seen: dict[str, tuple[Json | None, Json | None]] = {
        "pod": (READY, pod(runtime=terminated(0, "Completed", words), phase="Succeeded")),
        "sandbox": (finished_sandbox(R.DEADLINE_EXCEEDED), None),
        "overdue": (READY, pod()),
        "gone": (None, None),
    }
    its_sandbox, its_pod = seen[how]
    plan = look(stored, its_sandbox, its_pod, now=after(616))
    status = new_status(plan)
    assert status["phase"] == "Expired"
    assert said(status, "Complete") == ("True", "Expired")
    assert said(status, "Ready") == ("True", "Expired")
    assert events(plan) == ["Expired"]


def test_the_backstop_of_the_pod_reads_as_the_deadline() -> None:
    late = pod(phase="Failed", reason="DeadlineExceeded")
    status = new_status(look(running(), READY, late, now=after(1000)))
    assert said(status, "Failed") == ("True", "DeadlineExceeded")


def test_a_refused_configuration_ends_the_session_with_the_runtimes_words() -> None:
    refused = {"": Refused("InvalidRequest", "files[0].path leaves the workspace")}
    plan = look(running(), READY, pod(), results=refused)
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert said(status, "Failed") == ("True", "ConfigureRefused")
    assert "InvalidRequest: files[0].path leaves the workspace" in message(status, "Failed")
    assert only_step(plan)["reason"] == "Cancelled"


def test_a_refused_execution_never_started() -> None:
    plan = look(running(), READY, pod(), results={ID: Refused("TimeoutAboveCeiling", "too long")})
    assert kinds(plan) == ENDED
    status = new_status(plan)
    assert said(status, "Failed") == ("True", "StepFailed")
    told = only_step(plan)
    assert (told["reason"], told["message"]) == ("StartFailed", "TimeoutAboveCeiling: too long")


def test_a_tolerated_refusal_goes_on_with_the_next_step() -> None:
    spec = [step(continueOnFailure=True), step("next")]
    waiting = {"name": "next", "state": "Pending"}
    stored = session(*spec, status=working_status(RUNNING, waiting))
    plan = look(stored, READY, pod(), results={ID: Refused("X", "y")})
    assert kinds(plan) == ["PatchStatus AgentSession", "Converse next"]


def test_a_reason_of_another_version_reads_as_lost() -> None:
    odd = sandbox(
        status=ready_status(conditions=[condition("Finished", "True", "AbductedByAliens", "hm.")])
    )
    assert said(new_status(look(running(), odd)), "Failed") == ("True", "SandboxLost")


@pytest.mark.parametrize(
    "stored",
    [session(step()), running(), session(status=working_status()), session()],
    ids=["new", "running", "open", "new and open"],
)
def test_what_was_written_is_not_written_again(stored: Json) -> None:
    sandboxes = [None, READY, sandbox(), finished_sandbox(R.EVICTED)]
    pods = [None, pod(), pod(ip=""), pod(deleting=True)]
    moments = [0, 2, 599, 600, 614, 615, 9999]
    for seen, its_pod, moment in itertools.product(sandboxes, pods, moments):
        for answering in {False, its_pod is not None and seen is not None}:
            more: dict[str, Any] = {"answering": answering, "now": after(moment)}
            first = plan_session(stored, seen, its_pod, **more)
            if "PatchStatus AgentSession" not in kinds(first):
                continue
            if new_status(first).get("sandboxesLost"):
                continue  # counted, then deleted: it is not seen again
            written = {**stored, "status": new_status(first)}
            second = plan_session(written, seen, its_pod, **more)
            assert "PatchStatus AgentSession" not in kinds(second), (seen, its_pod, more)
