"""What happened, on disk: it survives a restart of the runtime's container.

`journal.jsonl` holds one JSON object a line, appended and synced; `output-N.bin` hold the kept
bytes of the streams, in segments of which the oldest go when there are too many. One thread,
started with the journal, does all writing, so that a slow disk never stops the server; what is
waiting while it syncs is synced together.
"""

import asyncio
import json
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEGMENT_BYTES = 32 << 20
SEGMENTS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """Where a record is in journal.jsonl."""

    offset: int
    length: int


@dataclass(slots=True)
class _Job:
    record: dict[str, Any]
    output: bytes
    done: "asyncio.Future[Line] | None"


class Journal:
    """Raises OSError where the directory is unusable. `append` needs a running loop."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._lines = os.open(directory / "journal.jsonl", flags, 0o600)
        self._size = self._drop_torn_line()
        self._segment, self._segment_size = max(self._segments(), default=0), 0
        self._output = self._open_segment()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def records(self) -> Iterator[tuple[dict[str, Any], Line]]:
        """Everything that an earlier runtime wrote, in order; to be read before appending."""
        offset = 0
        with (self._directory / "journal.jsonl").open("rb") as file:
            for line in file:
                yield json.loads(line), Line(offset, len(line))
                offset += len(line)

    async def append(self, record: dict[str, Any], output: bytes = b"") -> Line:
        """Write durably. With `output` the record gets `"at": [segment, offset]`.

        Raises OSError if the disk refuses; the record then is not in the journal.
        """
        done: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(record, output, done))
        return await done

    def note(self, record: dict[str, Any]) -> None:
        """Write without waiting or syncing, for what may be lost with the node."""
        self._jobs.put(_Job(record, b"", None))

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
        """Finish what is waiting. Appending afterwards never completes."""
        self._jobs.put(None)
        self._thread.join(timeout=2)

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            batch = [job for job in jobs if job is not None]
            self._write(batch)
            if len(batch) < len(jobs):
                return

    def _write(self, batch: list[_Job]) -> None:
        written: list[tuple[_Job, Line | OSError]] = []
        durable = outputs = False
        for job in batch:
            try:
                if job.output:
                    job.record["at"] = self._write_output(job.output)
                    outputs = True
                written.append((job, self._write_line(job.record)))
                durable = durable or job.done is not None
            except OSError as error:
                written.append((job, error))
        try:
            if outputs:
                os.fdatasync(self._output)
            if durable:
                os.fdatasync(self._lines)
        except OSError as error:
            written = [(job, error) for job, _ in written]
        for job, result in written:
            if job.done is not None:
                job.done.get_loop().call_soon_threadsafe(_resolve, job.done, result)

    def _write_line(self, record: dict[str, Any]) -> Line:
        data = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            _write_all(self._lines, data)
        except OSError:
            os.ftruncate(self._lines, self._size)
            raise
        line = Line(self._size, len(data))
        self._size += len(data)
        return line

    def _write_output(self, data: bytes) -> list[int]:
        if self._segment_size and self._segment_size + len(data) > SEGMENT_BYTES:
            os.fdatasync(self._output)
            os.close(self._output)
            self._segment += 1
            self._output = self._open_segment()
            for old in self._segments()[:-SEGMENTS]:
                self._path(old).unlink(missing_ok=True)
        at = [self._segment, self._segment_size]
        try:
            _write_all(self._output, data)
        except OSError:
            os.ftruncate(self._output, self._segment_size)
            raise
        self._segment_size += len(data)
        return at

    def _open_segment(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path(self._segment), flags, 0o600)
        self._segment_size = os.fstat(descriptor).st_size
        return descriptor

    def _segments(self) -> list[int]:
        return sorted(int(path.stem[7:]) for path in self._directory.glob("output-*.bin"))

    def _path(self, segment: int) -> Path:
        return self._directory / f"output-{segment}.bin"

    def _drop_torn_line(self) -> int:
        """Cut off what a killed runtime had not finished writing; the size that is left."""
        size = os.fstat(self._lines).st_size
        end = size
        while end > 0:
            start = max(0, end - 65536)
            newline = os.pread(self._lines, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._lines, end)
        return end


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _resolve(done: "asyncio.Future[Line]", result: Line | OSError) -> None:
    if done.done():
        return
    if isinstance(result, OSError):
        done.set_exception(result)
    else:
        done.set_result(result)
