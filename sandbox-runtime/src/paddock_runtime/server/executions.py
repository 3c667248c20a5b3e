"""The registry: accepts each id once, remembers every end, answers from memory or journal."""

import asyncio
from collections import OrderedDict
from datetime import datetime
from typing import Any

from paddock_api.messages import Execution, ExecutionRequest
from paddock_api.reasons import ExecutionReason as Reason
from paddock_api.reasons import ExecutionState as State
from paddock_runtime.server import logs
from paddock_runtime.server.dispatcher import Dispatcher
from paddock_runtime.server.journal import Journal, Line
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.output import render
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.records import End, Entry, accepted_record, digest, end_record, now

PENDING_LIMIT = 256
RECENT_BYTES = 4 << 20
"""Output of just ended executions that is answered from memory."""


class Executions:
    """All executions of this sandbox by id. Set `dispatcher` before accepting any."""

    dispatcher: Dispatcher

    def __init__(self, journal: Journal, metrics: Metrics) -> None:
        self._journal = journal
        self._metrics = metrics
        self._entries: dict[str, Entry] = {}
        self._ends: list[Entry] = []
        self._recent: OrderedDict[str, End] = OrderedDict()
        self._recent_bytes = 0
        self._unwritten: dict[str, End] = {}
        """Ends that the disk refused; answered from memory for as long as this process lives."""

    async def accept(self, request: ExecutionRequest) -> tuple[Entry, bool]:
        """The execution and whether it is new. Durable when this returns.

        Raises ProblemError: 409 ExecutionIdReused, 429 TooManyPending, 503 JournalUnavailable.
        """
        known = self.known(request)
        if known is not None:
            return known, False
        if self.dispatcher.pending >= PENDING_LIMIT:
            raise ProblemError(
                429,
                "TooManyPending",
                f"{PENDING_LIMIT} executions are waiting already; send it again later",
                Retry_After="1",
            )
        entry = Entry(request.id, digest(request), now(), request=request)
        self._entries[entry.id] = entry
        try:
            self._journal.write(accepted_record(entry))
            await self._journal.sync()
        except OSError as error:
            del self._entries[entry.id]
            raise ProblemError(
                503, "JournalUnavailable", f"it was not accepted, nothing ran: {error.strerror}"
            ) from error
        self.dispatcher.submit(entry)
        return entry, True

    def known(self, request: ExecutionRequest) -> Entry | None:
        """The execution of that id, if there is one. Raises 409 if it was another request."""
        entry = self._entries.get(request.id)
        if entry is not None and entry.digest != digest(request):
            raise ProblemError(
                409,
                "ExecutionIdReused",
                f"id: {request.id!r} was used for another request; use a new id",
            )
        return entry

    def get(self, identity: str) -> Entry:
        """Raises 404."""
        entry = self._entries.get(identity)
        if entry is None:
            raise ProblemError(
                404, "NotFound", f"id: no execution {identity[:128]!r} was accepted here"
            )
        return entry

    async def wait(self, entry: Entry, seconds: float) -> None:
        """Until it has ended, or `seconds` have passed."""
        if entry.done is None or seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await entry.done.wait()
        except TimeoutError:
            return

    def view(self, entry: Entry, max_output: int | None = None) -> Execution:
        """What the wire says about it now."""
        end = self._end(entry)
        if end is None:
            return entry.unfinished()
        stdout, stderr = render(end.stdout, max_output), render(end.stderr, max_output)
        return end.facts.model_copy(
            update={
                "stdout": stdout,
                "stderr": stderr,
                "truncated": bool(stdout.omitted or stderr.omitted),
            }
        )

    def collected(self, entry: Entry) -> None:
        """Its end was given to somebody."""
        if entry.state is State.FINISHED and not entry.collected:
            entry.collected = True
            self._note({"type": "collected", "id": entry.id})

    def ends_after(self, number: int, limit: int) -> list[Entry]:
        return self._ends[number : number + limit]

    def all_ends(self) -> list[Entry]:
        return self._ends

    def ended(self, entry: Entry, end: End) -> None:
        """Told by the dispatcher: into the journal, then wake who waits."""
        record, output = end_record(end)
        try:
            entry.line = self._journal.write(record, output)
            self._journal.sync()
        except OSError as error:
            logs.error("journal.failed", execution=entry.id, error=str(error))
            self._unwritten[entry.id] = end
        else:
            self._remember(end)
        self._count(end)
        self._finish(entry)

    def restore(self, record: dict[str, Any], line: Line) -> None:
        """Take over a record of an earlier runtime; `end_unfinished` after the last."""
        entry = self._entries.get(record.get("id", ""))
        match record["type"]:
            case "accepted":
                accepted_at = datetime.fromisoformat(record["at"])
                self._entries[record["id"]] = Entry(record["id"], record["digest"], accepted_at)
            case "ended" if entry is not None and entry.done is not None:
                entry.line = line
                self._finish(entry)
            case "collected" if entry is not None:
                entry.collected = True

    def end_unfinished(self) -> None:
        """Nobody can say any more how these ended."""
        for entry in [entry for entry in self._entries.values() if entry.done is not None]:
            facts = Execution(
                id=entry.id,
                state=State.FINISHED,
                reason=Reason.RUNTIME_RESTARTED,
                message="the runtime's container restarted while it was waiting or running",
                accepted_at=entry.accepted_at,
                finished_at=now(),
            )
            self.ended(entry, End(facts))

    def _note(self, record: dict[str, Any]) -> None:
        """For what may be lost."""
        try:
            self._journal.write(record)
        except OSError as error:
            logs.warning("journal.failed", error=str(error))

    def _finish(self, entry: Entry) -> None:
        entry.state = State.FINISHED
        self._ends.append(entry)
        entry.number = len(self._ends)
        if entry.done is not None:
            entry.done.set()
            entry.done = None

    def _remember(self, end: End) -> None:
        self._recent[end.facts.id] = end
        self._recent_bytes += end.size
        while self._recent_bytes > RECENT_BYTES or len(self._recent) > 64:
            _, old = self._recent.popitem(last=False)
            self._recent_bytes -= old.size

    def _count(self, end: End) -> None:
        facts = end.facts
        self._metrics.ended[str(facts.reason)] += 1
        self._metrics.duration_seconds += (facts.duration_ms or 0) / 1000
        self._metrics.cpu_seconds += (facts.cpu_ms or 0) / 1000
        self._metrics.output_bytes += end.stdout.total + end.stderr.total
        self._metrics.oom_kills += facts.oom_kills
        logs.info(
            "execution.ended",
            execution=facts.id,
            reason=facts.reason,
            exitCode=facts.exit_code,
            signal=facts.signal,
            durationMs=facts.duration_ms,
        )

    def _end(self, entry: Entry) -> End | None:
        if entry.state is not State.FINISHED:
            return None
        recent = self._recent.get(entry.id) or self._unwritten.get(entry.id)
        if recent is not None:
            return recent
        if entry.line is None:
            raise RuntimeError("an ended execution is in neither memory nor journal")
        record = self._journal.read(entry.line)
        return End.from_record(record, self._journal.read_output)
