"""What the fork server does to itself, and what a child takes back."""

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from . import linux, rlimits
from .errors import ConfinementError

# Left alone: the two that nothing stops, the one a parent lives by, the one that asks a server
# to end, and those that do nothing by default.
_SPARED: Final = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGCONT,
    signal.SIGURG,
    signal.SIGWINCH,
}

# The mask to go back to and its address; empty where there is nothing to take back.
_mask_before: list[tuple[linux.Memory, int]] = []
# Signals that meant something else to the server than they do to a new Python program.
_changed: list[int] = []

_Handler = Callable[[int, Any], Any] | signal.Handlers
_FRESH: Final[dict[int, _Handler]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
}


def harden_server() -> None:
    """Make this process unreadable and deaf to signals that it has no handler of its own for.

    User code has the same uid. PID 1 is spared by the kernel only signals without a handler,
    and Python's own for SIGINT counts as one; a fork server that is not PID 1 is spared
    nothing. So install handlers first: signals that have one then are left alone, the others
    are blocked, except SIGTERM and SIGCHLD. (Blocked, not ignored: a child takes back one mask
    in 2 µs, sixty dispositions in 150.) Call it in the main thread, again after a fork if the
    forked process is a server as well. Its limit of open files is raised, too.
    """
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
    except OSError as error:
        raise ConfinementError("dumpable", str(error)) from error
    rlimits.make_room_in_flight()
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    _changed[:] = [n for n, handler in handlers.items() if handler not in (None, _fresh(n))]
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    unhandled = {number for number, handler in handlers.items() if handler in defaults}
    before = linux.block_signals(unhandled - _SPARED)
    if not _mask_before:
        _mask_before.append((before, linux.address(before)))


def restore_signals() -> None:
    """In a child: signals mean what they mean to a program started from a terminal.

    Without this user code would inherit, even through exec, that its server ignores SIGTERM.
    """
    for number in _changed:
        signal.signal(number, _fresh(number))
    _changed.clear()
    if _mask_before:
        _, address = _mask_before[0]
        linux.set_signal_mask(address)
        _mask_before.clear()


def _fresh(number: int) -> _Handler:
    return _FRESH.get(number, signal.SIG_DFL)


def set_oom_score(score: int = 1000) -> None:
    """First to go when memory runs out: this process, not the fork server."""
    place = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(place, b"%d" % score)
    finally:
        os.close(place)
