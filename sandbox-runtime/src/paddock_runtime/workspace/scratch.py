"""What executions leave behind in memory. Small: PID 1 imports it."""

import contextlib
import os
import stat

SHARED_MEMORY = "/dev/shm"  # noqa: S108


def sweep_shared_memory(directory: str = SHARED_MEMORY) -> None:
    """Remove our user's files there: they outlive their execution and count as its memory.

    Only for a user that has nothing else there, as in a container, and while nothing runs.
    """
    uid = os.getuid()
    for name in _names(directory):
        path = f"{directory}/{name}"
        try:
            found = os.lstat(path)
            if found.st_uid != uid:
                continue
            _remove(path, found.st_mode)
        except OSError:
            _remove_what_is_deep(directory, name)


def _remove(path: str, mode: int) -> None:
    """Not by recursion: who nests directories deep enough would break it."""
    if not stat.S_ISDIR(mode):
        os.unlink(path)  # noqa: PTH108
        return
    directories = [path]
    for directory in directories:
        os.chmod(directory, 0o700)  # noqa: PTH101
        for name in _names(directory):
            below = f"{directory}/{name}"
            if stat.S_ISDIR(os.lstat(below).st_mode):
                directories.append(below)
            else:
                os.unlink(below)  # noqa: PTH108
    for directory in reversed(directories):
        os.rmdir(directory)  # noqa: PTH106


def _remove_what_is_deep(directory: str, name: str) -> None:
    """Where a path is too long to be named in one piece."""
    from .beneath import Refused  # 4 MiB with what they import: not before it has to be
    from .removal import remove_tree

    with contextlib.suppress(OSError, Refused):
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for _ in remove_tree(parent, os.fsencode(name)):
                pass
        finally:
            os.close(parent)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208
    except OSError:
        return []
