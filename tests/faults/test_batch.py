"""How ends are compared, and that a batch is what the API server takes."""

import copy
from typing import Any

import pytest
from tests.faults import batch
from tests.faults.harness import without
from tests.faults.scenarios import LONG
from tests.faults.vocabulary import failed

from paddock_api.session import AgentSession

SESSION: dict[str, Any] = {
    "status": {
        "phase": "Failed",
        "sandbox": {"name": "hello-x7k2p", "uid": "5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11"},
        "finishedAt": "2026-08-01T09:30:01.400Z",
        "conditions": [
            {
                "type": "Failed", "status": "True", "reason": "DeadlineExceeded",
                "message": "the session reached its maxDuration at 2026-08-01T09:30:00Z before "
                "its sandbox was ready. Last: no node has room.",
            }
        ],
        "steps": [{"name": "greet", "state": "Skipped", "stdoutTail": "hello-x7k2p"}],
    }
}  # fmt: skip


def changed(*path: Any, to: Any) -> Any:
    session = copy.deepcopy(SESSION)
    target: Any = session["status"]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = to
    return batch.end_of(session)


CALM = batch.end_of(SESSION)


def test_times_uids_names_and_the_last_trouble_make_no_difference() -> None:
    other = copy.deepcopy(SESSION)
    status = other["status"]
    status["sandbox"] = {"name": "hello-zzzzz", "uid": "00000000-6d5c-4f0e-9a53-0d8f0c2f8a11"}
    status["finishedAt"] = "2026-08-01T10:30:01.400Z"
    status["steps"][0]["stdoutTail"] = "hello-zzzzz"
    message = status["conditions"][0]["message"]
    status["conditions"][0]["message"] = message.replace("09:30", "10:30").replace("node", "pool")
    assert batch.differences(CALM, batch.end_of(other)) == []


@pytest.mark.parametrize(
    "other",
    [
        changed("phase", to="Succeeded"),
        changed("steps", 0, "state", to="Finished"),
        changed("steps", to=[]),
        changed("conditions", 0, "message", to="something else"),
        changed("result", to={}),
        None,
    ],
)
def test_anything_else_is_a_difference(other: Any) -> None:
    assert batch.differences(CALM, other)
    assert batch.differences(other, CALM)


def test_a_difference_names_the_field_and_both_values() -> None:
    (line,) = batch.differences(CALM, changed("phase", to="Succeeded"))
    assert line == "phase is 'Succeeded', undisturbed 'Failed'"


def test_a_field_that_the_fault_adds_is_left_out() -> None:
    other = changed("sandboxesLost", to=1)
    assert batch.differences(CALM, without(other, frozenset({"sandboxesLost"}))) == []
    assert without(None, frozenset()) is None


def test_a_judge_of_ends_knows_reasons_and_steps() -> None:
    assert failed("DeadlineExceeded")(CALM) == []
    assert failed("DeadlineExceeded", step=frozenset({"SandboxLost"}))(CALM)
    assert failed("Evicted")(CALM)
    assert failed("DeadlineExceeded")(None)


@pytest.mark.parametrize(
    "case",
    {case.name: case for row in LONG for case in row.sessions}.values(),
    ids=lambda c: c.name,
)
def test_every_session_of_a_batch_is_valid(case: batch.Case) -> None:
    session = AgentSession.model_validate(case.manifest("team"))
    life = session.spec.lifetime.max_duration
    assert life is not None
    assert all(step.timeout is None or step.timeout.ms <= life.ms for step in session.spec.steps)
