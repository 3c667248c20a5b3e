"""The rules of steps: who is next, who failed, what an answer makes of one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.objects import NOW, SESSION_UID, Json, session, step, step_statuses
from tests.operator.planning import ended

from paddock_api.executions import Execution, Output
from paddock_api.reasons import ExecutionReason as X
from paddock_api.reasons import ExecutionState
from paddock_api.session import AgentSessionSpec
from paddock_api.session_status import StepStatus
from paddock_operator.plan import steps

OK = {"reason": "Exited", "exitCode": 0}
BAD = {"reason": "Exited", "exitCode": 3}
PENDING = {"state": "Pending"}
RUNNING = {"state": "Running"}
SKIPPED = {"state": "Skipped"}


def spec_of(*tolerant: bool) -> AgentSessionSpec:
    made = [step(f"s{i}", continueOnFailure=may) for i, may in enumerate(tolerant)]
    return AgentSessionSpec.read(session(*made)["spec"])


def states(*given: Json) -> list[Json]:
    return step_statuses(*((f"s{i}", entry) for i, entry in enumerate(given)))


@pytest.mark.parametrize(
    ("tolerant", "given", "current", "upcoming", "failed", "stopped_by", "done"),
    [
        pytest.param([], [], None, None, [], None, 0, id="no steps"),
        pytest.param([False], [PENDING], None, "s0", [], None, 0, id="nothing ran"),
        pytest.param([False], [RUNNING], "s0", None, [], None, 0, id="one runs"),
        pytest.param([False] * 2, [RUNNING, PENDING], "s0", None, [], None, 0, id="one at a time"),
        pytest.param([False] * 2, [OK, PENDING], None, "s1", [], None, 1, id="next"),
        pytest.param([False] * 2, [OK, OK], None, None, [], None, 2, id="all done"),
        pytest.param([False] * 2, [BAD, PENDING], None, None, ["s0"], "s0", 1, id="stopped"),
        pytest.param([True, False], [BAD, PENDING], None, "s1", ["s0"], None, 1, id="tolerated"),
        pytest.param([True, False], [BAD, BAD], None, None, ["s0", "s1"], "s1", 2, id="both"),
        pytest.param([True] * 2, [BAD, BAD], None, None, ["s0", "s1"], None, 2, id="both may"),
        pytest.param([False] * 2, [BAD, SKIPPED], None, None, ["s0"], "s0", 1, id="skipped"),
        pytest.param(
            [False],
            [{"reason": "Signaled", "signal": "SIGSEGV"}],
            None,
            None,
            ["s0"],
            "s0",
            1,
            id="no exit code is no success",
        ),
        pytest.param(
            [False],
            [{"reason": "WallTimeout", "exitCode": 0}],
            None,
            None,
            ["s0"],
            "s0",
            1,
            id="exit code 0 alone is no success",
        ),
    ],
)
def test_where_a_list_of_steps_stands(
    tolerant: list[bool],
    given: list[Json],
    current: str | None,
    upcoming: str | None,
    failed: list[str],
    stopped_by: str | None,
    done: int,
) -> None:
    progress = steps.progress(spec_of(*tolerant), states(*given))
    assert (progress.current or {}).get("name") == current
    assert (progress.next.name if progress.next else None) == upcoming
    assert [entry["name"] for entry in progress.failed] == failed
    assert (progress.stopped_by or {}).get("name") == stopped_by
    assert progress.done == done


@pytest.mark.parametrize(
    ("given", "stopped_by", "shown", "done"),
    [
        pytest.param([OK, OK], None, "s1", "2/2", id="the last one"),
        pytest.param([BAD, OK], None, "s0", "2/2", id="the first failed one"),
        pytest.param([BAD, BAD], "s1", "s1", "2/2", id="the one that stopped the session"),
        pytest.param([OK, PENDING], None, "s0", "1/2", id="so far"),
        pytest.param([OK, RUNNING], None, "s0", "1/2", id="running"),
        pytest.param([BAD, SKIPPED], "s0", "s0", "1/2", id="skipped ones did not run"),
    ],
)
def test_the_result_is_the_first_failed_step_else_the_last(
    given: list[Json], stopped_by: str | None, shown: str, done: str
) -> None:
    statuses = states(*given)
    stopped = next((entry for entry in statuses if entry["name"] == stopped_by), None)
    result = steps.summary(statuses, stopped)
    assert (result["step"], result["stepsDone"]) == (shown, done)


def test_there_is_no_result_before_a_step_has_ended() -> None:
    assert steps.summary(states(RUNNING, PENDING), None) == {}


def test_a_result_says_how_long_it_took_in_both_spellings() -> None:
    result = steps.summary(states({**OK, "durationMs": 1400}), None)
    assert (result["durationMs"], result["duration"]) == (1400, "1s400ms")


def test_stored_statuses_are_taken_over_and_the_rest_is_pending() -> None:
    stored = [{"name": "s1", "state": "Running", "executionId": "x"}, {"name": "old"}]
    assert steps.initial(spec_of(False, False), stored) == [
        {"name": "s0", "state": "Pending"},
        stored[0],
    ]


def test_a_step_is_marked_running_with_the_id_that_it_will_always_have() -> None:
    assert steps.running({"name": "greet"}, SESSION_UID) == {
        "name": "greet",
        "state": "Running",
        "executionId": f"{SESSION_UID}.greet",
    }


def test_an_answer_becomes_a_status_of_the_steps_own_words() -> None:
    status = steps.finished({"name": "greet"}, ended(peak_memory_bytes=9_338_880))
    assert status == {
        "name": "greet",
        "executionId": f"{SESSION_UID}.greet",
        "state": "Finished",
        "reason": "Exited",
        "exitCode": 0,
        "durationMs": 12,
        "cpuMs": 9,
        "peakMemoryBytes": 9_338_880,
        "stdoutBytes": 6,
        "stderrBytes": 0,
        "truncated": False,
        "stdoutTail": "hello\n",
        "startedAt": "2026-08-01T09:30:00.000Z",
        "finishedAt": "2026-08-01T09:30:00.012Z",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"exit_code": 2**40},
        {"exit_code": -(2**40)},
        {"duration_ms": -5},
        {"duration_ms": 2**60},
        {"cpu_ms": -1},
        {"peak_memory_bytes": 2**70},
        {"signal": "SIG" + "X" * 60},
        {"signal": "\x00"},
        {"message": "\x00" * 4000},
        {"message": "ä" * 4000},
        {"stdout": Output(tail="x", bytes=-1)},
        {"stderr": Output(tail="🙂" * 3000, bytes=2**60)},
        {"reason": None},
        {"reason": X.START_FAILED, "exit_code": 127},
    ],
)
def test_no_answer_makes_a_status_that_the_api_server_refuses(fields: Json) -> None:
    answer = ended().model_copy(update=fields)
    status = steps.finished({"name": "greet"}, answer)
    StepStatus.model_validate(status)
    steps.summary([status], status)


@pytest.mark.parametrize("reason", list(X))
def test_only_exited_with_zero_is_success(reason: X) -> None:
    for code in (0, 1, None):
        status = {"name": "s0", "state": "Finished", "reason": reason.value, "exitCode": code}
        assert steps.succeeded(status) == (reason is X.EXITED and code == 0)


def test_a_lost_step_keeps_the_id_it_was_dispatched_with() -> None:
    known = steps.lost({"name": "a", "executionId": "u.a"}, X.SANDBOX_LOST, "pod gone\n")
    assert known == {
        "name": "a",
        "executionId": "u.a",
        "state": "Finished",
        "reason": "SandboxLost",
        "message": "pod gone ",
    }
    assert "executionId" not in steps.lost({"name": "a"}, X.CANCELLED, "")


def test_what_ended_is_never_called_anything_but_finished() -> None:
    odd = Execution(id="u.a", state=ExecutionState.RUNNING, accepted_at=NOW)
    status = steps.finished({"name": "a"}, odd)
    assert (status["state"], status["reason"]) == ("Finished", "SandboxLost")


@given(st.text(st.characters(codec="utf-8"), max_size=3000), st.integers(1, 2100))
def test_a_tail_is_the_end_of_the_text_cut_on_a_character(text: str, size: int) -> None:
    tail = steps.tail(text, size)
    assert len(tail.encode()) <= size
    assert text.endswith(tail)
    if tail != text:  # nothing more would have fitted
        longer = text[len(text) - len(tail) - 1 :]
        assert len(longer.encode()) > size


def test_a_character_that_does_not_fit_is_left_out_whole() -> None:
    assert steps.tail("aä🙂", 4) == "🙂"
    assert steps.tail("aä🙂", 5) == "🙂"
    assert steps.tail("aä🙂", 6) == "ä🙂"
    assert steps.tail("aä🙂", 3) == ""
