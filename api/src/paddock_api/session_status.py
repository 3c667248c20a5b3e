"""AgentSession's status: what became of a session, for people and for programs."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from paddock_api.base import Count, Resource, Time
from paddock_api.conditions import Condition
from paddock_api.durations import format_duration
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_api.rules import MaxBytes, list_map
from paddock_api.sandbox import Launch

TAIL_BYTES = 2048
MAX_STATUS_BYTES = 48 * 1024


class SessionPhase(StrEnum):
    """The conditions in one word, for people; programs read the conditions."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    EXPIRED = "Expired"


def _duration_of(data: dict[str, Any]) -> str | None:
    ms = data.get("duration_ms")
    return None if ms is None else format_duration(ms)


class SessionSandbox(Resource):
    """The sandbox that serves the session."""

    name: Annotated[str, Field(min_length=1, max_length=63, examples=["hello-x7k2p"])]
    """Name of the Sandbox, in the same namespace."""
    uid: Annotated[
        str | None,
        Field(min_length=1, max_length=64, examples=["5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11"]),
    ] = None
    """Its uid: a later object of the same name is another sandbox."""
    launch: Annotated[Launch | None, Field(examples=["Warm"])] = None
    """Warm: it waited in a pool. Cold: it was made for this session."""


class SessionResult(Resource):
    """How the session's steps ended, in one line: the first failed step, else the last."""

    step: Annotated[str | None, Field(max_length=63, examples=["greet"])] = None
    """The step that this is about."""
    reason: Annotated[ExecutionReason | None, Field(examples=["Exited"])] = None
    """Why its execution ended."""
    exit_code: Annotated[int | None, Field(ge=-(2**31), le=2**31 - 1, examples=[0])] = None
    """Its exit code, with reason Exited or StartFailed."""
    signal: Annotated[str | None, Field(max_length=32, examples=["SIGSEGV"])] = None
    """The signal that ended it, with reason Signaled."""
    duration_ms: Annotated[Count | None, Field(examples=[12])] = None
    """How long it ran, in milliseconds of a monotonic clock."""
    duration: Annotated[str | None, Field(max_length=32, examples=["12ms"])] = Field(
        default_factory=_duration_of
    )
    """`durationMs` as people read it."""
    steps_done: Annotated[
        str | None, Field(max_length=8, pattern=r"^[0-9]+/[0-9]+$", examples=["1/1"])
    ] = None
    """Steps that ran, of all steps."""


class StepStatus(Resource):
    """What became of one step."""

    name: Annotated[str, Field(min_length=1, max_length=63, examples=["greet"])]
    """The step's name."""
    execution_id: Annotated[
        str | None,
        Field(max_length=128, examples=["5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11.greet"]),
    ] = None
    """Under which the runtime accepted it, once."""
    state: Annotated[ExecutionState, Field(examples=["Finished"])]
    """Pending, Running, Finished or Skipped."""
    reason: Annotated[ExecutionReason | None, Field(examples=["Exited"])] = None
    """Why it ended; with `exitCode` 0, Exited is the only success."""
    exit_code: Annotated[int | None, Field(ge=-(2**31), le=2**31 - 1, examples=[0])] = None
    """With reason Exited the program's own; with StartFailed 126 or 127."""
    signal: Annotated[str | None, Field(max_length=32, examples=["SIGSEGV"])] = None
    """The signal that ended it, with reason Signaled."""
    message: Annotated[
        str | None, MaxBytes(512), Field(examples=["exec: nosuch: not found in PATH"])
    ] = None
    """A sentence where the reason alone does not say it, at most 512 bytes."""
    duration_ms: Annotated[Count | None, Field(examples=[12])] = None
    """Milliseconds from start to end, by a monotonic clock."""
    cpu_ms: Annotated[Count | None, Field(examples=[9])] = None
    """Milliseconds of CPU that it and its processes used."""
    peak_memory_bytes: Annotated[Count | None, Field(examples=[9338880])] = None
    """The most memory that one of its processes had resident, in bytes."""
    stdout_bytes: Annotated[Count | None, Field(examples=[6])] = None
    """Bytes that it wrote to standard output, kept or not."""
    stderr_bytes: Annotated[Count | None, Field(examples=[0])] = None
    """Bytes that it wrote to standard error, kept or not."""
    truncated: Annotated[bool | None, Field(examples=[False])] = None
    """True if the runtime kept less than it wrote."""
    stdout_tail: Annotated[str | None, MaxBytes(TAIL_BYTES), Field(examples=["hello\n"])] = None
    """The end of its standard output, at most 2048 bytes, cut on a character."""
    stderr_tail: Annotated[str | None, MaxBytes(TAIL_BYTES), Field(examples=["boom\n"])] = None
    """The end of its standard error, at most 2048 bytes, cut on a character."""
    started_at: Annotated[Time | None, Field(examples=["2026-08-01T09:30:01.300Z"])] = None
    """When its process started."""
    finished_at: Annotated[Time | None, Field(examples=["2026-08-01T09:30:01.312Z"])] = None
    """When its process ended."""


class ExecutionCounts(Resource):
    """Executions in this session, whoever asked for them."""

    total: Annotated[Count, Field(examples=[1])] = 0
    """All that ended."""
    failed: Annotated[Count, Field(examples=[0])] = 0
    """Those that did not end with Exited and 0."""


class AgentSessionStatus(Resource):
    """What became of the session; written by the operator alone."""

    observed_generation: Annotated[int | None, Field(ge=-1, le=2**53, examples=[1])] = None
    """The `metadata.generation` that this status is about; -1 before the first look."""
    phase: Annotated[SessionPhase | None, Field(examples=["Succeeded"])] = None
    """The conditions in one word, for people: Pending, Starting, Ready, Running, Suspended,
    Succeeded, Failed or Expired."""
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, json_schema_extra=list_map("type")
    )
    """Ready, Reconciling, Stalled, SandboxReady, Suspended, Finished, Complete, Failed; each
    type once. Wait for Finished."""
    sandbox: SessionSandbox | None = None
    """The sandbox that serves the session."""
    sandboxes_lost: Annotated[int | None, Field(ge=0, le=1000, examples=[1])] = None
    """Sandboxes that went (evicted, preempted, node lost, deleted) before anything had run in
    them, and were replaced."""
    started_at: Annotated[Time | None, Field(examples=["2026-08-01T09:30:00.100Z"])] = None
    """When the operator asked for its sandbox."""
    ready_at: Annotated[Time | None, Field(examples=["2026-08-01T09:30:01.250Z"])] = None
    """When the sandbox first answered."""
    expires_at: Annotated[Time | None, Field(examples=["2026-08-01T10:30:00Z"])] = None
    """When its maxDuration is over."""
    finished_at: Annotated[Time | None, Field(examples=["2026-08-01T09:30:01.400Z"])] = None
    """When it ended, well or not."""
    result: SessionResult | None = None
    """How its steps ended, in one line: the first failed step, else the last."""
    steps: list[StepStatus] = Field(
        default_factory=list, max_length=32, json_schema_extra=list_map("name")
    )
    """What became of each step, in their order."""
    executions: ExecutionCounts | None = None
    """How many executions there were, whoever asked for them; refreshed at most once a
    minute."""
