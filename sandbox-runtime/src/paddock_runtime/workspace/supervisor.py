"""PID 1 of the workspace: starts the fork server, again and again, and reaps what it leaves.

It exists because the kernel may choose the fork server when memory runs out: then this process,
which is as small as a Python can be, kills what is left and starts another one. It ends with 0
when the fork server was told to stop, so that the pod may end.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from .scratch import sweep_shared_memory

PR_SET_CHILD_SUBREAPER = 36
PR_SET_DUMPABLE = 4
RESTART_DELAY = 0.05
"""Seconds between a fork server's death and the next: no back-off, but no hot loop either."""
GRACE_SECONDS = 3
"""How long SIGTERM waits for the runtime to record what ran and to say stop."""


def supervise(serve: Callable[[], int]) -> int:
    """Run `serve` in a child until one returns 0. Everything is dead when this returns."""
    become_subreaper()
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))
    signal.signal(signal.SIGALRM, _give_up)
    while True:
        if _run_once(serve) == 0:
            return 0
        time.sleep(RESTART_DELAY)


def become_subreaper() -> None:
    """Orphans of user code become children of this process, which then can collect them."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _run_once(serve: Callable[[], int]) -> int:
    """One fork server's life; its wait status."""
    try:
        child = os.fork()
    except OSError:
        return 1
    if child == 0:
        _become(serve)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            _kill_all()
            if os.getpid() == 1:
                # Here, not in the next one: where it took all memory, that could not start.
                sweep_shared_memory()
            return status


def _become(serve: Callable[[], int]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = serve()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _give_up(number: int, frame: FrameType | None) -> None:
    _kill_all()
    os._exit(0)


def _kill_all() -> None:
    """Kill and reap until no child is left: orphans are ours, so nothing can hide."""
    while True:
        if os.getpid() == 1:
            _kill(-1)
        for pid in _children():
            _kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:  # noqa: SIM105 - contextlib would have to be imported
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
