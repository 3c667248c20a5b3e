"""The registry: accepts each id once, remembers every end, answers from memory or journal."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any

from paddock_api.executions import Execution, ExecutionRequest, OutputEncoding
from paddock_api.messages import Limits
from paddock_api.reasons import ExecutionReason as Reason
from paddock_api.reasons import ExecutionState as State
from paddock_runtime.server import logs
from paddock_runtime.server.dispatcher import Dispatcher
from paddock_runtime.server.ends import Ends
from paddock_runtime.server.journal import Journal, Line
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.output import Kept, Piece, cut, wire_form
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.records import (
    End,
    Entry,
    accepted_record,
    digest,
    from_accepted_record,
    now,
)
from paddock_runtime.server.results import read_results

PENDING_LIMIT = 256
UNFINISHED_BYTES = 8 << 20
"""Of requests whose executions have not ended: code and stdin of each are held in memory."""


class Executions:
    """All executions of this sandbox by id. Set `dispatcher` before accepting any."""

    dispatcher: Dispatcher

    def __init__(self, journal: Journal, metrics: Metrics, limits: Limits) -> None:
        self._journal = journal
        self._limits = limits
        self._metrics = metrics
        self._entries: dict[str, Entry] = {}
        self._ends: list[Entry] = []
        self._kept = Ends(journal)
        self._unfinished = 0
        self._unfinished_bytes = 0
        self._in_background = 0

    @property
    def unfinished(self) -> int:
        """Executions that were accepted and have not ended."""
        return self._unfinished

    def accept(self, request: ExecutionRequest) -> tuple[Entry, bool]:
        """The execution and whether it is new. It is in the journal, and may have ended.

        Raises ProblemError: 409 ExecutionIdReused, 409 TooManyInBackground, 429 TooManyPending,
        503 JournalFull, 503 JournalUnavailable. After an error nothing ran.
        """
        known = self.known(request)
        if known is not None:
            return known, False
        body = request.to_json()
        self._refuse_if_too_much(request, len(body))
        entry = Entry.of(request, body)
        try:
            self._kept.write_refused()
            self._journal.write(accepted_record(entry))
        except OSError as error:
            raise ProblemError(
                503, "JournalUnavailable", f"it was not accepted, nothing ran: {error.strerror}"
            ) from error
        self._add(entry)
        self.dispatcher.submit(entry)
        return entry, True

    def known(self, request: ExecutionRequest) -> Entry | None:
        """The execution of that id, if there is one. Raises 409 if it was another request."""
        entry = self._entries.get(request.id)
        if entry is not None and entry.digest != digest(request.to_json()):
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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await entry.done.wait()

    def view(
        self,
        entry: Entry,
        max_output: int | None = None,
        encoding: OutputEncoding = OutputEncoding.UTF8,
        *,
        results: bool = True,
    ) -> Execution:
        """What the wire says about it now; as `shown`."""
        return self.wire(self.shown(entry, max_output, results=results), encoding)

    def wire(self, shown: End, encoding: OutputEncoding) -> Execution:
        """With its output in place."""
        streams = {
            "stdout": wire_form(shown.stdout, encoding),
            "stderr": wire_form(shown.stderr, encoding),
        }
        return shown.facts.model_copy(update=streams)

    def shown(self, entry: Entry, max_output: int | None = None, *, results: bool = True) -> End:
        """Its facts as they are now, results among them if wanted, and what is shown of its
        output."""
        end = self._now(entry)
        stdout, stderr = cut(end.stdout, max_output), cut(end.stderr, max_output)
        shown = end.results if results else Kept(total=end.results.total)
        asked = end if max_output == 0 else End(end.facts, stdout, stderr, shown)
        truncated = any(kept.omitted for kept in (asked.stdout, asked.stderr, asked.results))
        update: dict[str, Any] = {"truncated": truncated, "results_omitted": shown.omitted}
        if not results:
            update["error"] = None
        elif shown.head:
            update["results"] = read_results(shown)[0]
        return End(end.facts.model_copy(update=update), stdout, stderr, shown)

    def _now(self, entry: Entry) -> End:
        if entry.state is State.FINISHED:
            return self._kept.of(entry)
        return End(entry.unfinished(), *(entry.run.kept() if entry.run else ()))

    def read_output(self, entry: Entry) -> Callable[[int, int, int], Piece]:
        """Reads what is kept of stdout (0) and stderr (1): (stream, offset, size)."""
        if entry.run is not None:
            return entry.run.read
        streams = self._kept.streams(entry)
        return lambda stream, offset, size: (
            streams[stream].read(offset, size) if streams else (0, b"")
        )

    def collected(self, entry: Entry) -> None:
        """Its end was given to somebody."""
        if entry.state is State.FINISHED and not entry.collected:
            entry.collected = True
            self._note({"type": "collected", "id": entry.id})

    def page(self, after: int, limit: int, state: State | None) -> tuple[list[Entry], int | None]:
        """In the order of acceptance, and where the next page begins."""
        found: list[Entry] = []
        for number, entry in enumerate(itertools.islice(self._entries.values(), after, None)):
            if len(found) == limit:
                return found, after + number
            if state is None or entry.state is state:
                found.append(entry)
        return found, None

    def ends_after(self, number: int, limit: int) -> list[Entry]:
        return self._ends[number : number + limit]

    def all_ends(self) -> list[Entry]:
        return self._ends

    def ended(self, entry: Entry, end: End) -> None:
        """Told by the dispatcher: into the journal, then wake who waits."""
        self._count(end)
        self._kept.keep(entry, end)
        self._finish(entry)

    def cancel_all(self, message: str) -> None:
        """Ask for the end of everything, also of what is being accepted just now."""
        for entry in [entry for entry in self._entries.values() if entry.done is not None]:
            self.dispatcher.cancel(entry, message)

    def restore(self, record: dict[str, Any], line: Line) -> None:
        """Take over a record of an earlier runtime; `end_unfinished` after the last."""
        entry = self._entries.get(record.get("id", ""))
        match record["type"]:
            case "accepted":
                self._add(from_accepted_record(record))
            case "ended" if entry is not None and entry.done is not None:
                entry.line = line
                self._finish(entry)
            case "collected" if entry is not None:
                entry.collected = True

    def end_unfinished(self) -> bool:
        """Nobody can say any more how these ended. Whether there were any."""
        unfinished = [entry for entry in self._entries.values() if entry.done is not None]
        for entry in unfinished:
            facts = Execution(
                id=entry.id,
                state=State.FINISHED,
                context=entry.context,
                background=entry.background,
                reason=Reason.RUNTIME_RESTARTED,
                message="the runtime's container restarted while it was waiting or running",
                accepted_at=entry.accepted_at,
                finished_at=now(),
            )
            self.ended(entry, End(facts))
        return bool(unfinished)

    def _refuse_if_too_much(self, request: ExecutionRequest, size: int) -> None:
        if request.background and self._in_background >= self._limits.concurrency - 1:
            raise ProblemError(
                409,
                "TooManyInBackground",
                f"background: {self._in_background} executions run or wait in the background; of "
                f"the template's concurrency of {self._limits.concurrency} one place is kept for "
                "others, so cancel one or use a template with more",
            )
        if self._unfinished - self.dispatcher.running >= PENDING_LIMIT:
            raise ProblemError(
                429,
                "TooManyPending",
                f"{PENDING_LIMIT} executions are waiting already; send it again later",
                Retry_After="1",
            )
        if self._unfinished_bytes + size > UNFINISHED_BYTES:
            raise ProblemError(
                429,
                "TooManyPending",
                f"the requests of {self._unfinished} executions that have not ended take "
                f"{self._unfinished_bytes} bytes, and with this one more than the "
                f"{UNFINISHED_BYTES} that are held; send it again later or put data into files",
                Retry_After="1",
            )
        if self._journal.full:
            raise ProblemError(
                503,
                "JournalFull",
                f"the journal of this sandbox is full: it has taken {len(self._entries)} "
                "executions and takes no more; their ends can still be asked for, for more use "
                "another session",
            )

    def _add(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        self._unfinished += 1
        self._unfinished_bytes += entry.size
        self._in_background += entry.background

    def _note(self, record: dict[str, Any]) -> None:
        """For what may be lost."""
        try:
            self._journal.write(record)
        except OSError as error:
            logs.warning("journal.failed", error=str(error))

    def _finish(self, entry: Entry) -> None:
        self._unfinished -= 1
        self._unfinished_bytes -= entry.size
        self._in_background -= entry.background
        self._ends.append(entry)
        entry.finish()

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
