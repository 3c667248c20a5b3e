"""What the two containers say to each other over the control socket. Standard library only.

One SEQPACKET message is one JSON object with a `type`, plus descriptors by SCM_RIGHTS. A message
stays far under the socket's send buffer (about 200 KB): whatever can be large (code, stdin,
environment, files) travels in a memfd beside it. All times are milliseconds, sizes bytes.
"""

import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, get_args

SOCKET_NAME = "control.sock"
PEER_NAME = "workspace-"
"""What a fork server's own end is bound to, beside the socket, with its pid. Landlock keeps user
code from making anything there, so this name tells the two apart although they are one user."""
OVER_NAME = "over"
"""A file that says that the sandbox is over: whoever finds it has nothing to wait for."""
MAX_MESSAGE = 64 * 1024
MAX_DESCRIPTORS = 8


class ProtocolError(Exception):
    """The other side said something that is not in this module."""


# From the workspace.


@dataclass(frozen=True, slots=True)
class Hello:
    """First message. `descriptors` names what comes with it: oom, usage, peak, pids."""

    descriptors: list[str] = field(default_factory=list)
    capabilities: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileServer:
    """A file server was started. Its one descriptor is the socket of `file_protocol`.

    Comes right after Hello, and again whenever the one before has died.
    """


@dataclass(frozen=True, slots=True)
class Ended:
    """The main process of an execution was reaped and nothing of it is left.

    `status` is what wait4 gave; `kill_reason` is why the workspace killed it, by its own
    watchdog or because it was told to; with `start_error` (126 or 127) no program ever ran.
    In a context `status` is made in the form of wait4 from what the interpreter says of itself,
    but with `context_died` it is wait4's of the interpreter.
    """

    id: str
    status: int
    duration_ms: int
    cpu_ms: int = 0
    peak_memory_bytes: int = 0
    oom_kills: int = 0
    kill_reason: str | None = None
    message: str | None = None
    start_error: int | None = None
    context_died: bool = False


@dataclass(frozen=True, slots=True)
class ContextReady:
    """The interpreter of that context waits for code."""

    id: str


@dataclass(frozen=True, slots=True)
class ContextEnded:
    """The interpreter of that context is gone, all that it started with it."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class FilesWritten:
    """Answer to the WriteFiles of that number; `error` is a sentence that names the file.

    `passing` says that the file has no part in it: the machine was short of something else.
    """

    number: int
    error: str | None = None
    passing: bool = False


# From the runtime.


@dataclass(frozen=True, slots=True)
class Start:
    """Run one program. Descriptors: a request memfd, stdout, stderr, in a context the results'
    pipe, and where there is one stdin.

    The request is JSON `{"language", "code", "argv", "env", "cwd"}`, `env` already merged. Its
    duration counts from `handed_over`, as its timeout does: CLOCK_MONOTONIC, which both
    containers share, in seconds.
    """

    id: str
    python: bool
    handed_over: float
    context: str | None = None
    background: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the first process group of an execution."""

    id: str
    number: int


@dataclass(frozen=True, slots=True)
class NewContext:
    """Make an interpreter that waits for code. One memfd: JSON `{"env", "cwd"}`."""

    id: str


@dataclass(frozen=True, slots=True)
class CloseContext:
    """End a context and, as Cancelled, what runs in it."""

    id: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End an execution; `reason` comes back in its Ended unless it had ended by itself."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class WriteFiles:
    """One memfd: JSON list of `{"path", "content"}`, relative to the workspace.

    With `keep` a file that is there already stays as it is.
    """

    number: int
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """The sandbox is over: kill everything and exit 0."""


FromWorkspace = Hello | FileServer | Ended | ContextReady | ContextEnded | FilesWritten
FromRuntime = Start | Kill | Signal | NewContext | CloseContext | WriteFiles | Stop
Message = FromWorkspace | FromRuntime
M = TypeVar("M", bound=Message)
_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    return json.dumps({"type": type(message).__name__, **asdict(message)}).encode()


def decode(data: bytes) -> Message:
    """Raises ProtocolError for what is not one of the messages above."""
    try:
        fields = json.loads(data)
        made: Message = _TYPES[fields.pop("type")](**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a control message: {error}") from error
    return made


def send(control: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Raises OSError, BlockingIOError among them where the socket does not block."""
    if descriptors:
        socket.send_fds(control, [encode(message)], list(descriptors))
    else:
        control.send(encode(message))


def receive(control: socket.socket, decode: Callable[[bytes], M]) -> tuple[M, list[int]] | None:
    """The next message and its descriptors, which the caller owns; None at the end.

    Raises ProtocolError, with the descriptors closed.
    """
    data, descriptors, flags, _ = socket.recv_fds(control, MAX_MESSAGE, MAX_DESCRIPTORS)
    if not data:
        return None
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ProtocolError("a control message was too large")
        return decode(data), descriptors
    except ProtocolError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
