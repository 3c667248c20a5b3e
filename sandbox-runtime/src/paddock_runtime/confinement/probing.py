"""What this node can enforce, found by doing it in children that end at once."""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import landlock, linux, rules, seccomp, server


@dataclass(frozen=True)
class Findings:
    landlock_abi: int
    seccomp: bool
    oom_score: bool

    @property
    def signal_scope(self) -> bool:
        return self.landlock_abi >= 6


@cache
def findings() -> Findings:
    offered = landlock.abi()
    return Findings(
        landlock_abi=offered if offered and _holds(lambda: _try_landlock(offered)) else 0,
        seccomp=seccomp.this_machine() is not None and _holds(_try_seccomp),
        oom_score=_holds(_try_oom_score),
    )


def probe() -> dict[str, object]:
    """The capabilities that are published for this node. Asks once, then remembers."""
    found = findings()
    return {
        "landlockAbi": found.landlock_abi,
        "seccompFilter": found.seccomp,
        "cgroupVersion": 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        "degraded": degraded(found),
    }


def degraded(found: Findings) -> list[str]:
    """One sentence for each thing that a full node would refuse and this one does not."""
    abi = found.landlock_abi
    missing = []
    if abi == 0:
        missing.append(
            "No Landlock: user code can write wherever its user may, read other executions' "
            "memory through /proc, reach abstract sockets of the pod and, when the runtime "
            "restarts, pose as the workspace."
        )
    if 0 < abi < 2:
        missing.append(
            "Landlock ABI 1: files cannot be renamed or linked from one directory to another."
        )
    if 0 < abi < 3:
        missing.append(
            f"Landlock ABI {abi}: user code can truncate files of its user outside its "
            "writable directories."
        )
    if 0 < abi < 6:
        missing.append(
            f"Landlock ABI {abi} has no scope for abstract sockets: user code can reach those "
            "of the pod."
        )
    if abi < 6 and found.seccomp:
        missing.append(
            f"Landlock ABI {abi} has no scope for signals: user code can signal other "
            "executions of its sandbox (the fork server is kept from it by the system call "
            "filter)."
        )
    if not found.seccomp:
        missing.append(
            "No system call filter: network mode None is not kept inside the pod, other "
            "processes of the sandbox can be traced and signalled, and a process can leave the "
            "sweep of its execution."
        )
    if not found.oom_score:
        missing.append(
            "oom_score_adj cannot be set: when memory runs out the kernel may choose the fork "
            "server before the execution that filled it."
        )
    return missing


def _holds(attempt: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        verdict = False
        try:
            verdict = attempt()
        finally:
            os._exit(0 if verdict else 1)
    return os.waitpid(pid, 0)[1] == 0


def _try_landlock(version: int) -> bool:
    """Without a single rule even listing / must fail, and with scopes so must a signal."""
    os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    os.kill(os.getppid(), 0)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict_self(landlock.create(version, network_none=False), version)
    refused = _errno(lambda: os.open("/", os.O_RDONLY | os.O_DIRECTORY)) == errno.EACCES
    if version >= 6:
        refused = refused and _errno(lambda: os.kill(os.getppid(), 0)) == errno.EPERM
    return refused


def _try_seccomp() -> bool:
    machine = seccomp.this_machine()
    if machine is None:
        return False
    code = seccomp.assemble(rules.rules_for(network_none=True), machine)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.Filter(code).install()
    unix = _errno(lambda: socket.socket(socket.AF_UNIX).close())
    inet = _errno(lambda: socket.socket(socket.AF_INET).close())
    return unix is None and inet == errno.EACCES


def _try_oom_score() -> bool:
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    server.set_oom_score()
    return True


def _errno(call: Callable[[], object]) -> int | None:
    try:
        call()
    except OSError as error:
        return error.errno
    return None
