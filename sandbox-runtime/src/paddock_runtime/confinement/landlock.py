"""Landlock by its three system calls; there is no C library function to call.

The ruleset is built once in the fork server: a child then pays for one call, not for ten.
"""

import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

from . import linux

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every machine
VERSION_FLAG: Final = 1
RULE_PATH_BENEATH: Final = 1
# The confined process goes on running the same binary (our interpreter) with foreign code: the
# kernel's documentation names this flag for that case. Without it user code could fill the
# node's audit log.
LOG_SAME_EXEC_OFF: Final = 1

NEWEST_ABI: Final = 7

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ABI_1: Final = (1 << 13) - 1
READ_ONLY: Final = EXECUTE | READ_FILE | READ_DIR
# What a rule on something that is not a directory may speak of; more is EINVAL.
ON_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

NET_BIND_TCP, NET_CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_SOCKET, SCOPE_SIGNAL = 1 << 0, 1 << 1

# openpty needs ptmx and pts; /dev/shm holds multiprocessing's semaphores.
DEVICES: Final = (
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",  # noqa: S108 - not a temporary file of ours
)


def abi() -> int:
    """The version the kernel offers; 0 where Landlock is absent, off or refused."""
    try:
        return linux.syscall(CREATE_RULESET, 0, 0, VERSION_FLAG)
    except OSError:
        return 0


def file_rights(version: int) -> int:
    """Every file right that this version can refuse."""
    rights = _ABI_1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        if version >= since:
            rights |= right
    return rights


def attributes(version: int, network_none: bool) -> bytes:
    """struct landlock_ruleset_attr, as long as this version knows it."""
    words = [file_rights(version)]
    if version >= 4:
        # Behind the system call filter: also a socket that came in some other way stays mute.
        words.append(NET_BIND_TCP | NET_CONNECT_TCP if network_none else 0)
    if version >= 6:
        words.append(SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL)
    return struct.pack(f"={len(words)}Q", *words)


def build(version: int, writable: Iterable[str], network_none: bool) -> int:
    """A ruleset's descriptor (close-on-exec by the kernel): read anywhere, write where said."""
    ruleset = create(version, network_none)
    try:
        everything = file_rights(version)
        _allow(ruleset, "/", READ_ONLY)
        for path in (*writable, *DEVICES):
            _allow(ruleset, path, everything)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def build_within(version: int, directory: str, listed: str) -> int:
    """As `build`: everything that needs no program and no device in `directory`, and looking
    through `listed`; no other place, not even to be read."""
    ruleset = create(version, network_none=True)
    try:
        rights = file_rights(version) & ~(EXECUTE | IOCTL_DEV | MAKE_CHAR | MAKE_BLOCK)
        _allow(ruleset, directory, rights)
        _allow(ruleset, listed, READ_DIR)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def restrict_self(ruleset: int, version: int) -> None:
    """Put the calling thread, and all it will start, under the ruleset; for good."""
    flags = LOG_SAME_EXEC_OFF if version >= 7 else 0
    linux.syscall(RESTRICT_SELF, ruleset, flags)


def create(version: int, network_none: bool) -> int:
    """A ruleset without rules: it refuses everything it handles."""
    attribute = attributes(version, network_none)
    buffer = linux.buffer(attribute)
    return linux.syscall(CREATE_RULESET, linux.address(buffer), len(attribute))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return  # an image without it needs no right to it
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= ON_FILES
        rule = linux.buffer(struct.pack("=Qi", rights, place))  # packed: 12 bytes
        linux.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, linux.address(rule))
    finally:
        os.close(place)
