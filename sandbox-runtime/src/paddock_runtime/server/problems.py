"""Errors that clients see: RFC 9457 bodies with a stable code."""

from collections.abc import Iterable
from typing import Any

from paddock_api.messages import Problem

_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Content too large",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}


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


def validation_detail(errors: Iterable[Any]) -> str:
    """One sentence from pydantic's error list: each field by its wire name, and its value."""
    parts = []
    for error in errors:
        field = ".".join(str(step) for step in error["loc"]) or "the body"
        value = error.get("input")
        shown = "" if isinstance(value, dict | list) or value is None else f" (got {_short(value)})"
        parts.append(f"{field}: {error['msg']}{shown}")
    return "; ".join(parts[:5])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
