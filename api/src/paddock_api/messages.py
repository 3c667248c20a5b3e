"""Messages between the operator (later the gateway) and the runtime in the pod, version 1.

JSON over HTTP; names are camelCase on the wire and snake_case in Python. Durations are
integers in milliseconds, sizes are bytes, times are RFC 3339 in UTC. Unknown fields are
refused: the two sides are released together, so a field that one does not know is a bug.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from pydantic.alias_generators import to_camel

ID_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
"""Of executions and contexts: a path segment in a URL."""

Text = Annotated[str, Field(json_schema_extra={"pattern": r"^[^\x00]*$"})]
"""What a program can be given. The pattern is documentation: handlers refuse a NUL with a sentence
of their own."""

NAME_PATTERN = r"(\.{0,2}[^./\x00]|\.{3})[^/\x00]*"
"""Of one name in the workspace, as the documentation says it: not empty, not `.`, not `..`."""
PATH_PATTERN = rf"^{NAME_PATTERN}(/{NAME_PATTERN})*$"

MAX_ENV = 256
"""Entries of one message: sessions have at most 64."""

RUNTIME_PORT = 8090
"""The runtime's one HTTP port in the pod."""

LONGEST_MS = 168 * 3_600_000
"""168h, the longest life of a session."""


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""What nanoseconds since 1970 hold in 64 bits, as traces count them."""


def _in_range(moment: datetime) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise ValueError("must be from 1970 to 2261")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
"""A time that every reader can convert and write: with a zone, from 1970 to 2261."""


def whole(value: object) -> object:
    """For JSON 1000.0 is a whole number, for pydantic's strict mode it is none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Milliseconds = Annotated[int, Field(gt=0, le=2**53), BeforeValidator(whole)]
"""Asked for by a client; every JSON reader can hold it exactly."""


class Message(BaseModel):
    """Base of all messages: camelCase on the wire, closed, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        defer_build=True,  # 3.5 MB less in a runtime that is never asked for contexts and files
    )

    def to_json(self) -> bytes:
        """The wire form: camelCase, absent instead of null."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class EnvVar(Message):
    """One environment variable of user code."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]
    value: Annotated[Text, Field(max_length=32768)] = ""


class InputFile(Message):
    """One text file to be written into the workspace before the first execution."""

    path: Annotated[
        str,
        Field(min_length=1, max_length=1024, json_schema_extra={"pattern": PATH_PATTERN}),
    ]
    content: str = ""


class Limits(Message):
    """What one sandbox and each of its executions may use; absent means unlimited."""

    timeout_ms: Annotated[int, Field(gt=0)] = 30_000
    """Default and ceiling of an execution's wall clock: a longer request is refused."""
    cpu_time_ms: Annotated[int | None, Field(gt=0)] = None
    output_idle_timeout_ms: Annotated[int | None, Field(gt=0)] = None
    output_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    """Kept per stream, half head and half tail; more is counted, never kept."""
    output_kill_bytes: Annotated[int | None, Field(gt=0)] = None
    file_bytes: Annotated[int | None, Field(gt=0)] = None
    """Size of one file (RLIMIT_FSIZE)."""
    concurrency: Annotated[int, Field(gt=0)] = 4
    """Executions running at once; further ones wait as Pending."""
    processes: Annotated[int, Field(gt=0)] = 128
    memory_bytes: Annotated[int, Field(gt=0)] = 512 << 20
    disk_bytes: Annotated[int, Field(gt=0)] = 1 << 30
    cpu_millis: Annotated[int, Field(gt=0)] = 500


class SandboxSettings(Message):
    """What both containers are told by environment variable PADDOCK_SETTINGS (JSON)."""

    sandbox_uid: str
    """Audience of every token; the uid of the Sandbox object."""
    languages: list[str] = ["python", "bash"]
    network_none: bool = True
    """True keeps user code to AF_UNIX sockets."""
    env: list[EnvVar] = []
    """The template's env: under the session's, which is under the execution's."""
    limits: Limits = Limits()
    preload: list[str] = []
    """Modules that the fork server imports beside the standard ones."""
    logs: bool = False
    """Output of executions also goes to the runtime container's stdout, as JSON lines."""


class Configure(Message):
    """`POST /v1/configure`: what the sandbox learns when somebody claims it.

    May be sent again. The same env and files are a repeat, which is no use of the sandbox and
    only sets deadline and idle limit anew; other env or files are refused with 409
    `AlreadyConfigured`, since programs may have seen them. After a 503 it took no effect.
    """

    session_uid: str
    env: Annotated[list[EnvVar], Field(max_length=MAX_ENV)] = []
    files: Annotated[list[InputFile], Field(max_length=1000)] = []
    keep_files: bool = False
    """True where the workspace is a volume: a file that is there already stays as it is, since
    programs of before a suspension may have changed it."""
    expires_in_ms: Milliseconds
    """Remaining life, counted by the runtime's monotonic clock from the receipt (no clock of
    another machine is trusted). At zero it cancels what runs and exits 0."""
    idle_timeout_ms: Milliseconds | None = None
    """Counted from the last use: the first configure, the end of an execution; it does not pass
    while one runs or waits. Absent: none, also if there was one before."""


class Configured(Message):
    """Answer to Configure."""

    files: int
    repeated: bool = False


class Capabilities(Message):
    """`GET /v1/capabilities`: what this node really enforces, probed at start."""

    landlock_abi: int = 0
    seccomp_filter: bool = False
    cgroup_version: int = 0
    oom_evidence: bool = False
    """The workspace's OOM counter is readable, so MemoryLimit is told from Signaled."""
    degraded: list[str] = []
    """One sentence per protection that this node does not give."""
    preloaded: list[str] = []
    """The template's modules that every execution finds imported."""
    preload_failed: list[str] = []
    """The template's modules that could not be imported: `name: why`."""


class Problem(Message):
    """RFC 9457 error body (`application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    """Stable, CamelCase: InvalidRequest, Unauthorized, NotFound, AlreadyConfigured, …"""
