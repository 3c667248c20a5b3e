"""Errors that clients see: RFC 9457 bodies with a stable code."""

from collections.abc import Iterable, Mapping
from typing import Any

from paddock_api.messages import Problem

NAME_CHARACTERS = 100
"""Of a field that a client made up."""
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    411: "Length required",
    412: "Precondition failed",
    413: "Content too large",
    416: "Range not satisfiable",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
    507: "Insufficient storage",
}


_SAID = {"extra_forbidden": "there is no such field; docs/reference has those that there are"}
"""Sentences for pydantic's types of errors whose own say no way out."""


class ProblemError(Exception):
    """Becomes an `application/problem+json` answer. `detail` names the field and the way out."""

    def __init__(self, status: int, code: str, detail: str, **headers: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.problem = Problem(
            title=_TITLES.get(status, "Error"), status=status, detail=detail, code=code
        )


def invalid(detail: str) -> ProblemError:
    return ProblemError(422, "InvalidRequest", detail)


def refuse_nul(fields: Mapping[str, Iterable[str]]) -> None:
    """Raises 422 naming the field."""
    for field, texts in fields.items():
        if any("\0" in text for text in texts):
            raise invalid(f"{field}: holds a NUL character, which no program can be given")


def validation_detail(errors: Iterable[Any]) -> str:
    """One sentence from pydantic's error list: each field by its wire name, and its value."""
    parts = []
    for error in errors:
        field = ".".join(str(step)[:NAME_CHARACTERS] for step in error["loc"]) or "the body"
        said = _SAID.get(error["type"], error["msg"].removeprefix("Value error, "))
        parts.append(f"{field}: {said}{_got(error.get('input'))}")
    return "; ".join(parts[:5])


def _got(value: object) -> str:
    match value:
        case None | b"":
            return ""
        case dict():
            return " (got an object)" if value else " (got {})"
        case list():
            return " (got a list)" if value else " (got [])"
    return f" (got {_short(value)})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
