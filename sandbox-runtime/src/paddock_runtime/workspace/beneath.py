"""Opens what is below one directory, and nothing else, whatever links and races say.

The kernel resolves paths itself (openat2, RESOLVE_BENEATH): links are followed while they stay
inside, and there is no moment between a check and its use. Where openat2 is refused, no
component may be a link at all.
"""

import contextlib
import errno
import os
import stat

from ..file_protocol import Code
from .file_calls import open_beneath

_ATTEMPTS = 50
"""The kernel gives up (EAGAIN) where something was renamed while it walked through `..`."""
PLACE = os.O_PATH | os.O_CLOEXEC
DIRECTORY = PLACE | os.O_DIRECTORY
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Without waiting, for a FIFO's writer or the holder of a lease."""


class Refused(Exception):
    """Why a request cannot be had, for the client; `detail` may add a few words."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Root:
    """One directory. Paths are relative bytes without empty, `.` and `..` components.

    Everything raises OSError; EXDEV and ELOOP then mean that a link led out of it.
    """

    def __init__(self, directory: str, *, use_openat2: bool = True) -> None:
        self._descriptor = os.open(directory, DIRECTORY)
        self.follows_links = use_openat2 and self._has_openat2()

    def open(self, path: bytes, flags: int) -> int:
        if not self.follows_links:
            return self._walk(path, flags)
        for attempt in range(_ATTEMPTS):
            try:
                return open_beneath(self._descriptor, path or b".", flags)
            except BlockingIOError:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def open_file(self, path: bytes) -> int:
        """A regular file, to be read. Raises Refused for anything else, which is not opened."""
        place = self.open(path, PLACE)
        try:
            _refuse_all_but_files(place)
        finally:
            os.close(place)
        descriptor = self.open(path, READ)
        try:
            _refuse_all_but_files(descriptor)
        except Refused:
            os.close(descriptor)
            raise
        return descriptor

    def open_directory(self, path: bytes, *, make: bool = False) -> tuple[int, bool]:
        """To work in; with `make` what is missing is made first.

        The second value says whether the last one was.
        """
        try:
            return self.open(path, DIRECTORY), False
        except FileNotFoundError:
            if not make:
                raise
        made = False
        above = self.open(b"", DIRECTORY)
        for end in _ends(path):
            try:
                made = _make(path[:end].rpartition(b"/")[2], above)
                below = self.open(path[:end], DIRECTORY)
            finally:
                os.close(above)
            above = below
        return above, made

    def open_parent(self, path: bytes, *, make: bool = False) -> tuple[int, bytes]:
        """The directory that a path's last name is in, and that name."""
        parent, _, name = path.rpartition(b"/")
        return self.open_directory(parent, make=make)[0], name

    def close(self) -> None:
        os.close(self._descriptor)

    def _has_openat2(self) -> bool:
        try:
            os.close(open_beneath(self._descriptor, b".", PLACE))
        except OSError:
            return False
        return True

    def _walk(self, path: bytes, flags: int) -> int:
        """Component by component, no link followed."""
        *above, last = path.split(b"/") if path else [b"."]
        directory = os.dup(self._descriptor)
        try:
            for name in above:
                below = _open_unless_link(name, DIRECTORY, directory)
                os.close(directory)
                directory = below
            return _open_unless_link(last, flags, directory)
        finally:
            os.close(directory)


def _open_unless_link(name: bytes, flags: int, directory: int) -> int:
    try:
        descriptor = os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)
    except NotADirectoryError:  # what O_DIRECTORY says of a link, too
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise
    if stat.S_ISLNK(os.fstat(descriptor).st_mode):  # O_PATH opens the link itself
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return descriptor


def _refuse_all_but_files(descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise Refused("IsADirectory")
    if not stat.S_ISREG(mode):
        raise Refused("NotAFile")


def _ends(path: bytes) -> list[int]:
    """Where each component of a path ends."""
    return [at for at, byte in enumerate(path) if byte == ord("/")] + [len(path)]


def _make(name: bytes, directory: int) -> bool:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=directory)
        return True
    return False
