"""What the workspace says, checked: user code may have become its fork server."""

from dataclasses import fields
from typing import Annotated, Any, Union, get_args

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from paddock_runtime import protocol

LARGEST = 1 << 53
"""Of a number: as much as every reader of JSON keeps."""
STATUSES = range(1 << 16)
"""What wait4 gives."""


def _named_type(message: Any) -> str:
    named = message.get("type") if isinstance(message, dict) else None
    return named if isinstance(named, str) else ""


_KINDS = tuple(Annotated[kind, Tag(kind.__name__)] for kind in get_args(protocol.FromWorkspace))
_MESSAGE: TypeAdapter[protocol.FromWorkspace] = TypeAdapter(
    Annotated[Union[_KINDS], Discriminator(_named_type)]  # type: ignore[arg-type]  # noqa: UP007
)


def decode(data: bytes) -> protocol.FromWorkspace:
    """Raises ProtocolError."""
    try:
        message = _MESSAGE.validate_json(data, strict=True)
    except ValidationError as error:
        raise protocol.ProtocolError(f"not a message of a workspace: {error}"[:300]) from error
    numbers = [getattr(message, field.name) for field in fields(message)]
    if any(isinstance(number, int) and abs(number) > LARGEST for number in numbers):
        raise protocol.ProtocolError("a number that is too large")
    if isinstance(message, protocol.Ended) and message.status not in STATUSES:
        raise protocol.ProtocolError(f"{message.status} is not what wait4 gives")
    return message
