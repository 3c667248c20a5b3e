"""Writes the session's files into the workspace, as the workspace's user.

Programs may have run before and left links behind: no component of a path is followed if it is
a symbolic link, so nothing is written outside.
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterable

from .. import protocol

_PASSING = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR, errno.EIO)


class FileError(Exception):
    """A sentence that names the file and what is wrong; `passing` if that is not the file."""

    def __init__(self, sentence: str, passing: bool = False) -> None:
        super().__init__(sentence)
        self.passing = passing


def carry_out(request: protocol.WriteFiles, descriptor: int, root: str) -> protocol.FilesWritten:
    """Write what the request's memfd lists; the answer to it."""
    error, passing = None, False
    try:
        listed = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        files = [(file["path"], file["content"]) for file in listed]
        write_files(root, files, keep=request.keep)
    except FileError as problem:
        error, passing = str(problem), problem.passing
    return protocol.FilesWritten(request.number, error, passing)


def write_files(root: str, files: Iterable[tuple[str, str]], *, keep: bool = False) -> None:
    """Write (relative path, text) pairs, each atomically, making parent directories.

    With `keep` whatever has the name already stays as it is.
    Raises FileError at the first that cannot be written; those before it stay.
    """
    for path, content in files:
        parts = path_parts(path)
        try:
            _write(root, parts, content.encode(), keep)
        except OSError as error:
            sentence = f"file {path!r} cannot be written: {error.strerror}"
            if error.errno == errno.EACCES:
                sentence += (
                    f" for user {os.getuid()}; a volume must be writable for its group (fsGroup)"
                )
            raise FileError(sentence, error.errno in _PASSING) from error


def path_parts(path: str) -> list[str]:
    """The components of a relative path that stays inside. Raises FileError otherwise."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise FileError(f"file {path!r} is not a plain relative path inside the workspace")
    return parts


def _write(root: str, parts: list[str], content: bytes, keep: bool) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    directory = os.open(root, flags)
    try:
        for part in parts[:-1]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=directory)
            below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        if not (keep and _exists(directory, parts[-1])):
            _replace(directory, parts[-1], content)
    finally:
        os.close(directory)


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _replace(directory: int, name: str, content: bytes) -> None:
    temporary = f".paddock-{os.getpid()}-{os.urandom(6).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o644, dir_fd=directory)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(content)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(temporary, dir_fd=directory)
        raise
