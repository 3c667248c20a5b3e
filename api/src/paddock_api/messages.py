"""Messages between the operator (later the gateway) and the runtime in the pod, version 1.

JSON over HTTP; names are camelCase on the wire and snake_case in Python. Durations are
integers in milliseconds, sizes are bytes, times are RFC 3339 in UTC. Unknown fields are
refused: the two sides are released together, so a field that one does not know is a bug.
"""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.alias_generators import to_camel

from paddock_api.reasons import ExecutionReason, ExecutionState

EXECUTION_ID_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
"""An execution id is a file name in the journal and a path segment in a URL."""

RUNTIME_PORT = 8090
"""The runtime's one HTTP port in the pod."""


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""What nanoseconds since 1970 hold in 64 bits, as traces count them."""


def _in_range(moment: datetime) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise ValueError("must be from 1970 to 2261")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
"""A time that every reader can convert and write: with a zone, from 1970 to 2261."""


class Message(BaseModel):
    """Base of all messages: camelCase on the wire, closed, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    def to_json(self) -> bytes:
        """The wire form: camelCase, absent instead of null."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class EnvVar(Message):
    """One environment variable of user code."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]
    value: Annotated[str, Field(max_length=32768)] = ""


class InputFile(Message):
    """One text file to be written into the workspace before the first execution."""

    path: Annotated[str, Field(min_length=1, max_length=1024)]
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


class Configure(Message):
    """`POST /v1/configure`: what the sandbox learns when somebody claims it.

    May be sent again. The same env and files are a repeat, which is no use of the sandbox and
    only sets deadline and idle limit anew; other env or files are refused with 409
    `AlreadyConfigured`, since programs may have seen them. After a 503 it took no effect.
    """

    session_uid: str
    env: list[EnvVar] = []
    files: list[InputFile] = []
    keep_files: bool = False
    """True where the workspace is a volume: a file that is there already stays as it is, since
    programs of before a suspension may have changed it."""
    expires_in_ms: Annotated[int, Field(gt=0)]
    """Remaining life, counted by the runtime's monotonic clock from the receipt (no clock of
    another machine is trusted). At zero it cancels what runs and exits 0."""
    idle_timeout_ms: Annotated[int | None, Field(gt=0)] = None
    """Counted from the last use: the first configure, the end of an execution; it does not pass
    while one runs or waits. Absent: none, also if there was one before."""


class Configured(Message):
    """Answer to Configure."""

    files: int
    repeated: bool = False


class ExecutionRequest(Message):
    """`POST /v1/executions`: exactly one of `argv` or `language` with `code`."""

    id: Annotated[str, Field(pattern=EXECUTION_ID_PATTERN)]
    """Accepted once. The same id with the same request answers the execution's state (200
    instead of 201); with another request 409 `ExecutionIdReused`."""
    language: str | None = None
    code: str | None = None
    argv: Annotated[list[str] | None, Field(min_length=1)] = None
    stdin: str = ""
    env: list[EnvVar] = []
    timeout_ms: Annotated[int | None, Field(gt=0)] = None
    """Absent: the template's. Above it: 422 `TimeoutAboveCeiling`, never clamped."""

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        if (self.argv is None) == (self.language is None):
            raise ValueError("set either argv or language with code, not both and not neither")
        if (self.language is None) != (self.code is None):
            raise ValueError("language and code belong together")
        return self


class Output(Message):
    """One stream's kept text. `head + tail` is everything if and only if `omitted` is 0.

    Bytes are decoded as UTF-8 with replacement; `bytes` and `omitted` count raw bytes.
    """

    head: str = ""
    tail: str = ""
    bytes: int = 0
    omitted: int = 0


class Execution(Message):
    """One execution as the journal knows it; `reason` is set if and only if it is Finished."""

    id: str
    state: ExecutionState
    reason: ExecutionReason | None = None
    exit_code: int | None = None
    """With reason Exited the program's own, with StartFailed 126 or 127."""
    signal: str | None = None
    """SIGKILL, SIGSEGV, … with reason Signaled."""
    message: str | None = None
    """A sentence for people where the reason alone does not say it (StartFailed, limits)."""
    duration_ms: int | None = None
    """From the hand-over to the workspace, as the timeout counts: a WallTimeout's is not less."""
    cpu_ms: int | None = None
    peak_memory_bytes: int | None = None
    oom_kills: int = 0
    """Processes of the workspace that the kernel's OOM killer took while it ran."""
    stdout: Output = Output()
    stderr: Output = Output()
    truncated: bool = False
    accepted_at: Moment
    started_at: Moment | None = None
    finished_at: Moment | None = None


class JournalPage(Message):
    """`GET /v1/journal?after=N`: ends in order, `next` to be asked for next."""

    executions: list[Execution] = []
    next: int


class Capabilities(Message):
    """`GET /v1/capabilities`: what this node really enforces, probed at start."""

    landlock_abi: int = 0
    seccomp_filter: bool = False
    cgroup_version: int = 0
    oom_evidence: bool = False
    """The workspace's OOM counter is readable, so MemoryLimit is told from Signaled."""
    degraded: list[str] = []
    """One sentence per protection that this node does not give."""


class Problem(Message):
    """RFC 9457 error body (`application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    """Stable, CamelCase: InvalidRequest, Unauthorized, NotFound, AlreadyConfigured, …"""


class TerminationMessage(Message):
    """What the runtime leaves in its container's termination message when it ends.

    At most 4096 bytes (the kubelet's limit); output is never part of it.
    """

    reason: str
    """DeadlineExceeded, Idle or Terminated."""
    executions: list[Execution] = []
    """Ends that nobody had collected, oldest first, without output."""
    dropped: int = 0
