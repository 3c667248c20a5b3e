"""What happened, on disk: it survives a restart of the runtime's container.

`journal.jsonl` holds one JSON object a line; `output-N.bin` hold the kept bytes of the streams,
in segments of which the oldest go when there are too many. Nothing is synced: what was written
survives this process with the kernel, and of a node that went down nothing is believed
(`boot_id`). Syncing cost each execution a millisecond or more and could only fail it.
"""

import json
import os
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
        """Nothing may be written afterwards."""
        os.close(self._lines)
        os.close(self._output)

    def _write_output(self, pieces: Sequence[bytes]) -> list[int]:
        size = sum(map(len, pieces))
        if self._output_size and self._output_size + size > SEGMENT_BYTES:
            full = self._output
            self._segment += 1
            try:
                self._output = self._open_segment()
            except OSError:
                self._segment -= 1
                raise
            os.close(full)
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


def boot_id() -> str:
    """Changes when the kernel starts anew, and with it everything that was not synced."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


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
