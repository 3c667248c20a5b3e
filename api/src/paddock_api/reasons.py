"""The closed vocabularies: how an execution ended, where a step stands, what a condition says.

Every word that Paddock writes into a status, a metric label or a message comes from here,
so a client can switch over them and documentation can list them whole.
"""

from enum import StrEnum


class ExecutionReason(StrEnum):
    """Why an execution ended; exactly one per execution, always from evidence."""

    EXITED = "Exited"
    """The program called exit; `exitCode` is its own."""
    SIGNALED = "Signaled"
    """A signal that Paddock did not send ended it; `signal` names it."""
    WALL_TIMEOUT = "WallTimeout"
    """It ran longer than its timeout and was killed."""
    OUTPUT_IDLE_TIMEOUT = "OutputIdleTimeout"
    """It wrote nothing for longer than the template's `outputIdleTimeout`."""
    CPU_LIMIT = "CpuLimit"
    """It used more CPU time than the template's `cpuTime`."""
    MEMORY_LIMIT = "MemoryLimit"
    """It was ended because the workspace stood at its memory limit."""
    OUTPUT_LIMIT = "OutputLimit"
    """It wrote more than the template's `outputKillBytes`."""
    DISK_LIMIT = "DiskLimit"
    """It was ended because the workspace's files stood at the disk limit."""
    PROCESS_LIMIT = "ProcessLimit"
    """It was ended because its processes stood at the process limit."""
    CANCELLED = "Cancelled"
    """A client or the end of the session asked for its end."""
    CONTEXT_DIED = "ContextDied"
    """The stateful interpreter that it ran in is gone."""
    WORKSPACE_LOST = "WorkspaceLost"
    """The workspace container died under it."""
    SANDBOX_LOST = "SandboxLost"
    """The pod is gone and with it what it could have said."""
    RUNTIME_RESTARTED = "RuntimeRestarted"
    """The runtime restarted while it ran and can no longer tell how it ended."""
    START_FAILED = "StartFailed"
    """It never ran: exec failed (126, 127) or the workspace could not fork."""


class ExecutionState(StrEnum):
    """Where an execution or a step stands. Executions are never Skipped."""

    PENDING = "Pending"
    RUNNING = "Running"
    FINISHED = "Finished"
    SKIPPED = "Skipped"


class ContextState(StrEnum):
    """Where a context stands."""

    STARTING = "Starting"
    IDLE = "Idle"
    BUSY = "Busy"
    DEAD = "Dead"
    """Its interpreter has ended; restart or delete it."""
