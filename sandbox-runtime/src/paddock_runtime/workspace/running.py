"""What the fork server knows of one child: standing by, then running an execution."""

import json
import socket
from dataclasses import dataclass

from ..protocol import Ended

FLUSH_GRACE = 0.1
"""Seconds a Python program gets to print what it had buffered before it is killed."""


@dataclass(slots=True)
class Child:
    """A forked child; `id` is empty while it stands by. Times are time.monotonic()."""

    pid: int
    mark: int
    channel: socket.socket
    id: str = ""
    python: bool = False
    started: float = 0.0
    oom_kills: int = 0
    """The counter's value when it started."""
    disk_bytes: int = 0
    """What the workspace's files took when it started."""
    kill_reason: str | None = None
    kill_message: str | None = None
    kill_at: float | None = None
    """When SIGKILL follows the request to flush; None while nobody wants its end."""
    orphan_cpu_ms: int = 0
    """Of its processes that were reaped here because their parents had gone."""

    def failure(self) -> tuple[int, str] | None:
        """Code and sentence if no program ever ran; empties the channel."""
        try:
            data = self.channel.recv(4096, socket.MSG_DONTWAIT)
            said = json.loads(data) if data else None
            return None if said is None else (int(said["code"]), str(said["message"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def ended(
        self, now: float, status: int, cpu_seconds: float, max_rss_kib: int, oom_kills: int
    ) -> Ended:
        failure = self.failure()
        self.channel.close()
        return Ended(
            id=self.id,
            status=status,
            duration_ms=round((now - self.started) * 1000),
            cpu_ms=round(cpu_seconds * 1000) + self.orphan_cpu_ms,
            peak_memory_bytes=max_rss_kib * 1024,
            oom_kills=max(0, oom_kills - self.oom_kills),
            kill_reason=self.kill_reason,
            message=failure[1] if failure else self.kill_message,
            start_error=failure[0] if failure else None,
        )
