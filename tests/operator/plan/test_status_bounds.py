"""A status stays under 48 KiB of encoded JSON, whatever the programs wrote."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.objects import Json, pod, ready_status, sandbox, session, step, working_status
from tests.operator.planning import answers, ended, new_status, plan_session
from tests.operator.schema import STATUS_BYTES, encoded_size

from paddock_api.reasons import ExecutionReason as X
from paddock_operator.plan import steps

WORST = ["\x00", "\x1f", '"', "\\", "<", "&", "\u2028", "ä", "€", "🙂", "\n", "a", "\x7f"]
TEXTS = st.sampled_from(WORST).map(lambda character: character * 2100) | st.text(max_size=2100)
NAMES = [f"{i:02}-" + "n" * 60 for i in range(32)]
MAX = 2**53


def finished(name: str, text: str, message: str, code: int) -> Json:
    answer = ended(
        name,
        code,
        stdout=text,
        message=message,
        stderr={"tail": text, "bytes": MAX},
        peak_memory_bytes=MAX,
        oom_kills=9,
    )
    status = steps.finished({"name": name}, answer.model_copy(update={"duration_ms": MAX}))
    return dict(status)


DRAWN = st.tuples(TEXTS, TEXTS, st.sampled_from([0, 1, 3]))
STATUSES = (DRAWN.map(lambda drawn: [drawn] * 32) | st.lists(DRAWN, min_size=1, max_size=32)).map(
    lambda drawn: [finished(NAMES[i], *entry) for i, entry in enumerate(drawn)]
)


def size(statuses: list[Any]) -> int:
    return encoded_size([dict(entry) for entry in statuses])


@settings(max_examples=60)
@given(STATUSES)
def test_thirty_two_steps_of_any_text_fit(statuses: list[Json]) -> None:
    kept = steps.within_bounds(statuses)
    assert size(kept) <= steps.STATUS_STEPS_BYTES
    assert [entry["name"] for entry in kept] == [entry["name"] for entry in statuses]
    for before, after in zip(statuses, kept, strict=True):
        lost = before.keys() - after.keys()
        assert lost <= {"stdoutTail", "stderrTail", "message"}
        assert after.items() <= before.items()


@settings(max_examples=60)
@given(STATUSES)
def test_bounding_twice_is_bounding_once(statuses: list[Json]) -> None:
    once = steps.within_bounds(statuses)
    assert steps.within_bounds(once) == once


def test_what_fits_is_not_touched() -> None:
    statuses = [finished("a", "hello\n", "fine", 0)]
    assert steps.within_bounds(statuses) == statuses


def test_successful_steps_give_up_their_tails_first_the_oldest_before_the_others() -> None:
    statuses = [finished(NAMES[i], "x" * 2048, "", i % 2) for i in range(10)]
    kept = steps.within_bounds(statuses)
    emptied = [i for i, entry in enumerate(kept) if "stdoutTail" not in entry]
    successful = [i for i in range(10) if i % 2 == 0]
    assert 0 < len(emptied) < len(successful)
    assert emptied == successful[: len(emptied)]


def test_messages_are_given_up_last() -> None:
    statuses = [finished(NAMES[i], "", "<" * 512, 1) for i in range(32)]
    kept = steps.within_bounds(statuses)
    assert size(kept) <= steps.STATUS_STEPS_BYTES
    assert "message" in kept[-1]


@settings(max_examples=25)
@given(st.sampled_from(WORST), st.sampled_from(WORST))
def test_the_whole_status_fits_too(output: str, words: str) -> None:
    spec = [step(name, continueOnFailure=i < 31) for i, name in enumerate(NAMES)]
    before = [finished(name, output * 2100, words * 2100, 3) for name in NAMES[:31]]
    current = {"name": NAMES[31], "state": "Running", "executionId": f"u.{NAMES[31]}"}
    status = working_status(*steps.within_bounds(before), current)
    last = ended(
        NAMES[31], 1, reason=X.START_FAILED, stdout=output * 2100, message=words * 2100
    ).model_copy(update={"id": current["executionId"]})
    plan = plan_session(
        session(*spec, status=status),
        sandbox(status=ready_status()),
        pod(),
        answering=True,
        results=answers(last),
    )
    assert encoded_size(new_status(plan)) <= STATUS_BYTES
