"""Where ended executions are: the last in memory, all in the journal."""

import asyncio
from collections import OrderedDict

from paddock_runtime.server import logs
from paddock_runtime.server.journal import Journal, Line
from paddock_runtime.server.output import Kept, Stored
from paddock_runtime.server.records import End, Entry, end_record

RECENT_BYTES = 4 << 20
"""Output of just ended executions that is answered from memory."""
RECENT = 64


class Ends:
    """An end that was told is never lost while this process lives, and not by its restart
    unless the disk refused it to the last."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._recent: OrderedDict[str, End] = OrderedDict()
        self._recent_bytes = 0
        self._refused: dict[str, tuple[Entry, End]] = {}
        """What the disk refused, without output. Nothing is accepted meanwhile, so they are few."""

    def keep(self, entry: Entry, end: End) -> None:
        """Into the journal; where that has no room for the output, without it."""
        try:
            entry.line = self._write(end)
        except OSError as error:
            logs.error("journal.failed", execution=entry.id, error=str(error))
            end = end.without_output()
            self._refused[entry.id] = entry, end
        self._remember(end)

    def of(self, entry: Entry) -> End:
        """The end of a finished execution."""
        recent = self._recent.get(entry.id)
        if recent is not None:
            return recent
        if entry.line is not None:
            record = self._journal.read(entry.line)
            return End.from_record(record, self._journal.read_output)
        return self._refused[entry.id][1]

    def streams(self, entry: Entry) -> list[Stored]:
        """The output of a finished execution, read when it is asked for."""
        if entry.line is None:
            return [kept.stored for kept in self._refused[entry.id][1].streams]
        record = self._journal.read(entry.line)
        begin = 0
        stored = []
        for head, tail, total in record.get("streams", []):
            if "at" in record:
                stored.append(_stored(self._journal, record["at"], begin, (head, tail, total)))
            else:  # the disk had no room for it
                stored.append(Kept(total=total).stored)
            begin += head + tail
        return stored

    def write_refused(self) -> None:
        """Try again. Raises OSError while the disk still refuses."""
        for identity, (entry, end) in list(self._refused.items()):
            entry.line = self._journal.write(*end_record(end, _now()))
            del self._refused[identity]

    def _write(self, end: End) -> Line:
        self.write_refused()
        try:
            line = self._journal.write(*end_record(end, _now()))
        except OSError as error:
            logs.error("journal.output_lost", execution=end.facts.id, error=str(error))
            line = self._journal.write(*end_record(end.without_output(), _now()))
        return line

    def _remember(self, end: End) -> None:
        self._recent[end.facts.id] = end
        self._recent_bytes += end.size
        while self._recent_bytes > RECENT_BYTES or len(self._recent) > RECENT:
            _, old = self._recent.popitem(last=False)
            self._recent_bytes -= old.size


def _stored(journal: Journal, at: list[int], begin: int, lengths: tuple[int, int, int]) -> Stored:
    """A stream in the journal; without bytes if their segment has gone."""

    def part(offset: int, length: int) -> bytes:
        return journal.read_output(at, begin + offset, length) or b""

    head, tail, total = lengths
    return Stored(head, tail, total, part) if part(0, 1) else Stored(0, 0, total, part)


def _now() -> float:
    return asyncio.get_running_loop().time()
