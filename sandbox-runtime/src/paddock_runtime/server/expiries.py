"""Files that are to be deleted after a while: which, when, and that a restart does not forget.

Times are CLOCK_MONOTONIC in seconds, as those of `lifetime`.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from paddock_runtime.file_protocol import unwire, wire
from paddock_runtime.server import logs
from paddock_runtime.server.problems import ProblemError

MOST, MOST_BYTES = 10_000, 2 << 20
"""Files, and bytes of their paths together: what the runtime holds in memory."""
_SLACK = 1000
"""Lines beyond twice the files before the note on disk is written anew."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a file goes, and which: its inode, and when that was made."""

    at: float
    file: str
    born: int


class Expiries:
    """By path. Each change is noted in a file of its own; a line is a path and its Expiry.

    Raises OSError where `directory` is unusable.
    """

    def __init__(self, directory: Path) -> None:
        self._note = directory / "expiries.jsonl"
        self._by_path: dict[bytes, Expiry] = {}
        self._bytes = 0
        self._lines = 0
        self._read()
        if self._lines:
            self._write_anew()  # the last line may be half of one

    def __len__(self) -> int:
        return len(self._by_path)

    def get(self, path: bytes, file: str) -> Expiry | None:
        """Of that path, while the same file is there."""
        found = self._by_path.get(path)
        return found if found is not None and found.file == file else None

    def refuse_if_full(self, path: bytes) -> None:
        """Raises 429."""
        if path in self._by_path:
            return
        if len(self._by_path) >= MOST or self._bytes + len(path) > MOST_BYTES:
            raise ProblemError(
                429,
                "TooManyExpiries",
                f"ttl: {len(self._by_path)} files are to expire already, and no more can be "
                f"watched ({MOST}, or {MOST_BYTES} bytes of paths); write it without ttl",
                Retry_After="60",
            )

    def set(self, path: bytes, expiry: Expiry) -> None:
        self._put(path, expiry)
        self._write(path, expiry)

    def drop(self, path: bytes) -> None:
        """Whatever is there now is not the file that was to expire."""
        if path in self._by_path:
            self._put(path, None)
            self._write(path, None)

    def moved(self, source: bytes, target: bytes) -> None:
        """A file, or a directory with all below it, has another name."""
        below = source + b"/"
        found = [(p, e) for p, e in self._by_path.items() if p == source or p.startswith(below)]
        for path, expiry in found:
            self.drop(path)
            self.set(target + path[len(source) :], expiry)

    def due(self, now: float) -> list[tuple[bytes, Expiry]]:
        return [(path, expiry) for path, expiry in self._by_path.items() if expiry.at <= now]

    def next_at(self) -> float | None:
        return min((expiry.at for expiry in self._by_path.values()), default=None)

    def _put(self, path: bytes, expiry: Expiry | None) -> None:
        if self._by_path.pop(path, None) is not None:
            self._bytes -= len(path)
        if expiry is not None:
            self._by_path[path] = expiry
            self._bytes += len(path)

    def _read(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._note.open("rb") as lines:
            for line in lines:
                self._lines += 1
                with contextlib.suppress(ValueError, TypeError):
                    path, *fields = json.loads(line)
                    self._put(unwire(path), Expiry(*fields) if fields else None)

    def _write(self, path: bytes, expiry: Expiry | None) -> None:
        """A note that fails is missed after a restart only, and the file is written already."""
        try:
            if self._lines > 2 * len(self._by_path) + _SLACK:
                self._write_anew()
                return
            with self._note.open("ab") as note:
                note.write(_line(path, expiry))
            self._lines += 1
        except OSError as error:
            logs.warning("expiries.unwritable", error=str(error))

    def _write_anew(self) -> None:
        fresh = self._note.with_suffix(".new")
        with fresh.open("wb") as note:
            for path, expiry in self._by_path.items():
                note.write(_line(path, expiry))
        fresh.replace(self._note)
        self._lines = len(self._by_path)


def _line(path: bytes, expiry: Expiry | None) -> bytes:
    fields = [] if expiry is None else [expiry.at, expiry.file, expiry.born]
    return json.dumps([wire(path), *fields], separators=(",", ":")).encode() + b"\n"
