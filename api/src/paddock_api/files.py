"""Messages of the runtime's file API: `/v1/files/{path}`, `/v1/directories/{path}`, `/v1/move`.

Content travels raw, not in these. Paths are relative to the workspace; in a URL they are
percent-encoded bytes, so names that are not UTF-8 can be named too.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from paddock_api.messages import Message, Moment

_ENCODED = "%([013-9A-Fa-f][1-9A-Fa-f]|[1-9A-Fa-f]0|2[1-9A-Da-d])"
_NAME = rf"(\.{{0,2}}([^%./\x00]|{_ENCODED})|\.{{3}})([^%/\x00]|{_ENCODED})*"
EncodedPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4096,
        examples=["data/in%20put.csv"],
        json_schema_extra={"pattern": rf"^{_NAME}(/{_NAME})*$"},
    ),
]
"""The pattern is documentation. It leaves out encoded dots and slashes, which are taken."""


class FileType(StrEnum):
    """What a directory entry is; links are not followed."""

    FILE = "File"
    DIRECTORY = "Directory"
    SYMLINK = "Symlink"
    OTHER = "Other"
    """A FIFO, a socket or a device: listed, never opened."""


class FileInfo(Message):
    """One directory entry, and the answer to a PUT."""

    name: str
    """Bytes that are not UTF-8 show as U+FFFD; `href` is exact."""
    href: str
    """The whole path, percent-encoded, to be put behind `/v1/files/` or `/v1/directories/`."""
    type: FileType
    size: int
    """Bytes; 0 for what is not a file."""
    mode: Annotated[str, Field(examples=["0644"])]
    """Permission bits, octal."""
    modified_at: Moment
    expires_at: Moment | None = None
    """When the runtime deletes it, if it was put with `ttl`."""


class DirectoryPage(Message):
    """`GET /v1/directories/{path}?limit=&after=`: entries in the order of their bytes."""

    entries: list[FileInfo] = []
    next: str | None = None
    """To be given as `after`, percent-encoded as it is; absent on the last page."""


class MoveRequest(Message):
    """`POST /v1/move`: rename within the workspace, atomically.

    Both paths are percent-encoded, as in a URL and in `href`.
    """

    source: EncodedPath
    target: EncodedPath
    overwrite: bool = False
    """False: 409 `Exists` where something has the name already."""
