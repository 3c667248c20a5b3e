"""The undisturbed path of a session, plan by plan, each with its exact actions."""

from typing import Any

import pytest
from tests.operator.objects import (
    NAME,
    POD_UID,
    SANDBOX_UID,
    SESSION_UID,
    Json,
    after,
    pod,
    ready_status,
    sandbox,
    session,
    step,
)
from tests.operator.planning import (
    answers,
    ended,
    events,
    kinds,
    message,
    new_status,
    only,
    plan_session,
    said,
)

from paddock_operator.plan.actions import Converse, Create, Delete, PatchStatus, Plan

ID = f"{SESSION_UID}.greet"
READY = sandbox(status=ready_status())


def look(stored: Json, seen: Json | None = READY, **more: Any) -> Plan:
    """The plan with a pod whose runtime answers."""
    return plan_session(stored, seen, pod(), answering=True, **more)


def test_first_the_sandbox_is_created() -> None:
    plan = plan_session(session(step()))
    assert kinds(plan) == ["Create Sandbox"]
    create = only(plan, Create)
    assert (create.key.name, create.key.namespace, create.owner_uid) == (NAME, "team", SESSION_UID)
    manifest = create.manifest
    assert manifest["spec"] == {
        "templateRef": {"name": "python"},
        "lifetime": {"maxDuration": "10m", "idleTimeout": "15m"},
    }
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == (
        "AgentSession",
        SESSION_UID,
        True,
    )
    assert plan.requeue_at == after(600)


def test_the_sandbox_is_told_nothing_of_the_user_but_its_trace() -> None:
    asked = session(step(), annotations={"opentelemetry.io/trace-context": "00-x", "a": "b"})
    manifest = only(plan_session(asked), Create).manifest
    assert manifest["metadata"]["annotations"] == {"opentelemetry.io/trace-context": "00-x"}
    assert "alice" not in str(manifest)


@pytest.mark.parametrize("seen", [None, pod(phase="Pending", ip="", runtime={}), pod()])
def test_a_starting_sandbox_is_waited_for_without_a_write(seen: Json | None) -> None:
    assert plan_session(session(step()), sandbox(), seen) == Plan(requeue_at=after(600))


def test_when_it_answers_the_step_is_written_as_running_and_then_dispatched() -> None:
    plan = look(session(step()))
    assert kinds(plan) == ["PatchStatus AgentSession", "Converse greet"]
    status = new_status(plan)
    assert status["phase"] == "Running"
    assert status["sandbox"] == {"name": NAME, "uid": SANDBOX_UID, "launch": "Cold"}
    assert status["steps"] == [{"name": "greet", "state": "Running", "executionId": ID}]
    assert status["readyAt"] == "2026-08-01T09:30:02.000Z"
    assert status["expiresAt"] == "2026-08-01T09:40:00.000Z"
    assert said(status, "Ready") == ("True", "Answering")
    assert events(plan) == ["SandboxReady"]


def test_the_conversation_carries_what_the_session_asks_for() -> None:
    asked = session(
        step(stdin="in", timeout="5s"),
        env=[{"name": "GREETING", "value": "hi"}],
        files=[{"path": "a/b.csv", "content": "1,2\n"}],
    )
    converse = only(look(asked), Converse)
    assert (converse.session_uid, converse.sandbox_uid) == (SESSION_UID, SANDBOX_UID)
    assert (converse.pod_uid, converse.ip) == (POD_UID, "10.0.0.7")
    assert converse.expires_at == after(600)
    assert converse.configure.expires_in_ms == 598_000
    assert [entry.name for entry in converse.configure.env] == ["GREETING"]
    assert [entry.path for entry in converse.configure.files] == ["a/b.csv"]
    execution = converse.execution
    assert (execution.id, execution.stdin, execution.timeout_ms) == (ID, "in", 5000)


def test_the_session_need_not_wait_for_its_sandboxs_status() -> None:
    assert kinds(look(session(step()), sandbox())) == ["PatchStatus AgentSession", "Converse greet"]


def test_while_it_runs_nothing_is_written_and_asking_again_is_free() -> None:
    running = session(step(), status=new_status(look(session(step()))))
    plan = look(running, now=after(30))
    assert kinds(plan) == ["Converse greet"]
    assert plan.requeue_at == after(615)
    assert only(plan, Converse).execution.id == ID


def test_its_end_is_written_and_the_sandbox_let_go_in_this_order() -> None:
    running = session(step(), status=new_status(look(session(step()))))
    plan = look(running, results=answers(ended()))
    assert kinds(plan) == ["PatchStatus AgentSession", "Delete Sandbox"]
    assert events(plan) == ["Completed"]
    status = new_status(plan)
    assert status["phase"] == "Succeeded"
    assert said(status, "Complete") == ("True", "Completed")
    assert status["result"] == {
        "step": "greet",
        "reason": "Exited",
        "exitCode": 0,
        "durationMs": 12,
        "duration": "12ms",
        "stepsDone": "1/1",
    }
    assert status["steps"][0]["stdoutTail"] == "hello\n"
    assert status["executions"] == {"total": 1, "failed": 0}
    delete = only(plan, Delete)
    assert (delete.key.name, delete.uid) == (NAME, SANDBOX_UID)


def finished() -> Json:
    running = session(step(), status=new_status(look(session(step()))))
    return session(step(), status=new_status(look(running, results=answers(ended()))))


def test_a_finished_session_only_lets_its_sandbox_go() -> None:
    assert kinds(look(finished())) == ["Delete Sandbox"]
    assert plan_session(finished(), None) == Plan()
    assert plan_session(finished(), sandbox(deleting=True)) == Plan()
    assert plan_session(finished(), sandbox(owner_uid="another")) == Plan()


