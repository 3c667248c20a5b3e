"""The few C library calls that confinement needs, looked up once, failing as OSError."""

import ctypes
import os
import signal
from collections.abc import Iterable
from typing import TypeAlias

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

SECCOMP_MODE_FILTER = 2

_libc = ctypes.CDLL(None, use_errno=True)
# Arguments are words: without the types ctypes passes 32-bit ints and a pointer loses its top.
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_libc.prctl.restype = ctypes.c_int
_libc.syscall.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 5]
_libc.syscall.restype = ctypes.c_long
_libc.pthread_sigmask.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.pthread_sigmask.restype = ctypes.c_int

Memory: TypeAlias = ctypes.Array[ctypes.c_char]
_SIGSET_BYTES = 128
_SIG_SETMASK = int(signal.SIG_SETMASK)


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    result: int = _libc.prctl(option, a, b, c, d)
    if result < 0:
        raise _failed()
    return result


def syscall(number: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0) -> int:
    result: int = _libc.syscall(number, a, b, c, d, e)
    if result < 0:
        raise _failed()
    return result


def buffer(data: bytes) -> Memory:
    return ctypes.create_string_buffer(data, len(data))


def address(memory: Memory) -> int:
    return ctypes.addressof(memory)


def block_signals(numbers: Iterable[int]) -> Memory:
    """Block these too and return the mask as it was.

    The signal module does the same, but turns every number of the mask into an enum member
    and back, which takes it longer than all the rest of confining a process.
    """
    bits = sum(1 << (number - 1) for number in numbers)
    more, before = buffer(bits.to_bytes(_SIGSET_BYTES, "little")), buffer(bytes(_SIGSET_BYTES))
    _set_mask(signal.SIG_BLOCK, address(more), address(before))
    return before


def set_signal_mask(mask_address: int) -> None:
    _set_mask(_SIG_SETMASK, mask_address, 0)


def _set_mask(how: int, mask: int, before: int) -> None:
    # This one returns the error number instead of setting errno.
    number = _libc.pthread_sigmask(how, mask, before)
    if number:
        raise OSError(number, os.strerror(number))
