"""Three system calls on files that Python 3.11 does not offer."""

import platform
import struct
from typing import Final

from ..confinement import linux

OPENAT2: Final = 437  # the same on every machine
_NUMBERS: Final = {"x86_64": (316, 332), "aarch64": (276, 291)}
_RENAMEAT2, _STATX = _NUMBERS.get(platform.machine(), (-1, -1))
_BENEATH, _NO_MAGIC_LINKS = 0x08, 0x02
_NO_REPLACE = 1
_AT_SYMLINK_NOFOLLOW = 0x100
_BIRTH_TIME = 0x800
_STATX_BYTES, _BIRTH_OFFSET = 256, 80


def open_beneath(directory: int, path: bytes, flags: int) -> int:
    """openat2(2) that never leaves `directory`: EXDEV where a link would."""
    name = linux.buffer(path + b"\0")
    how = linux.buffer(struct.pack("=QQQ", flags, 0, _BENEATH | _NO_MAGIC_LINKS))
    return linux.syscall(OPENAT2, directory, linux.address(name), linux.address(how), len(how))


def rename_unless_exists(
    old_directory: int, old_name: bytes, new_directory: int, new_name: bytes
) -> None:
    """renameat2(2) with RENAME_NOREPLACE. Raises FileExistsError."""
    old, new = linux.buffer(old_name + b"\0"), linux.buffer(new_name + b"\0")
    places = (old_directory, linux.address(old), new_directory, linux.address(new))
    linux.syscall(_RENAMEAT2, *places, _NO_REPLACE)


def born_at(directory: int, name: bytes) -> int:
    """When a file was made, in nanoseconds; 0 where its file system does not say.

    Inode numbers are used again at once: with this a file is told from the next one.
    """
    path, result = linux.buffer(name + b"\0"), linux.buffer(bytes(_STATX_BYTES))
    linux.syscall(
        _STATX,
        directory,
        linux.address(path),
        _AT_SYMLINK_NOFOLLOW,
        _BIRTH_TIME,
        linux.address(result),
    )
    known, seconds, nanoseconds = _birth(bytes(result))
    return seconds * 10**9 + nanoseconds if known else 0


def _birth(result: bytes) -> tuple[bool, int, int]:
    (mask,) = struct.unpack_from("=I", result)
    seconds, nanoseconds = struct.unpack_from("=qI", result, _BIRTH_OFFSET)
    return bool(mask & _BIRTH_TIME), seconds, nanoseconds
