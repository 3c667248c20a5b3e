"""A session's status: phase and conditions from what is known of it."""

from typing import Any

import pytest
from tests.operator.objects import Json, after, session, step, step_statuses, working_status
from tests.operator.planning import message, said
from tests.operator.schema import check_status

from paddock_api.conditions import ConditionReason as R
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.session_status import Draft, Outcome, build, patch, phase
from paddock_operator.plan.views import ObjectView

SESSION = ObjectView(session(step()))
PENDING = step_statuses(("greet", {"state": "Pending"}))
DONE = step_statuses(("greet", {"reason": "Exited", "exitCode": 0, "executionId": "u.greet"}))
SUCCESS = Outcome(True, R.COMPLETED, "1 of 1 steps succeeded.")
FAILURE = Outcome(False, R.STEP_FAILED, "step greet: Exited with exit code 3.")
EXPIRY = Outcome(None, R.EXPIRED, "it reached its maxDuration.")
STUCK = Trouble(R.UNSCHEDULABLE, "no node has room.")
USED = ("hello-x", "sandbox-uid")


def draft(**fields: Any) -> Draft:
    return Draft(SESSION, **{"expires_at": after(600), **fields})


@pytest.mark.parametrize(
    ("given", "word"),
    [
        pytest.param(draft(), "Pending", id="nothing yet"),
        pytest.param(draft(trouble=STUCK), "Pending", id="trouble without a sandbox"),
        pytest.param(draft(starting=True), "Starting", id="sandbox made"),
        pytest.param(draft(starting=True, trouble=STUCK), "Starting", id="sandbox stuck"),
        pytest.param(draft(ready=True, sandbox=USED), "Ready", id="open"),
        pytest.param(draft(ready=True, sandbox=USED, steps=PENDING), "Running", id="working"),
        pytest.param(draft(outcome=SUCCESS, steps=DONE), "Succeeded", id="succeeded"),
        pytest.param(draft(outcome=FAILURE), "Failed", id="failed"),
        pytest.param(draft(outcome=EXPIRY), "Expired", id="expired"),
    ],
)
def test_the_phase_is_one_word_for_people(given: Draft, word: str) -> None:
    assert phase(given) == word
    status = build(given, after(2))
    assert status["phase"] == word
    check_status("AgentSession", status)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            draft(),
            {
                "Ready": ("Unknown", "Starting"),
                "Reconciling": ("True", "Starting"),
                "SandboxReady": ("False", "Starting"),
            },
        ),
        (
            draft(trouble=STUCK),
            {
                "Ready": ("Unknown", "Unschedulable"),
                "Reconciling": ("True", "Unschedulable"),
                "SandboxReady": ("False", "Unschedulable"),
            },
        ),
        (
            draft(ready=True, sandbox=USED),
            {"Ready": ("True", "Answering"), "SandboxReady": ("True", "Answering")},
        ),
        (
            draft(outcome=SUCCESS),
            {
                "Ready": ("True", "Completed"),
                "SandboxReady": ("False", "Released"),
                "Finished": ("True", "Completed"),
                "Complete": ("True", "Completed"),
            },
        ),
        (
            draft(outcome=FAILURE),
            {
                "Ready": ("False", "StepFailed"),
                "Stalled": ("True", "StepFailed"),
                "SandboxReady": ("False", "Released"),
                "Finished": ("True", "StepFailed"),
                "Failed": ("True", "StepFailed"),
            },
        ),
        (
            draft(outcome=EXPIRY),
            {
                "Ready": ("True", "Expired"),
                "SandboxReady": ("False", "Released"),
                "Finished": ("True", "Expired"),
                "Complete": ("True", "Expired"),
            },
        ),
    ],
    ids=["starting", "trouble", "ready", "success", "failure", "expiry"],
)
def test_the_conditions_are_the_ones_that_the_design_promises(
    given: Draft, expected: dict[str, tuple[str, str]]
) -> None:
    status = build(given, after(2))
    kinds = [entry["type"] for entry in status["conditions"]]
    assert {kind: said(status, kind) for kind in kinds} == expected
    check_status("AgentSession", status)


def test_steps_that_never_ran_are_skipped_at_the_end() -> None:
    two = [*DONE, {"name": "late", "state": "Pending"}]
    status = build(draft(steps=two).end(FAILURE), after(2))
    assert [entry["state"] for entry in status["steps"]] == ["Finished", "Skipped"]
    assert status["executions"] == {"total": 1, "failed": 0}
    assert status["finishedAt"] == "2026-08-01T09:30:02.000Z"


def test_ready_at_is_the_first_time_and_never_moves() -> None:
    assert build(draft(ready=True, sandbox=USED), after(3))["readyAt"] == "2026-08-01T09:30:03.000Z"
    again = Draft(
        ObjectView(session(status=working_status())),
        sandbox=USED,
        expires_at=after(600),
        ready=True,
    )
    assert build(again, after(99))["readyAt"] == "2026-08-01T09:30:01.000Z"


def test_a_status_that_says_nothing_new_is_not_written() -> None:
    first = patch(draft(trouble=STUCK), after(2))
    assert first is not None
    stored: Json = session(step(), status=first.status)
    again = Draft(ObjectView(stored), trouble=STUCK, expires_at=after(600))
    assert patch(again, after(500)) is None


def test_the_write_names_the_object_as_it_was_read() -> None:
    write = patch(draft(trouble=STUCK), after(2))
    assert write is not None
    assert (write.uid, write.resource_version) == (SESSION.uid, "100")
    assert write.old == SESSION.status
    assert message(dict(write.status), "Ready") == "no node has room."
