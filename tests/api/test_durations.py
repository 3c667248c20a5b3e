import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from paddock_api.durations import MAX_DURATION_MS, Duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1ms", 1),
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        ("30m1h", 5_400_000),
        ("1h1h", 7_200_000),
        ("5m", 300_000),
        ("1m5ms", 60_005),
        ("007s", 7000),
        ("168h", MAX_DURATION_MS),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, ms: int) -> None:
    assert parse_duration(text) == ms
    assert Duration(text).ms == ms


@pytest.mark.parametrize(
    "text",
    ["", "5", "1d", "s", "-1s", "+1s", "1.5s", "1 s", "1s ", "1s\n", "1S", "1us", "1h30", "١s"],
)
def test_what_is_no_duration_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0h0m0s", "168h1ms", "9999h", "999999999999999999999s"])
def test_a_field_takes_only_a_positive_duration_of_at_most_a_week(text: str) -> None:
    with pytest.raises(ValueError, match="1ms to 168h"):
        Duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_formatting_is_exact(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (12, "12ms"), (1400, "1s400ms"), (5_400_000, "1h30m")]
)
def test_formatting_reads_as_people_write(ms: int, text: str) -> None:
    assert format_duration(ms) == text


def test_there_is_no_negative_duration() -> None:
    with pytest.raises(ValueError, match="never negative"):
        format_duration(-1)


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["h", "m", "s", "ms"])), min_size=1))
def test_parts_add_up_in_any_order(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    backwards = "".join(f"{number}{unit}" for number, unit in reversed(parts))
    assert parse_duration(text) == parse_duration(backwards)


def test_a_field_keeps_the_text_of_its_author() -> None:
    duration = TypeAdapter(Duration).validate_python("90s")
    assert duration == "90s"
    assert duration.ms == 90_000
    assert TypeAdapter(Duration).dump_python(duration, mode="json") == "90s"


def test_a_text_that_is_far_too_long_is_not_even_parsed() -> None:
    with pytest.raises(ValidationError, match="at most 32 characters"):
        TypeAdapter(Duration).validate_python("1s" * 1000)
