"""Condition lists: what changes, and what keeps its time."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.operator.objects import NOW, Json, condition
from tests.operator.schema import default_status

from paddock_api.conditions import ConditionReason as R
from paddock_operator.plan.conditions import Condition, clip, merge

LATER = NOW + timedelta(minutes=5, microseconds=250_000)
READY = Condition("Ready", "True", R.ANSWERING, "it answers.")


def merged(old: list[Json], *wanted: Condition) -> list[Json]:
    return merge(old, wanted, generation=7, now=LATER)


def test_a_new_condition_gets_the_time_of_now_in_whole_seconds() -> None:
    assert merged([], READY) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Answering",
            "message": "it answers.",
            "observedGeneration": 7,
            "lastTransitionTime": "2026-08-01T09:35:00Z",
        }
    ]


def test_another_reason_of_the_same_status_keeps_the_transition_time() -> None:
    (new,) = merged([condition("Ready", "True", "Completed")], READY)
    assert (new["reason"], new["lastTransitionTime"]) == ("Answering", "2026-08-01T09:30:00.000Z")


def test_another_status_moves_the_transition_time() -> None:
    (new,) = merged([condition("Ready", "False", "Starting")], READY)
    assert new["lastTransitionTime"] == "2026-08-01T09:35:00Z"


def test_the_schemas_default_time_is_not_kept() -> None:
    old = default_status("AgentSession")["conditions"]
    starting = Condition("Ready", "Unknown", R.STARTING)
    (new,) = merged(old, starting)
    assert new["lastTransitionTime"] == "2026-08-01T09:35:00Z"


def test_a_condition_that_is_not_wanted_any_more_goes() -> None:
    old = [condition("Reconciling", "True", "Starting"), condition("Ready", "True", "Answering")]
    assert [entry["type"] for entry in merged(old, READY)] == ["Ready"]


def test_the_order_is_that_of_what_is_wanted() -> None:
    finished = Condition("Finished", "True", R.COMPLETED)
    kinds = [entry["type"] for entry in merged([], finished, READY)]
    assert kinds == ["Finished", "Ready"]


@given(st.lists(st.sampled_from(["Ready", "Failed", "Stalled"]), unique=True), st.booleans())
def test_merging_again_changes_nothing(kinds: list[str], truth: bool) -> None:
    wanted = [Condition(kind, "True" if truth else "False", R.STEP_FAILED) for kind in kinds]
    once = merge([], wanted, generation=1, now=NOW)
    assert merge(once, wanted, generation=1, now=LATER) == once


@given(st.text(), st.integers(3, 600))
def test_a_clipped_text_is_one_line_within_its_bytes(text: str, size: int) -> None:
    clipped = clip(text, size)
    assert len(clipped.encode()) <= size
    assert clipped.isprintable()


def test_a_text_that_fits_is_not_changed_and_a_cut_is_marked() -> None:
    assert clip("pod a is gone.") == "pod a is gone."
    assert clip("ab\ncd\te") == "ab cd e"
    assert clip("ä" * 600) == "ä" * 254 + "…"
    assert clip("a" * 511 + "🙂" * 9) == "a" * 509 + "…"
