"""A fork server and a confined child, as in the pod: one uid, no privileges.

The test process may be root, so the "server" is a child of it that gives that up first; the
body runs in a child of that server, with `os.getppid()` as the target worth attacking.
"""

import ctypes
import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paddock_runtime import confinement
from paddock_runtime.confinement import ConfinementPolicy, Prepared, ResourceLimits, linux

UID = 61_347  # of no one else: RLIMIT_NPROC counts a uid's processes on the whole machine
LIMITS = ResourceLimits(processes=None, cpu_seconds=20, file_bytes=1 << 30, locks_mark=7_000_001)


@dataclass(frozen=True)
class Outcome:
    """What the body returned, or the exception that ended it, or how its process died."""

    value: Any = None
    error: str | None = None
    errno: int | None = None
    status: int = 0

    def word(self) -> str:
        """'ok', or an errno's name, or what else happened."""
        if self.status:
            return f"killed by {signal.Signals(self.status).name}"
        if self.errno is not None:
            return errno.errorcode[self.errno]
        return self.error or "ok"


@dataclass(frozen=True)
class Sandbox:
    """Where user code runs: a directory it may write to and one it may not."""

    home: Path
    outside: Path
    network_none: bool = True
    confined: bool = True
    harden: bool = False
    limits: ResourceLimits = LIMITS
    in_server: Callable[[], object] | None = None

    def but(self, **changes: Any) -> "Sandbox":
        return replace(self, **changes)

    def policy(self) -> ConfinementPolicy:
        return ConfinementPolicy(self.network_none, (str(self.home),))

    def run(self, body: Callable[[], Any]) -> Outcome:
        """`body` in the confined child."""
        return _in_child(lambda: self._serve(body))

    def script(self, source: str, name: str = "script.py", *prefix: str) -> tuple[int, str]:
        """A program in the confined child, by exec: its return code, its output."""
        file = self.home / name
        file.write_text(source)
        argv = [*(prefix or (python(), "-I")), str(file)]
        with tempfile.TemporaryFile() as output:
            copy = os.dup(output.fileno())

            def become() -> None:
                read, write = os.pipe()
                relay = os.fork()
                if relay == 0:
                    # A pipe, as in the pod, and not a file that Landlock has an opinion on.
                    os.fchmod(write, 0o622)
                    os.dup2(write, 1)
                    os.dup2(write, 2)
                    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                    os.closerange(3, 3000)
                    for number in (signal.SIGPIPE, signal.SIGXFSZ):
                        signal.signal(number, signal.SIG_DFL)
                    environment = {
                        "PATH": "/usr/local/bin:/usr/bin:/bin",
                        "HOME": str(self.home),
                        "TMPDIR": str(self.home),
                        "LANG": "C.UTF-8",
                    }
                    os.execve(argv[0], argv, environment)
                os.close(write)
                while chunk := os.read(read, 65536):
                    os.write(copy, chunk)
                os._exit(os.waitstatus_to_exitcode(os.waitpid(relay, 0)[1]) & 0xFF)

            outcome = _in_child(lambda: self._serve(become, exits=True))
            output.seek(0)
            os.close(copy)
            return outcome.value, output.read().decode(errors="replace")

    def _serve(self, body: Callable[[], Any], exits: bool = False) -> Any:
        give_up_privileges()
        os.chdir(self.home)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # setuid took it; the pod's server starts with it
        if self.in_server:
            kept = self.in_server()  # noqa: F841 - sockets live as long as their name
        if self.harden:
            confinement.harden_server()
        prepared = confinement.prepare(self.policy()) if self.confined else None
        if exits:
            pid = os.fork()
            if pid == 0:
                _or_die(prepared, self.limits, body)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return _in_child(lambda: (_enter(prepared, self.limits), body())[1])


def _enter(prepared: Prepared | None, limits: ResourceLimits) -> None:
    if prepared is not None:
        prepared.enter(limits)


def _or_die(prepared: Prepared | None, limits: ResourceLimits, body: Callable[[], Any]) -> None:
    try:
        _enter(prepared, limits)
        body()
    finally:
        os._exit(111)


def give_up_privileges() -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)


def _in_child(body: Callable[[], Any]) -> Any:
    """What `body` says in a forked child, as an Outcome; an Outcome of its own is passed on."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            try:
                value = body()
                answer = value if isinstance(value, Outcome) else Outcome(value)
            except BaseException as problem:
                number = problem.errno if isinstance(problem, OSError) else None
                answer = Outcome(error=f"{type(problem).__name__}: {problem}", errno=number)
            os.write(write, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return pickle.loads(data) if data else Outcome(status=os.WTERMSIG(status))


def raw(number: int, *arguments: int) -> int:
    """A system call as user code would make it; OSError if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_ulong(a) for a in arguments])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def python() -> str:
    """An interpreter that the unprivileged user can start (root's own pyenv is not one)."""
    for candidate in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        if candidate and _startable(candidate):
            return candidate
    raise AssertionError("no Python that another user can start: install python3")


def _startable(path: str) -> bool:
    def change_user() -> None:
        give_up_privileges()

    try:
        done = subprocess.run([path, "-Ic", "import json"], preexec_fn=change_user, check=False)  # noqa: PLW1509
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
