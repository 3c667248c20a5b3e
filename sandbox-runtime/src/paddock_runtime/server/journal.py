"""What happened, on disk: it survives a restart of the runtime's container.

`journal.jsonl` holds one JSON object a line; `output-N.bin` hold the kept bytes of the streams,
in segments of which the oldest go when there are too many. Writing is done at once and so
survives this process; one thread, started with the journal, syncs, so that a slow disk never
stops the server, and what comes while it syncs is synced together.
"""

import asyncio
import json
import os
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEGMENT_BYTES = 32 << 20
SEGMENTS = 8
LINES_BYTES = 24 << 20
"""Size of journal.jsonl from which on nothing new is accepted: about 36 000 executions that print
little (700 bytes each, and 540 of memory). With what is then still to be written (at most 512
ends of 13 KB and one short note each) and 8 segments the folder stays under 300 MiB."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a record is in journal.jsonl."""

    offset: int
    length: int


Synced = asyncio.Future[None]


class Journal:
    """Raises OSError where the directory is unusable or the disk refuses."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._lines = os.open(directory / "journal.jsonl", flags, 0o600)
        self._size = _drop_torn_line(self._lines)
        self._segment = max(self._segments(), default=0)
        self._output = self._open_segment()
        self._requests: queue.SimpleQueue[Synced | None] = queue.SimpleQueue()
        self._outputs_unsynced = False
        self._thread = threading.Thread(target=self._sync_forever, name="journal", daemon=True)
        self._thread.start()

    def records(self) -> Iterator[tuple[dict[str, Any], Line]]:
        """Everything that an earlier runtime wrote, in order; to be read before writing."""
        offset = 0
        with (self._directory / "journal.jsonl").open("rb") as file:
            for line in file:
                yield json.loads(line), Line(offset, len(line))
                offset += len(line)

    @property
    def full(self) -> bool:
        """Whether nothing that leads to further records may be written."""
        return self._size >= LINES_BYTES

    def write(self, record: dict[str, Any], output: Sequence[bytes] = ()) -> Line:
        """Append; with `output` the record gets `"at": [segment, offset]`.

        Raises OSError; the record then is not in the journal.
        """
        if any(output):
            record["at"] = self._write_output(output)
        data = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            _write_all(self._lines, data)
        except OSError:
            os.ftruncate(self._lines, self._size)
            raise
        line = Line(self._size, len(data))
        self._size += len(data)
        return line

    def sync(self) -> Synced:
        """Completes when all that was written is on the disk; need not be awaited."""
        synced: Synced = asyncio.get_running_loop().create_future()
        synced.add_done_callback(_retrieve)
        self._requests.put(synced)
        return synced

    def read(self, line: Line) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(os.pread(self._lines, line.length, line.offset))
        return record

    def read_output(self, at: list[int], skip: int, length: int) -> bytes | None:
        """Bytes of a record's output; None when its segment has been dropped."""
        try:
            with self._path(at[0]).open("rb", buffering=0) as file:
                file.seek(at[1] + skip)
                return file.read(length)
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Finish syncing. Nothing may be written afterwards."""
        self._requests.put(None)
        self._thread.join(timeout=2)

    def _sync_forever(self) -> None:
        # Signals are the main thread's; this one may outlive its joining by a moment, in which
        # SIGTERM has its default effect again.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            requests = [self._requests.get()]
            while not self._requests.empty():
                requests.append(self._requests.get())
            error = self._sync_files()
            for request in requests:
                if request is None:
                    return
                request.get_loop().call_soon_threadsafe(_resolve, request, error)

    def _sync_files(self) -> OSError | None:
        try:
            if self._outputs_unsynced:
                self._outputs_unsynced = False
                os.fdatasync(self._output)
            os.fdatasync(self._lines)
        except OSError as error:
            return error
        return None

    def _write_output(self, pieces: Sequence[bytes]) -> list[int]:
        size = sum(map(len, pieces))
        if self._output_size and self._output_size + size > SEGMENT_BYTES:
            self._segment += 1
            replaced, self._output = self._output, self._open_segment()
            # The syncing thread may be about to use the old number: make it name the new file.
            os.dup2(self._output, replaced, inheritable=False)
            os.close(self._output)
            self._output = replaced
            for old in self._segments()[:-SEGMENTS]:
                self._path(old).unlink(missing_ok=True)
        at = [self._segment, self._output_size]
        try:
            for data in pieces:
                _write_all(self._output, data)
        except OSError:
            os.ftruncate(self._output, self._output_size)
            raise
        self._output_size += size
        self._outputs_unsynced = True
        return at

    def _open_segment(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path(self._segment), flags, 0o600)
        self._output_size = os.fstat(descriptor).st_size
        return descriptor

    def _segments(self) -> list[int]:
        return sorted(int(path.stem[7:]) for path in self._directory.glob("output-*.bin"))

    def _path(self, segment: int) -> Path:
        return self._directory / f"output-{segment}.bin"


def _drop_torn_line(descriptor: int) -> int:
    """Cut off what a killed runtime had not finished writing; the size that is left."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return end


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _resolve(synced: Synced, error: OSError | None) -> None:
    if synced.done():
        return
    if error is None:
        synced.set_result(None)
    else:
        synced.set_exception(error)


def _retrieve(synced: Synced) -> None:
    """Who does not await a sync does not want to hear of its failure either."""
    if not synced.cancelled():
        synced.exception()
