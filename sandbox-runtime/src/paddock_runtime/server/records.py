"""Executions as the registry keeps them, and as the journal writes them."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from paddock_api.messages import Execution, ExecutionRequest
from paddock_api.reasons import ExecutionState as State
from paddock_runtime.server.journal import Line
from paddock_runtime.server.output import NOTHING, Kept
from paddock_runtime.server.running import Run

ReadOutput = Callable[[list[int], int, int], bytes | None]
"""(segment and offset of a record's output, bytes to skip, bytes to read)."""


@dataclass(slots=True)
class Entry:
    """One execution. What is large is dropped when it has ended and the journal has it."""

    id: str
    digest: str
    accepted_at: datetime
    state: State = State.PENDING
    request: ExecutionRequest | None = None
    run: Run | None = None
    kill_reason: str | None = None
    """Why the runtime asked for its end; the first wish counts."""
    kill_message: str | None = None
    started_at: datetime | None = None
    number: int = 0
    """Place among the ends, from 1; 0 while it has none."""
    line: Line | None = None
    collected: bool = False
    done: asyncio.Event | None = field(default_factory=asyncio.Event)

    def unfinished(self) -> Execution:
        return Execution(
            id=self.id, state=self.state, accepted_at=self.accepted_at, started_at=self.started_at
        )


@dataclass(frozen=True, slots=True)
class End:
    """An ended execution: its facts without output text, and the raw output."""

    facts: Execution
    stdout: Kept = NOTHING
    stderr: Kept = NOTHING

    @property
    def size(self) -> int:
        """Bytes of output that it holds."""
        return sum(len(kept.head) + len(kept.tail) for kept in (self.stdout, self.stderr))

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


def digest(request: ExecutionRequest) -> str:
    """Equal for equal requests."""
    return hashlib.sha256(request.to_json()).hexdigest()[:32]


def now() -> datetime:
    return datetime.now(UTC)


def accepted_record(entry: Entry) -> dict[str, Any]:
    return {
        "type": "accepted",
        "id": entry.id,
        "digest": entry.digest,
        "at": entry.accepted_at.isoformat(),
    }


def end_record(end: End) -> tuple[dict[str, Any], bytes]:
    """The journal line and the bytes that go beside it."""
    facts = end.facts.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"stdout", "stderr"}
    )
    record: dict[str, Any] = {"type": "ended", "id": end.facts.id, "facts": facts}
    if end.stdout.total or end.stderr.total:
        record["streams"] = [
            [len(kept.head), len(kept.tail), kept.total] for kept in (end.stdout, end.stderr)
        ]
    return record, end.stdout.head + end.stdout.tail + end.stderr.head + end.stderr.tail