def test_a_finished_session_stays_as_it_is_whatever_is_seen_later() -> None:
    for results in ({}, answers(ended(code=9))):
        plan = look(finished(), results=results, now=after(10_000))
        assert [a for a in plan.actions if isinstance(a, PatchStatus)] == []


def test_a_session_that_is_being_deleted_lets_its_sandbox_go() -> None:
    """A finalizer of somebody else may keep it for long."""
    leaving = session(step())
    leaving["metadata"]["deletionTimestamp"] = "2026-08-01T09:30:01Z"
    assert kinds(look(leaving)) == ["Delete Sandbox"]
    assert plan_session(leaving) == Plan()


def test_the_whole_way_takes_three_writes_of_the_sessions_own() -> None:
    """Create, Running, Finished; with pod, sandbox Ready and delete six in all."""
    stored, writes = session(step()), 0
    for seen, results in ((None, {}), (READY, {}), (READY, answers(ended()))):
        plan = plan_session(stored, seen, pod(), answering=seen is not None, results=results)
        writes += sum(isinstance(a, PatchStatus | Create) for a in plan.actions)
        for action in plan.actions:
            if isinstance(action, PatchStatus):
                stored = session(step(), status=action.status)
    assert writes == 3


THREE = [step("one"), step("two", continueOnFailure=True), step("three")]


def run(
    steps: list[Json], codes: dict[str, int | None]
) -> tuple[list[list[str]], Json, dict[str, Any]]:
    """Answer each dispatched step; the plans' actions, the last status, the dispatch count."""
    stored, said_by, dispatched = session(*steps), [], dict[str, int]()
    results: dict[str, Any] = {}
    for _ in range(2 * len(steps) + 2):
        plan = look(stored, results=results)
        said_by.append(kinds(plan))
        for action in plan.actions:
            if isinstance(action, PatchStatus):
                stored = session(*steps, status=action.status)
            if isinstance(action, Converse) and action.execution is not None:
                name = action.execution.id.partition(".")[2]
                dispatched[name] = dispatched.get(name, 0) + 1
                results = answers(ended(name, codes[name]))
        if "Delete Sandbox" in said_by[-1]:
            break
    return said_by, stored["status"], dispatched


def test_each_further_step_costs_one_write() -> None:
    path, status, dispatched = run(THREE, {"one": 0, "two": 0, "three": 0})
    assert path == [
        ["PatchStatus AgentSession", "Converse one"],
        ["PatchStatus AgentSession", "Converse two"],
        ["PatchStatus AgentSession", "Converse three"],
        ["PatchStatus AgentSession", "Delete Sandbox"],
    ]
    assert status["phase"] == "Succeeded"
    assert status["result"]["stepsDone"] == "3/3"
    assert dispatched == {"one": 1, "two": 1, "three": 1}


def test_a_failure_that_may_be_goes_on_and_is_counted() -> None:
    _, status, dispatched = run(THREE, {"one": 0, "two": 3, "three": 0})
    assert dispatched == {"one": 1, "two": 1, "three": 1}
    assert status["phase"] == "Succeeded"
    assert said(status, "Complete") == ("True", "Completed")
    assert "1 failed and may" in message(status, "Complete")
    assert status["result"]["step"] == "two"
    assert status["result"]["exitCode"] == 3
    assert status["executions"] == {"total": 3, "failed": 1}


def test_the_first_failure_that_may_not_be_ends_it_and_the_rest_is_skipped() -> None:
    path, status, dispatched = run(THREE, {"one": 3, "two": 0, "three": 0})
    assert path[-1] == ["PatchStatus AgentSession", "Delete Sandbox"]
    assert dispatched == {"one": 1}
    assert status["phase"] == "Failed"
    assert said(status, "Failed") == ("True", "StepFailed")
    assert said(status, "Stalled") == ("True", "StepFailed")
    assert [entry["state"] for entry in status["steps"]] == ["Finished", "Skipped", "Skipped"]
    assert "step one: Exited with exit code 3" in message(status, "Failed")
    assert status["executions"] == {"total": 1, "failed": 1}
    assert status["result"]["stepsDone"] == "1/3"


def test_a_later_failure_is_the_result_although_an_earlier_one_was_tolerated() -> None:
    _, status, _ = run(THREE, {"one": 0, "two": 3, "three": 4})
    assert status["phase"] == "Failed"
    assert status["result"]["step"] == "three"


def test_a_failing_step_tells_an_event() -> None:
    running = session(step(), status=new_status(look(session(step()))))
    plan = look(running, results=answers(ended(code=3)))
    assert events(plan) == ["StepFailed", "StepFailed"]


def test_an_open_session_is_ready_and_stays_so() -> None:
    plan = look(session())
    assert kinds(plan) == ["PatchStatus AgentSession", "Converse configure"]
    status = new_status(plan)
    assert (status["phase"], "steps" in status) == ("Ready", False)
    again = look(session(status=status), now=after(99))
    assert kinds(again) == ["Converse configure"]
    assert again.requeue_at == after(615)


def test_a_longer_life_is_written_and_told_to_the_runtime() -> None:
    status = new_status(look(session(step())))
    longer = session(step(), status=status, max_duration="1h")
    plan = look(longer, now=after(30))
    assert kinds(plan) == ["PatchStatus AgentSession", "Converse greet"]
    assert new_status(plan)["expiresAt"] == "2026-08-01T10:30:00.000Z"
    assert only(plan, Converse).expires_at == after(3600)
    assert only(plan, Converse).execution.id == ID
