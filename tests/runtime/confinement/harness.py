"""A fork server and a confined child, as in the pod: one uid, no privileges.

The test process may be root, so the "server" is a child of it that gives that up first; the
body runs in a child of that server, with `os.getppid()` as the target worth attacking.
"""

import ctypes
import errno
import itertools
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from paddock_runtime import confinement
from paddock_runtime.confinement import ConfinementPolicy, ResourceLimits, linux

# A user of its own for each sandbox, as in the cluster: RLIMIT_NPROC counts a uid's processes on
# the whole machine, so leftovers of one test or a second run would be seen in another.
_uids = itertools.count(1_000_000_000 + os.getpid() % 100_000 * 1000)
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
    uid: int
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

    def script(self, source: str, *command: str) -> tuple[int, str]:
        """A program in the confined child, by exec: its return code and all its output."""
        file = self.home / "script"
        file.write_text(source)
        argv = [*(command or (python(), "-I")), str(file)]
        read, write = os.pipe()
        os.fchmod(write, 0o622)  # as the runtime does: the pipe is its own, not the program's

        def become() -> None:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(write, 1)
            os.dup2(write, 2)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            path = "/usr/local/bin:/usr/bin:/bin"
            home = str(self.home)
            environment = {"PATH": path, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
            os.execve(argv[0], argv, environment)

        server = os.fork()
        if server == 0:
            try:
                outcome = self._serve(become)
                os.write(write, (outcome.error or "").encode())
            finally:
                os._exit((outcome.status and 128 + outcome.status) or outcome.value or 0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            output = pipe.read()
        return os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]), output.decode()

    def _serve(self, body: Callable[[], Any]) -> Outcome:
        give_up_privileges(self.uid)
        os.chdir(self.home)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # setuid took it; the pod's server starts with it
        kept = self.in_server() if self.in_server else None
        if self.harden:
            confinement.harden_server()
        prepared = confinement.prepare(self.policy()) if self.confined else None

        def confined() -> Any:
            if prepared is not None:
                prepared.enter(self.limits)
            return body()

        outcome = _in_child(confined)
        del kept  # sockets live as long as somebody names them
        return outcome


def new_uid() -> int:
    return next(_uids) if os.getuid() == 0 else os.getuid()


def give_up_privileges(uid: int) -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _in_child(body: Callable[[], Any]) -> Outcome:
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
    if data:
        return pickle.loads(data)
    return Outcome(os.WEXITSTATUS(status), status=os.WTERMSIG(status))  # exec, exit or a signal


def raw(number: int, *arguments: int) -> int:
    """A system call as user code would make it; OSError if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_ulong(a) for a in arguments])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


@cache
def python() -> str:
    """An interpreter that the unprivileged user can start (root's own pyenv is not one)."""
    for candidate in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        if candidate and _startable(candidate):
            return candidate
    raise AssertionError("no Python that another user can start: install python3")


def _startable(path: str) -> bool:
    try:
        drop = partial(give_up_privileges, new_uid())
        done = subprocess.run([path, "-Ic", "import json"], check=False, preexec_fn=drop)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
