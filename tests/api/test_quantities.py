from fractions import Fraction
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from paddock_api.quantities import Between, Quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("500m", 1),
        ("1.5Gi", 3 << 29),
        ("512Mi", 512 << 20),
        ("1k", 1000),
        ("1Ki", 1024),
        ("0.001", 1),
        ("1M", 10**6),
        ("2Ti", 2 << 40),
    ],
)
def test_value_is_in_whole_units_rounded_up(text: str, value: int) -> None:
    assert Quantity(text).value == value


@pytest.mark.parametrize(("text", "millis"), [("500m", 500), ("2", 2000), ("0.25", 250)])
def test_cpus_are_counted_in_thousandths(text: str, millis: int) -> None:
    assert Quantity(text).millis == millis


@pytest.mark.parametrize(
    "text", ["", "abc", "-1", "+1", "1 Mi", "1mi", "1e3", "1E", "1n", "1u", "1.", ".5", "1Mib", "١"]
)
def test_what_is_no_quantity_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(ValueError, match="such as 500m, 2 or 512Mi"):
        parse_quantity(text)


@given(
    st.integers(0, 10**15),
    st.sampled_from(["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]),
)
def test_rounding_up_never_loses_more_than_one_unit(number: int, unit: str) -> None:
    quantity = Quantity(f"{number}{unit}")
    assert 0 <= quantity.value - quantity.exact < 1
    assert 0 <= Fraction(quantity.millis, 1000) - quantity.exact < Fraction(1, 1000)


def test_a_plain_number_is_a_quantity_too() -> None:
    adapter = TypeAdapter(Quantity)
    assert adapter.validate_python(1048576).value == 1 << 20
    assert adapter.dump_python(adapter.validate_python(4), mode="json") == "4"


@pytest.mark.parametrize("value", [True, 1.5, None, "9" * 17, -1])
def test_other_types_and_absurd_sizes_are_not(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_python(value)


def test_both_ends_of_between_are_included() -> None:
    adapter: TypeAdapter[Quantity] = TypeAdapter(Annotated[Quantity, Between("10m", "256", "2")])
    assert adapter.validate_python("10m").millis == 10
    assert adapter.validate_python(256).value == 256
    for outside in ("9m", "257", 0):
        with pytest.raises(ValidationError, match="must be from 10m to 256"):
            adapter.validate_python(outside)
