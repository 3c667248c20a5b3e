from datetime import UTC, datetime

import pytest

from paddock_api.conditions import (
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
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


@pytest.mark.parametrize("vocabulary", [ConditionReason, ConditionType])
def test_words_are_camel_case(vocabulary: type[ConditionReason] | type[ConditionType]) -> None:
    for word in vocabulary:
        assert word.value[0].isupper()
        assert word.value.isalnum()
