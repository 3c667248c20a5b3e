"""What the fork server does to itself, and what a child takes back."""

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from . import linux
from .errors import ConfinementError

# Ignored one by one rather than blocked, because the server may want a handler for one later.
_ORDINARY: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)
# Left alone: the two that nothing stops, the one a parent lives by, and those that do nothing
# by default.
_SPARED: Final = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGCONT,
    signal.SIGURG,
    signal.SIGWINCH,
}
_DEFAULTS: Final = (signal.SIG_DFL, signal.default_int_handler)

_Handler = Callable[[int, Any], Any] | int | signal.Handlers | None
_ignored: dict[int, _Handler] = {}
_blocked: list[linux.Memory] = []  # the mask to go back to, if any


def harden_server() -> None:
    """Make this process unreadable and deaf to signals that it has no handler of its own for.

    User code has the same uid. PID 1 is spared by the kernel only signals without a handler,
    and Python's handler for SIGINT counts; a fork server that is not PID 1 is spared nothing.
    Handlers that are there already are kept. Later ones work for the seven ordinary signals
    and SIGCHLD; all others are blocked, as undoing one mask costs a child 0.1 ms less than
    sixty dispositions. Must run in the main thread.
    """
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
    except OSError as error:
        raise ConfinementError("dumpable", str(error)) from error
    unhandled = {n for n in signal.valid_signals() if signal.getsignal(n) in _DEFAULTS}
    for number in unhandled.intersection(_ORDINARY):
        _ignored[number] = signal.signal(number, signal.SIG_IGN)
    block = unhandled - _SPARED - set(_ORDINARY)
    before = linux.block_signals(block)
    if not _blocked:
        _blocked.append(before)


def restore_signals() -> None:
    """In a child: signals mean again what they meant before `harden_server`."""
    for number, handler in _ignored.items():
        signal.signal(number, handler)
    _ignored.clear()
    if _blocked:
        linux.set_signal_mask(_blocked.pop())


def set_oom_score(score: int = 1000) -> None:
    """First to go when memory runs out: this process, not the fork server."""
    place = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(place, b"%d" % score)
    finally:
        os.close(place)
