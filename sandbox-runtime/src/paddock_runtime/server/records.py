"""Executions as the registry keeps them, and as the journal writes them."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from paddock_api.executions import Execution, ExecutionRequest, OnDisconnect
from paddock_api.reasons import ExecutionState as State
from paddock_runtime.server.journal import Line
from paddock_runtime.server.output import NOTHING, Kept
from paddock_runtime.server.running import Run

ReadOutput = Callable[[list[int], int, int], bytes | None]
"""(segment and offset of a record's output, bytes to skip, bytes to read)."""


@dataclass(slots=True, eq=False)
class Entry:
    """One execution. What only a living one needs is dropped at its end: they may be many."""

    id: str
    digest: str
    accepted_at: datetime
    size: int = 0
    """Bytes of its request."""
    context: str | None = None
    background: bool = False
    on_disconnect: OnDisconnect = OnDisconnect.CONTINUE
    state: State = State.PENDING
    request: ExecutionRequest | None = None
    run: Run | None = None
    kill_reason: str | None = None
    """Why the runtime asked for its end; the first wish counts."""
    kill_message: str | None = None
    client_killed: bool = False
    """A client has sent it SIGKILL."""
    started_at: datetime | None = None
    line: Line | None = None
    collected: bool = False
    done: asyncio.Event | None = field(default_factory=asyncio.Event)
    changes: set[asyncio.Event] | None = None
    """Of those who follow it: set when it starts, prints and ends."""
    attending: int = 0
    """Clients that wait for it or follow it now."""
    abandoned: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, request: ExecutionRequest, body: bytes) -> "Entry":
        """A new one; `body` is the request's JSON."""
        return cls(
            request.id,
            digest(body),
            now(),
            len(body),
            context=request.context,
            background=request.background,
            on_disconnect=request.on_disconnect,
            request=request,
        )

    def changed(self) -> None:
        for event in self.changes or ():
            event.set()

    def finish(self) -> None:
        """It has ended: wake who waits."""
        self.state = State.FINISHED
        self.request = self.run = self.kill_reason = self.kill_message = self.started_at = None
        if self.abandoned is not None:
            self.abandoned.cancel()
            self.abandoned = None
        if self.done is not None:
            self.done.set()
            self.done = None
        self.changed()

    def unfinished(self) -> Execution:
        return Execution(
            id=self.id,
            state=self.state,
            context=self.context,
            background=self.background,
            accepted_at=self.accepted_at,
            started_at=self.started_at,
        )


@dataclass(frozen=True, slots=True)
class End:
    """An ended execution: its facts without output text, and the raw output."""

    facts: Execution
    stdout: Kept = NOTHING
    stderr: Kept = NOTHING
    results: Kept = NOTHING
    """JSON lines of what a context showed."""

    @property
    def streams(self) -> tuple[Kept, Kept, Kept]:
        return self.stdout, self.stderr, self.results

    @property
    def size(self) -> int:
        """Bytes of output that it holds."""
        return sum(len(kept.head) + len(kept.tail) for kept in self.streams)

    def without_output(self) -> "End":
        """What it printed counts as omitted."""
        kept = [Kept(total=stream.total) for stream in self.streams]
        truncated = any(stream.total for stream in kept)
        return End(self.facts.model_copy(update={"truncated": truncated}), *kept)

    @classmethod
    def from_record(cls, record: dict[str, Any], read: ReadOutput) -> "End":
        """Read back. Output whose segment is gone counts as omitted."""
        facts = Execution.model_validate(record["facts"])
        kept = []
        skip = 0
        for head, tail, total in record.get("streams", []):
            data = read(record["at"], skip, head + tail) if head + tail else b""
            skip += head + tail
            data = data if data is not None and len(data) == head + tail else b""
            kept.append(Kept(data[:head], data[head:], total))
        return cls(facts, *kept)


def digest(request: bytes) -> str:
    """Equal for equal requests, given as JSON."""
    return hashlib.sha256(request).hexdigest()[:32]


def now() -> datetime:
    return datetime.now(UTC)


def accepted_record(entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = {
        "type": "accepted",
        "id": entry.id,
        "digest": entry.digest,
        "at": entry.accepted_at.isoformat(),
    }
    if entry.context is not None:
        record["context"] = entry.context
    if entry.background:
        record["background"] = True
    return record


def from_accepted_record(record: dict[str, Any]) -> Entry:
    return Entry(
        record["id"],
        record["digest"],
        datetime.fromisoformat(record["at"]),
        context=record.get("context"),
        background=record.get("background", False),
    )


def end_record(end: End, last_use: float) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """The journal line and the bytes that go beside it. `last_use` is a monotonic time."""
    facts = end.facts.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"stdout", "stderr", "results"}
    )
    record: dict[str, Any] = {"type": "ended", "id": end.facts.id, "lastUse": last_use}
    record["facts"] = facts
    if any(kept.total for kept in end.streams):
        record["streams"] = [[len(kept.head), len(kept.tail), kept.total] for kept in end.streams]
    return record, tuple(part for kept in end.streams for part in (kept.head, kept.tail))
