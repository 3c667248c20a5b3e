from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddock_api.conditions import (
    NEVER,
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
    clip_message,
    find_condition,
    settle_transitions,
)

THEN = datetime(2026, 8, 1, 9, 30, 0, 250_000, tzinfo=UTC)
NOW = datetime(2026, 8, 1, 9, 31, tzinfo=UTC)


def ready(status: ConditionStatus, moment: datetime) -> Condition:
    return Condition(
        type=ConditionType.READY,
        status=status,
        last_transition_time=moment,
        reason=ConditionReason.STARTING,
    )


def test_the_wire_form_is_metav1_condition() -> None:
    assert ready(ConditionStatus.UNKNOWN, THEN).to_dict() == {
        "type": "Ready",
        "status": "Unknown",
        "lastTransitionTime": "2026-08-01T09:30:00Z",
        "reason": "Starting",
        "message": "",
    }


def test_the_time_stays_while_the_status_stays() -> None:
    old, new = ready(ConditionStatus.TRUE, THEN), ready(ConditionStatus.TRUE, NOW)
    assert settle_transitions([old], [new])[0].last_transition_time == THEN


def test_the_time_moves_with_the_status() -> None:
    old, new = ready(ConditionStatus.UNKNOWN, THEN), ready(ConditionStatus.TRUE, NOW)
    assert settle_transitions([old], [new])[0].last_transition_time == NOW


def test_the_time_of_the_schema_default_is_not_taken_over() -> None:
    old, new = ready(ConditionStatus.UNKNOWN, NEVER), ready(ConditionStatus.UNKNOWN, NOW)
    assert settle_transitions([old], [new])[0].last_transition_time == NOW


def test_a_condition_is_found_by_its_type() -> None:
    conditions = [ready(ConditionStatus.TRUE, NOW)]
    assert find_condition(conditions, ConditionType.READY) is conditions[0]
    assert find_condition(conditions, ConditionType.FAILED) is None


@given(st.text(max_size=2000))
def test_a_clipped_message_always_fits(text: str) -> None:
    clipped = clip_message(text)
    assert len(clipped.encode()) <= 512
    Condition(
        type="Ready",
        status=ConditionStatus.TRUE,
        last_transition_time=NOW,
        reason="Starting",
        message=clipped,
    )


def test_a_message_that_fits_is_left_alone() -> None:
    assert clip_message("ü" * 256) == "ü" * 256
    assert clip_message("ü" * 257) == "ü" * 254 + "…"


@pytest.mark.parametrize("vocabulary", [ConditionReason, ConditionType])
def test_words_are_camel_case(vocabulary: type[ConditionReason] | type[ConditionType]) -> None:
    for word in vocabulary:
        assert word.value[0].isupper()
        assert word.value.isalnum()
