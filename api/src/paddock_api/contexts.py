"""Contexts on the wire: interpreters that keep their variables between executions."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from paddock_api.messages import ID_PATTERN, MAX_ENV, EnvVar, Message, Moment, Text
from paddock_api.reasons import ContextState

CONTEXT_ENV_BYTES = 128 << 10


class ContextRequest(Message):
    """`POST /v1/contexts`: a Python interpreter that keeps its variables between executions."""

    id: Annotated[str, Field(pattern=ID_PATTERN, examples=["notebook"])]
    """The same id with the same request answers the context as it is (200 instead of 201); with
    another request 409 `ContextIdReused`."""
    language: Literal["python"] = "python"
    env: Annotated[list[EnvVar], Field(max_length=MAX_ENV)] = []
    """Over the session's. Names and values take at most 128 KiB together: each context is noted
    with them in the journal, from which a dead one can be restarted."""
    cwd: Annotated[Text | None, Field(min_length=1, max_length=4096)] = None
    """As an execution's."""

    @field_validator("env")
    @classmethod
    def _small(cls, env: list[EnvVar]) -> list[EnvVar]:
        size = sum(len(f"{pair.name}{pair.value}".encode()) for pair in env)
        if size > CONTEXT_ENV_BYTES:
            raise ValueError(
                f"its names and values take {size} bytes together, at most {CONTEXT_ENV_BYTES} "
                "are taken; put large data into files"
            )
        return env


class Context(Message):
    """One context."""

    id: str
    state: ContextState
    language: str = "python"
    executions: int = 0
    """Started in it so far."""
    message: str | None = None
    """How it died."""
    created_at: Moment


class ContextList(Message):
    """`GET /v1/contexts`: all, in the order of their creation; there are few."""

    contexts: list[Context] = []
