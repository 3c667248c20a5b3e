"""What one operation of an HTTP API is, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from paddock_api.messages import Message

JsonDict = dict[str, Any]
JSON, PROBLEM = "application/json", "application/problem+json"
BYTES, TEXT, EVENT_STREAM = "application/octet-stream", "text/plain", "text/event-stream"
RETRY_AFTER = "Retry-After"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One code of a Problem: when it is said, and the way out."""

    status: int
    code: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """`schema` is the JSON schema of its value; those of a path are required, others never."""

    name: str
    where: Literal["path", "query", "header"]
    schema: Mapping[str, Any]
    description: str
    example: Any = None


@dataclass(frozen=True, slots=True)
class Header:
    """Of an answer."""

    name: str
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Body:
    """Of a request: a message, or raw bytes where `model` is None (then it may be empty)."""

    model: type[Message] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One good answer.

    `model` is sent as JSON; `media` is raw content of that type; `events` are sent as an event
    stream, each with its model. None of them: no content. `links` are operations that take its
    `id` on.
    """

    status: int
    description: str
    model: type[Message] | None = None
    media: str | None = None
    events: Mapping[str, type[Message]] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `token` says whether it asks for one."""

    method: Literal["GET", "HEAD", "PUT", "POST", "DELETE"]
    path: str
    operation: str
    summary: str
    answers: tuple[Answer, ...]
    refusals: tuple[Refusal, ...]
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    description: str = ""
    token: bool = True
