"""Deletes a directory with all that is in it, a little at a time."""

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterator

from .beneath import Refused

SECONDS = 10.0
"""Of one request; what is left then is for the next."""
DEEPEST = 64
"""Directories held open at once; one that is deeper is moved up first."""
_BATCH = 100
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST)


def remove_tree(parent: int, name: bytes) -> Iterator[None]:
    """Yields often. No link is followed, nor what takes a directory's place meanwhile.

    Raises OSError for what cannot be deleted; Refused DeleteUnfinished after a while, NotEmpty
    where somebody goes on filling it.
    """
    deadline = time.monotonic() + SECONDS
    names, opened = [os.fsdecode(name)], [os.open(name, _OPEN, dir_fd=parent)]
    try:
        while opened:
            yield
            if time.monotonic() > deadline:
                raise Refused("DeleteUnfinished")
            entries = _some_entries(opened[-1])
            if not entries:
                os.close(opened.pop())
                with _looking_again():
                    os.rmdir(names.pop(), dir_fd=opened[-1] if opened else parent)
                continue
            for entry in entries:
                with _looking_again():
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.name, dir_fd=opened[-1])
                        continue
                    if len(opened) < DEEPEST:
                        opened.append(os.open(entry.name, _OPEN, dir_fd=opened[-1]))
                        names.append(entry.name)
                    else:
                        _move_up(entry.name, opened[-1], opened[0])
                break
    finally:
        for directory in opened:
            os.close(directory)
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=parent, follow_symlinks=False)
        raise Refused("NotEmpty")


def _some_entries(directory: int) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(itertools.islice(entries, _BATCH))


def _move_up(name: str, directory: int, top: int) -> None:
    try:
        os.rename(name, f".paddock-{os.urandom(8).hex()}", src_dir_fd=directory, dst_dir_fd=top)
    except OSError as error:
        if error.errno == errno.EXDEV:  # before ABI 2 of Landlock
            raise Refused("OtherVolume") from error
        raise


@contextlib.contextmanager
def _looking_again() -> Iterator[None]:
    """Where somebody was quicker, the next look at the directory shows what is to be done."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CHANGED:
            raise
