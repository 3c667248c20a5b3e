"""Executions on the wire: what is asked for, how it ended, the events while it runs."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from paddock_api.messages import (
    ID_PATTERN,
    LONGEST_MS,
    MAX_ENV,
    EnvVar,
    Message,
    Moment,
    Text,
    whole,
)
from paddock_api.reasons import ExecutionReason, ExecutionState


class OnDisconnect(StrEnum):
    """What becomes of an execution when the client that waits for it or follows it is gone."""

    CONTINUE = "Continue"
    """It goes on; its end can be asked for by its id."""
    CANCEL = "Cancel"
    """It is cancelled 5 s after the last client has gone, unless one comes back meanwhile. A
    wait that passed is an answer, not a client that has gone."""


MAX_TEXT_BYTES = 1 << 20
"""Of code and of stdin, in UTF-8. More is data, and data are files."""


_NULL: dict[str, JsonValue] = {"type": "null"}
_FORMS: list[JsonValue] = [
    {
        "title": "A program",
        "required": ["argv"],
        "properties": {
            "argv": {"type": "array"},
            "code": _NULL,
            "context": _NULL,
            "language": _NULL,
        },
    },
    {
        "title": "Code",
        "required": ["language", "code"],
        "properties": {
            "argv": _NULL,
            "code": {"type": "string"},
            "context": _NULL,
            "language": {"type": "string"},
        },
    },
    {
        "title": "Code in a context",
        "required": ["language", "code", "context"],
        "properties": {
            "argv": _NULL,
            "background": {"const": False},
            "code": {"type": "string"},
            "context": {"type": "string"},
            "cwd": _NULL,
            "env": {"maxItems": 0},
            "language": {"type": "string"},
            "stdinOpen": {"const": False},
        },
    },
]
"""For the documentation: what the validator of ExecutionRequest checks."""


class ExecutionRequest(Message):
    """`POST /v1/executions`: exactly one of `argv` or `language` with `code`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _FORMS})

    id: Annotated[str, Field(pattern=ID_PATTERN, examples=["run-1"])]
    """Accepted once. The same id with the same request answers the execution's state (200
    instead of 201); with another request 409 `ExecutionIdReused`."""
    language: Annotated[str | None, Field(examples=["python"])] = None
    """One that the template offers; of a context its own."""
    code: Annotated[Text | None, Field(examples=["print(1 + 1)"])] = None
    """At most 1 MiB of UTF-8 without NUL."""
    argv: Annotated[list[Text] | None, Field(min_length=1)] = None
    """A program, looked up in PATH, and its arguments. No shell is between."""
    context: Annotated[str | None, Field(pattern=ID_PATTERN, examples=["notebook"])] = None
    """The context that runs `code`; executions of one context run one after another."""
    stdin: str = ""
    """At most 1 MiB. The program then reads the end of the file, unless `stdinOpen`."""
    stdin_open: bool = False
    """More comes by `POST /v1/executions/{id}/stdin` until that closes it. Not in a context."""
    env: Annotated[list[EnvVar], Field(max_length=MAX_ENV)] = []
    """Over the session's. Not in a context, which has its own."""
    cwd: Annotated[Text | None, Field(min_length=1, max_length=4096, examples=["data"])] = None
    """Working directory, relative to the workspace or absolute; unset: the workspace. Where it
    is not a directory the execution ends StartFailed. Not in a context, which has its own."""
    timeout_ms: Annotated[int, Field(gt=0, le=LONGEST_MS), BeforeValidator(whole)] | None = None
    """Absent: the template's, none for `background`. Above the template's: 422
    `TimeoutAboveCeiling`, never clamped; `background` has no ceiling but the session's life."""
    background: bool = False
    """A service: it runs until the last of its processes has ended, not only the first. It has
    no wall clock of its own and takes one of the places of `concurrency`, of which at least one
    is kept for others: 409 `TooManyInBackground`. Not in a context."""
    on_disconnect: OnDisconnect = OnDisconnect.CONTINUE

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        if (self.argv is None) == (self.language is None):
            raise ValueError("set either argv or language with code, not both and not neither")
        if (self.language is None) != (self.code is None):
            raise ValueError("language and code belong together")
        if self.context is not None:
            if self.argv is not None:
                raise ValueError("a context runs language and code, not argv")
            taken = [name for name in _NOT_IN_CONTEXT if getattr(self, name)]
            if taken:
                raise ValueError(f"{to_camel(taken[0])} cannot be set together with context")
        return self


_NOT_IN_CONTEXT = ("env", "cwd", "stdin_open", "background")


