"""What the file server refused, said to the client."""

from paddock_runtime.file_protocol import Code
from paddock_runtime.server.problems import ProblemError

_SAID: dict[Code, tuple[int, str]] = {
    "NotFound": (404, "there is nothing of that name"),
    "PathDenied": (
        403,
        "a symbolic link in it leads out of the workspace or nowhere; name a place inside",
    ),
    "PermissionDenied": (
        403,
        "its mode, or that of a directory around it, forbids this even to its owner; let an "
        "execution change that (chmod u+rwx)",
    ),
    "IsADirectory": (
        409,
        "it is a directory: /v1/directories lists it, DELETE with recursive=true removes it",
    ),
    "NotADirectory": (409, "it, or something on the way to it, is a file and no directory"),
    "NotAFile": (
        409,
        "it is a FIFO, a socket or a device, which is never opened or replaced; delete it or "
        "take another name",
    ),
    "Exists": (
        409,
        "something has that name already; take another one, or replace it (a move with "
        '"overwrite": true, a PUT without If-None-Match)',
    ),
    "NotEmpty": (409, "the directory in that place is not empty; delete it first"),
    "OtherVolume": (
        409,
        "the two are on different volumes, or the node cannot keep such a move inside the "
        "workspace (it says so in /v1/capabilities); read, write and delete instead",
    ),
    "ReadOnly": (409, "it is on a read-only file system"),
    "NameTooLong": (422, "a name in it is longer than its file system allows; shorten it"),
    "DiskFull": (507, "the volume is full; delete something first"),
    "FileBusy": (503, "a program holds a lease on it or keeps renaming what is around it"),
    "FileServerBusy": (503, "the workspace is short of memory or descriptors just now"),
    "DeleteUnfinished": (503, "a part of it is gone, but there is more than one request may take"),
    "UploadLost": (503, "the file server was restarted, and nothing was written"),
    "IOError": (500, "the file system failed"),
}
_AGAIN = "; the request may be repeated"
SHOWN_CHARACTERS = 80


def refused(code: Code, field: str, path: bytes, detail: str = "") -> ProblemError:
    status, sentence = _SAID[code]
    if status == 503:
        return unavailable(code, f"{field}: {shown(path)}: {sentence}")
    more = f" ({detail[:SHOWN_CHARACTERS]})" if detail else ""
    return ProblemError(status, code, f"{field}: {shown(path)}: {sentence}{more}")


def unavailable(code: str, sentence: str) -> ProblemError:
    """For what passes: 503, to be tried again."""
    return ProblemError(503, code, sentence + _AGAIN, Retry_After="1")


def shown(path: bytes) -> str:
    """A path in a sentence: one line, whatever it is made of, and not too long."""
    text = path.decode("utf-8", errors="replace")
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "...")
