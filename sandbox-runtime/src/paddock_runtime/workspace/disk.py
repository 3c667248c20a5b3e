"""Counts what the files of the sandbox take, a little at a time."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Sequence

SLICE_SECONDS = 0.01
ENTRY_BYTES = 4096
"""What an entry counts for at the least: its inode and its name take room as well, and a million
empty files are no free lunch."""
_LINKS_REMEMBERED = 100_000


class DiskMeter:
    """Bytes on disk below some directories, each file once, links not followed.

    A walk goes on over several calls, so that a million small files do not stop the fork
    server. What its user cannot list and what is deleted but still open is not seen: the volume's
    own limit is behind this.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = roots
        self._walk: Iterator[int] | None = None
        self._sum = 0
        self._spent = 0.0
        self.bytes = 0
        """Of the last complete walk."""
        self.seconds = 0.0
        """What that walk took."""

    @property
    def walking(self) -> bool:
        return self._walk is not None

    def step(self) -> bool:
        """Walk on for a moment; True when a walk has just become complete."""
        if self._walk is None:
            self._walk, self._sum, self._spent = _sizes(self._roots), 0, 0.0
        began = time.monotonic()
        for size in self._walk:
            self._sum += size
            if time.monotonic() - began > SLICE_SECONDS:
                self._spent += time.monotonic() - began
                return False
        self._walk = None
        self.bytes, self.seconds = self._sum, self._spent + time.monotonic() - began
        return True


def _sizes(roots: Sequence[str]) -> Iterator[int]:
    """What one entry after another counts for. Depth first, and nothing is kept of an entry: there
    may be more of them than there is memory. A path has 2048 names at most, so many are open."""
    seen: set[tuple[int, int]] = set()
    for root in roots:
        open_now = [_entries(root)]
        while open_now:
            entry = next(open_now[-1], None)
            if entry is None:
                open_now.pop()
                yield 0
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            size = found.st_blocks * 512
            if stat.S_ISDIR(found.st_mode):
                open_now.append(_entries(entry.path))
            elif found.st_nlink > 1:
                file = (found.st_dev, found.st_ino)
                if file in seen:
                    size = 0  # the name alone
                elif len(seen) < _LINKS_REMEMBERED:
                    seen.add(file)
            yield max(ENTRY_BYTES, size)


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    """Those that can be read."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        yield from entries