class OutputEncoding(StrEnum):
    """How bytes travel in JSON."""

    UTF8 = "utf-8"
    """As text; what is not UTF-8 becomes U+FFFD."""
    BASE64 = "base64"
    """As they are."""


class Output(Message):
    """One stream's kept output. `head + tail` is everything if and only if `omitted` is 0.

    With encoding utf-8, the default, bytes are decoded with replacement; with base64 `head` and
    `tail` are each a whole base64 text. `bytes` and `omitted` count raw bytes always.
    """

    head: str = ""
    tail: str = ""
    bytes: int = 0
    omitted: int = 0
    encoding: OutputEncoding = OutputEncoding.UTF8


class Result(Message):
    """Something that code in a context showed: the value of its last expression or a display."""

    kind: Literal["result", "display"]
    data: dict[str, str] = {}
    """By MIME type; text as it is, anything else (image/png, application/pdf) in base64."""
    omitted: dict[str, int] = {}
    """Forms that were too large to be kept, with their bytes."""


class ExecutionError(Message):
    """The exception that ended code in a context; outside of one it is text on stderr only."""

    name: str
    """The exception's class, such as ZeroDivisionError."""
    value: str = ""
    traceback: list[str] = []
    """Lines as Python prints them, which are on stderr as well."""


class Execution(Message):
    """One execution as the journal knows it; `reason` is set if and only if it is Finished."""

    id: str
    state: ExecutionState
    context: str | None = None
    background: bool = False
    reason: ExecutionReason | None = None
    exit_code: int | None = None
    """With reason Exited the program's own, with StartFailed 126 or 127; in a context 0, or 1
    after an uncaught exception, or what sys.exit was given."""
    signal: str | None = None
    """SIGKILL, SIGSEGV, … with reason Signaled, and with ContextDied if one ended it."""
    message: str | None = None
    """A sentence for people where the reason alone does not say it (StartFailed, limits)."""
    duration_ms: int | None = None
    """From the hand-over to the workspace, as the timeout counts: a WallTimeout's is not less."""
    cpu_ms: int | None = None
    peak_memory_bytes: int | None = None
    """Of the largest process; in a context the most since the context was made."""
    oom_kills: int = 0
    """Processes of the workspace that the kernel's OOM killer took while it ran."""
    stdout: Output = Output()
    stderr: Output = Output()
    truncated: bool = False
    """Whether output is missing: from this answer, or from what is kept where the answer shows
    none on purpose (lists, events, `maxOutput=0`)."""
    results: list[Result] = []
    """In a context only: what was displayed, in order, then the last expression's value."""
    results_omitted: int = 0
    """Bytes of results that were not kept: a context's execution may show 1 MiB."""
    error: ExecutionError | None = None
    accepted_at: Moment
    started_at: Moment | None = None
    finished_at: Moment | None = None


class ExecutionPage(Message):
    """`GET /v1/executions`: in the order of acceptance, without output."""

    executions: list[Execution] = []
    next: int | None = None
    """To be given as `after`; absent on the last page."""


class JournalPage(Message):
    """`GET /v1/journal?after=N`: ends in order, `next` to be asked for next."""

    executions: list[Execution] = []
    next: int


class StartedEvent(Message):
    """Data of the event `started`: the execution as it is now."""

    seq: int = 0
    execution: Execution


class OutputEvent(Message):
    """Data of the events `stdout` and `stderr`.

    `offset` is where `text` begins in its stream, in raw bytes; `seq` grows with every event of
    this execution, and is the same for the same bytes however often they are asked for.
    """

    seq: int
    offset: int
    text: str
    encoding: OutputEncoding = OutputEncoding.UTF8
    omitted: int = 0
    """Bytes before `offset` that were not kept: the client was slower than the program, or came
    too late."""


class ExitedEvent(Message):
    """Data of the event `exited`, the last one: the execution without the text of its output."""

    seq: int
    execution: Execution


class StdinWritten(Message):
    """Answer to `POST /v1/executions/{id}/stdin`."""

    accepted: int
    """Bytes of the body, all of them."""
    closed: bool = False


class SignalRequest(Message):
    """`POST /v1/executions/{id}/signal`: to all of the program's first process group.

    One that ends it is told as Signaled: it was the client's wish how, so cancel it (DELETE)
    to get Cancelled.
    """

    signal: Literal[
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGSTOP",
        "SIGCONT", "SIGWINCH",
    ]  # fmt: skip


class TerminationMessage(Message):
    """What the runtime leaves in its container's termination message when it ends.

    At most 4096 bytes (the kubelet's limit); output is never part of it.
    """

    reason: str
    """DeadlineExceeded, Idle or Terminated."""
    executions: list[Execution] = []
    """Ends that nobody had collected, oldest first, without output."""
    dropped: int = 0
