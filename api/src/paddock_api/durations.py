"""Durations as people write them: `90s`, `1h30m`, `250ms`.

Kubernetes has no duration type in a schema, so they travel as strings; everything that
counts uses integer milliseconds. The grammar is a subset of Go's, so the API server's CEL
`duration()` and `kubectl` users' habits agree with it.
"""

import re
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from paddock_api.rules import rule

DURATION_PATTERN = r"^([0-9]+(h|m|s|ms))+$"
MAX_DURATION_MS = 168 * 3_600_000
"""One week: the longest duration that any field accepts."""
_MAX_CHARS = 32
_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_WHOLE = re.compile(r"(?:[0-9]+(?:ms|h|m|s))+")


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as `1h30m`; zero and any size are accepted here.

    Raises ValueError when the text does not follow `DURATION_PATTERN`.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(
            f"{text[:_MAX_CHARS]!r} is not a duration: write numbers with the units h, m, s "
            "and ms, such as 90s or 1h30m"
        )
    return sum(int(number) * _UNIT_MS[unit] for number, unit in _PART.findall(text))


def format_duration(ms: int) -> str:
    """The shortest exact spelling of so many milliseconds: `0s`, `12ms`, `1s400ms`, `1h30m`.

    Raises ValueError for a negative number.
    """
    if ms < 0:
        raise ValueError("a duration is never negative")
    parts = []
    for unit, size in _UNIT_MS.items():
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


class Duration(str):
    """A duration field: the text as its author wrote it, and `.ms`.

    Positive and at most a week; anything else raises ValueError.
    """

    __slots__ = ("ms",)
    ms: int
    """The same in milliseconds."""

    def __new__(cls, text: str) -> Self:
        ms = parse_duration(text)
        if not 0 < ms <= MAX_DURATION_MS:
            raise ValueError(f"{text[:_MAX_CHARS]!r} is outside of what is allowed: 1ms to 168h")
        self = super().__new__(cls, text)
        self.ms = ms
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(max_length=_MAX_CHARS)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # The pattern serves editors and offline checkers, the rule says the same in words.
        return {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "maxLength": _MAX_CHARS,
            "x-kubernetes-validations": [
                rule(
                    f"self.matches(r'{DURATION_PATTERN}') && duration(self) > duration('0s')"
                    " && duration(self) <= duration('168h')",
                    "must be a duration above 0 and of at most 168h, in h, m, s and ms, "
                    "such as 90s or 1h30m (write 24h for a day)",
                )
            ],
        }
