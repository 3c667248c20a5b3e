"""What the fork server knows of a child and of the execution in it."""

import json
import os
import socket
import time
from dataclasses import dataclass, field

from ..protocol import Ended
from .processes import Usage

FLUSH_GRACE = 0.1
"""Seconds a Python program gets to print what it had buffered before it is killed."""
INTERRUPT_GRACE = 2.0
"""Seconds that code in a context gets to end by KeyboardInterrupt, after which its interpreter,
and with it what it remembers, is killed."""
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Child:
    """A forked child: standing by, running one execution, or a context."""

    pid: int
    mark: int
    channel: socket.socket
    context: str = ""
    ready: bool = False
    """Whether a context's interpreter has said that it waits for code."""
    job: "Job | None" = None
    resting: "Job | None" = None
    """What goes on in a context between two executions: threads and processes that were left."""
    orphan_cpu_ms: int = 0
    """Of its processes that were reaped here because their parents had gone."""
    orphan_written_bytes: int = 0
    """To files, by the same."""
    written_bytes: int = 0
    """By its processes when the disk limit was last kept, or somebody ended for it."""

    def failure(self) -> tuple[int, str] | None:
        """Code and sentence if no program ever ran; empties the channel."""
        try:
            said = json.loads(self.channel.recv(4096, socket.MSG_DONTWAIT))
            return int(said["code"]) & 0xFF, plain(said["message"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None  # nothing, or what code of the user's site packages wrote there


@dataclass(slots=True)
class Job:
    """One execution. Times are time.monotonic(); counters are those of when it started."""

    id: str
    child: Child
    started: float
    python: bool = False
    background: bool = False
    oom_kills: int = 0
    disk_bytes: int | None = 0
    """What the workspace's files took; None of one that rests until they have been walked."""
    before: Usage | None = field(default_factory=Usage)
    """What it is not charged with: if it rests, the least that it held since it began to, None
    until it is looked at."""
    cpu_ms: int = 0
    """Of a context: what its interpreter had used before."""
    all_cpu_ms: int = 0
    """The same of all its processes, where there is a limit."""
    kill_reason: str | None = None
    kill_message: str | None = None
    kill_at: float | None = None
    """When SIGKILL follows the request to end; None while nobody wants its end."""
    reaped: "Reaped | None" = None
    """In the background: how its first process ended, while others of it go on."""

    @classmethod
    def rest(cls, child: Child, now: float, oom_kills: int) -> "Job":
        return cls("", child, now, oom_kills=oom_kills, disk_bytes=None, before=None)

    @property
    def rests(self) -> bool:
        return self.child.resting is self

    def ended(self, now: float, reaped: "Reaped", oom_kills: int) -> Ended:
        failure = None if self.child.context else self.child.failure()
        return Ended(
            id=self.id,
            status=reaped.status,
            duration_ms=round((now - self.started) * 1000),
            cpu_ms=max(0, reaped.cpu_ms + self.child.orphan_cpu_ms - self.cpu_ms),
            peak_memory_bytes=reaped.peak_memory_bytes,
            oom_kills=max(0, oom_kills - self.oom_kills),
            kill_reason=self.kill_reason,
            message=failure[1] if failure else self.kill_message,
            start_error=failure[0] if failure else None,
            context_died=reaped.context_died,
        )


@dataclass(frozen=True, slots=True)
class Reaped:
    """What is known of a process's end and use, from wait4 or, in a context, from /proc."""

    status: int
    cpu_ms: int
    peak_memory_bytes: int
    context_died: bool = False


def plain(message: object) -> str:
    """As text that every reader can encode: JSON may hold half a character."""
    return str(message)[:1000].encode("utf-8", "replace").decode()


def cpu_ms_of(pid: int) -> int:
    """CPU time of a living process with the children it has waited for; 0 when it is gone."""
    try:
        own = time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), in nanoseconds
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        return round(own * 1000) + (int(fields[13]) + int(fields[14])) * 1000 // _TICK
    except (OSError, IndexError, ValueError):
        return 0


def peak_memory_of(pid: int) -> int:
    """Bytes that a living process held at the most; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        return 0
    return 0
