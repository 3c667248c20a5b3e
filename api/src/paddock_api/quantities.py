"""Sizes and CPU counts as Kubernetes writes them: `500m`, `512Mi`, `2`, `1.5Gi`.

The accepted grammar is the plain part of Kubernetes' own: no sign, no exponent, no units
below a thousandth. Everything that counts uses integers (bytes, thousandths of a CPU).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from paddock_api.rules import rule

QUANTITY_PATTERN = r"^[0-9]{1,16}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_MAX_CHARS = 24
_WHOLE = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,3})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_UNITS: dict[str | None, Fraction] = {
    None: Fraction(1),
    "m": Fraction(1, 1000),
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGT", start=1)},
    **{f"{unit}i": Fraction(1024**power) for power, unit in enumerate("KMGT", start=1)},
}


def parse_quantity(text: str) -> Fraction:
    """The exact value of a quantity; raises ValueError when it does not follow the grammar."""
    match = _WHOLE.fullmatch(text)
    if not match:
        raise ValueError(
            f"{text[:_MAX_CHARS]!r} is not a quantity: write a number with an optional unit, "
            "such as 500m, 2 or 512Mi"
        )
    number, unit = match.groups()
    return Fraction(number) * _UNITS[unit]


class Quantity(str):
    """A quantity field: the text as its author wrote it (a plain number becomes its digits).

    Raises ValueError when the text is not a quantity.
    """

    __slots__ = ("exact",)
    exact: Fraction

    def __new__(cls, text: str | int) -> Self:
        exact = parse_quantity(str(text))
        self = super().__new__(cls, str(text))
        self.exact = exact
        return self

    @property
    def value(self) -> int:
        """In whole units (bytes, CPUs), rounded up as Kubernetes does."""
        return -(-self.exact.numerator // self.exact.denominator)

    @property
    def millis(self) -> int:
        """In thousandths (of a CPU), rounded up."""
        thousandths = self.exact * 1000
        return -(-thousandths.numerator // thousandths.denominator)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.union_schema(
                [core_schema.str_schema(max_length=_MAX_CHARS), core_schema.int_schema(strict=True)]
            ),
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # The pattern is for the string form only; numbers are the rule's business.
        return {
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": _MAX_CHARS,
        }


@dataclass(frozen=True)
class Between:
    """`Annotated[Quantity, Between("10m", "256", "500m or 2")]`: both ends included."""

    low: str
    high: str
    such_as: str
    """Examples for the message of whoever got it wrong."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        schema["x-kubernetes-validations"] = [
            rule(
                f"string(self).matches(r'{QUANTITY_PATTERN}')"
                f" && quantity(string(self)).compareTo(quantity('{self.low}')) >= 0"
                f" && quantity(string(self)).compareTo(quantity('{self.high}')) <= 0",
                f"must be a quantity from {self.low} to {self.high}, such as {self.such_as}",
            )
        ]
        return schema

    def _check(self, quantity: Quantity | None) -> Quantity | None:
        if quantity is None:
            return None
        if not Quantity(self.low).exact <= quantity.exact <= Quantity(self.high).exact:
            raise ValueError(f"must be from {self.low} to {self.high}")
        return quantity
