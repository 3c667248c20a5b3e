"""What the runtime and the file server say to each other. Standard library only.

One SEQPACKET message is one JSON object. A request has a number, which its answer repeats; with an
answer may come one descriptor. Paths and names are bytes, written as text one byte a character
(`wire`, `unwire`); a path is relative to the workspace, and empty where it is the workspace
itself. Sizes are bytes, times nanoseconds since 1970.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

MAX_MESSAGE = 64 * 1024
"""Two paths of 4095 bytes, of which JSON writes each as six, and a little more."""
MAX_LISTED = 1000
"""Entries of one page."""
LISTING_BYTES = 2 << 20
"""Of the memfd that a page comes in: names of 255 bytes, each written as six."""

Code = Literal[
    "DeleteUnfinished",
    "DiskFull",
    "Exists",
    "FileBusy",
    "FileServerBusy",
    "IOError",
    "IsADirectory",
    "NameTooLong",
    "NotADirectory",
    "NotAFile",
    "NotEmpty",
    "NotFound",
    "OtherVolume",
    "PathDenied",
    "PermissionDenied",
    "ReadOnly",
    "UploadLost",
]
"""Why something was refused; `server/file_problems.py` says it to clients."""
Kind = Literal["File", "Directory", "Symlink", "Other"]


@dataclass(frozen=True, slots=True)
class Open:
    """Open a file to be read. The answer has its descriptor."""

    number: int
    path: str


@dataclass(frozen=True, slots=True)
class List:
    """Entries behind the name `after`, by their bytes. They come in a memfd, as JSON."""

    number: int
    path: str
    after: str
    limit: int


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """With its parents; `created` says whether it was not there before."""

    number: int
    path: str


@dataclass(frozen=True, slots=True)
class Move:
    number: int
    source: str
    target: str
    overwrite: bool


@dataclass(frozen=True, slots=True)
class Delete:
    number: int
    path: str
    recursive: bool


@dataclass(frozen=True, slots=True)
class Expire:
    """Delete a file if it still is the one that `file` and `born` name; else Exists."""

    number: int
    path: str
    file: str
    born: int


@dataclass(frozen=True, slots=True)
class Create:
    """A new file without a name. The answer has its descriptor and its `upload` number."""

    number: int
    path: str
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """Give the new file its name, mode and place; `created` if nothing had the name."""

    number: int
    upload: int
    mode: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Forget a new file. Not answered."""

    upload: int


@dataclass(frozen=True, slots=True)
class Measure:
    """What all files of the sandbox take; comes as `size`."""

    number: int


Numbered = Open | List | MakeDirectory | Move | Delete | Expire | Create | Commit | Measure
Request = Numbered | Abort
_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Request)}


@dataclass(frozen=True, slots=True)
class Entry:
    """What lstat says; `file` names the inode."""

    name: str
    type: Kind
    size: int
    mode: int
    modified_ns: int
    file: str


@dataclass(frozen=True, slots=True)
class Answer:
    number: int
    error: Code | None = None
    detail: str = ""
    entry: Entry | None = None
    created: bool = False
    upload: int = 0
    born: int = 0
    """When a file was made, where the file system says so: inode numbers are used again."""
    size: int = 0
    last: str = ""
    """Of a page that is not the last one: the name that it ends with."""


def wire(path: bytes) -> str:
    return path.decode("latin-1")


def unwire(text: str) -> bytes:
    """Raises UnicodeEncodeError for what `wire` did not make."""
    return text.encode("latin-1")


def encode_request(request: Request) -> bytes:
    return json.dumps({"do": type(request).__name__, **asdict(request)}).encode()


def decode_request(data: bytes) -> Request:
    """For the file server, which trusts the runtime."""
    fields = json.loads(data)
    request: Request = _TYPES[fields.pop("do")](**fields)
    return request


def encode_answer(answer: Answer) -> bytes:
    return json.dumps(asdict(answer)).encode()
