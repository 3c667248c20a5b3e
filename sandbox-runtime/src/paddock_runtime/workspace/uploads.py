"""New files until they are whole: they have no name, so nobody sees a half of one.

Where the file system makes no nameless files (O_TMPFILE; NFS for one), they have an odd name in
the directory where they will be, and are removed by `abort`.
"""

import errno
import itertools
import os
from dataclasses import dataclass

from .beneath import Refused, Root
from .file_calls import born_at
from .file_operations import Done, entry_of, look

_NAMELESS = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
_NAMED = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file being written; `temporary` is its name for now, None for the nameless."""

    descriptor: int
    directory: int
    name: bytes
    temporary: bytes | None
    exclusive: bool


class Uploads:
    """By number. Everything raises OSError or Refused."""

    def __init__(self, root: Root, *, nameless: bool = True) -> None:
        self._root = root
        self._nameless = nameless
        self._open: dict[int, Upload] = {}
        # Not from 1: a client of the file server before this one must not meet another's upload.
        self._numbers = itertools.count(int.from_bytes(os.urandom(6)) or 1)

    def create(self, path: bytes, exclusive: bool) -> Done:
        """The descriptor in the answer is to be copied, not closed."""
        directory, name = self._root.open_parent(path, make=True)
        try:
            if _replaces(name, directory) and exclusive:
                raise Refused("Exists")
            descriptor, temporary = self._new_file(directory)
        except BaseException:
            os.close(directory)
            raise
        number = next(self._numbers)
        self._open[number] = Upload(descriptor, directory, name, temporary, exclusive)
        return {"upload": number}, descriptor

    def commit(self, number: int, mode: int) -> Done:
        """Raises Refused UploadLost for one that a file server before this one had."""
        upload = self._open.get(number)
        if upload is None:
            raise Refused("UploadLost")
        try:
            os.fchmod(upload.descriptor, mode)
            created = _put_in_place(upload)
            entry = entry_of(upload.name, os.fstat(upload.descriptor))
            born = born_at(upload.directory, upload.name)
        finally:
            self.abort(number)
        return {"created": created, "entry": entry, "born": born}, None

    def abort(self, number: int) -> None:
        upload = self._open.pop(number, None)
        if upload is None:
            return
        if upload.temporary is not None:
            _unlink(upload.temporary, upload.directory)
        os.close(upload.descriptor)
        os.close(upload.directory)

    def _new_file(self, directory: int) -> tuple[int, bytes | None]:
        if self._nameless:
            try:
                return os.open(".", _NAMELESS, 0o600, dir_fd=directory), None
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
        temporary = _odd_name()
        return os.open(temporary, _NAMED, 0o600, dir_fd=directory), temporary


def _replaces(name: bytes, directory: int) -> bool:
    """Whether a file or a link has the name. Raises Refused where something else has it."""
    try:
        found = look(name, directory)
    except FileNotFoundError:
        return False
    if found.type == "Directory":
        raise Refused("IsADirectory")
    if found.type == "Other":
        raise Refused("NotAFile")
    return True


def _put_in_place(upload: Upload) -> bool:
    """True if nothing had the name."""
    if upload.exclusive or not _replaces(upload.name, upload.directory):
        try:
            _link(upload, upload.name)
            return True
        except FileExistsError:
            if upload.exclusive:
                raise
    temporary = upload.temporary
    if temporary is None:
        temporary = _odd_name()
        _link(upload, temporary)
    try:
        os.rename(temporary, upload.name, src_dir_fd=upload.directory, dst_dir_fd=upload.directory)
    except OSError:
        _unlink(temporary, upload.directory)
        raise
    return False


def _link(upload: Upload, name: bytes) -> None:
    """Raises FileExistsError."""
    if upload.temporary is None:
        os.link(f"/proc/self/fd/{upload.descriptor}", name, dst_dir_fd=upload.directory)
    else:
        places = {"src_dir_fd": upload.directory, "dst_dir_fd": upload.directory}
        os.link(upload.temporary, name, **places, follow_symlinks=False)


def _odd_name() -> bytes:
    return b".paddock-" + os.urandom(8).hex().encode()


def _unlink(name: bytes, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:  # renamed into place, or taken away by a program
        return
