"""From evidence to the one reason why an execution ended. Pure."""

import os
import signal
from dataclasses import dataclass

from paddock_api.messages import Limits
from paddock_api.reasons import ExecutionReason as Reason


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known at the end.

    `status` is wait4's, None when the workspace was lost and nobody waited. `kill_reason` is
    why Paddock killed it (asked by the runtime or by the workspace's watchdog). `oom_kills`
    are the kernel's kills in the workspace while it ran; `cpu_limit_ms` is None where there
    is none. With `context_died` the status is that of a context's interpreter; `client_killed`
    says that a client sent SIGKILL, which is not to be taken for the kernel's.
    """

    status: int | None
    kill_reason: str | None = None
    start_error: int | None = None
    oom_kills: int = 0
    cpu_ms: int = 0
    cpu_limit_ms: int | None = None
    context_died: bool = False
    client_killed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    reason: Reason
    exit_code: int | None = None
    signal: str | None = None


_OURS = frozenset({signal.SIGKILL, signal.SIGRTMAX})
"""Signals with which Paddock ends a program."""


def decide(evidence: Evidence) -> Verdict:
    """Exactly one reason. A program that managed to exit by itself has Exited, whatever was
    being done to it at that moment."""
    if evidence.start_error is not None:
        return Verdict(Reason.START_FAILED, exit_code=evidence.start_error)
    if evidence.status is None:
        if evidence.kill_reason is not None:
            return Verdict(Reason(evidence.kill_reason))
        return Verdict(Reason.MEMORY_LIMIT if evidence.oom_kills else Reason.WORKSPACE_LOST)
    if os.WIFEXITED(evidence.status):
        reason = Reason.CONTEXT_DIED if evidence.context_died else Reason.EXITED
        return Verdict(reason, exit_code=os.WEXITSTATUS(evidence.status))
    number = os.WTERMSIG(evidence.status)
    if number in _OURS and evidence.kill_reason is not None:
        return Verdict(Reason(evidence.kill_reason))
    if number == signal.SIGXCPU and evidence.cpu_limit_ms is not None:
        return Verdict(Reason.CPU_LIMIT)
    if number == signal.SIGKILL and not evidence.client_killed:
        if evidence.oom_kills:
            return Verdict(Reason.MEMORY_LIMIT)
        # It ignored SIGXCPU and the kernel killed it a second later.
        if evidence.cpu_limit_ms is not None and evidence.cpu_ms >= evidence.cpu_limit_ms:
            return Verdict(Reason.CPU_LIMIT)
    reason = Reason.CONTEXT_DIED if evidence.context_died else Reason.SIGNALED
    return Verdict(reason, signal=signal_name(number))


def explain(verdict: Verdict, limits: Limits) -> str | None:
    """A sentence where neither the reason alone nor whoever killed it says enough."""
    match verdict:
        case Verdict(reason=Reason.MEMORY_LIMIT):
            return (
                f"the workspace reached its memory limit of {limits.memory_bytes} bytes and the "
                "kernel ended it; use less memory or a template with more"
            )
        case Verdict(reason=Reason.CPU_LIMIT):
            return f"it used up its {limits.cpu_time_ms} ms of CPU time"
        case Verdict(reason=Reason.WORKSPACE_LOST):
            return "the workspace died under it; a new one is started"
        case Verdict(reason=Reason.CONTEXT_DIED, exit_code=code, signal=killer):
            how = f"was ended by {killer}" if killer else f"exited with {code}"
            return f"its context's interpreter {how}; restart the context to go on"
        case Verdict(signal="SIGXFSZ") if limits.file_bytes is not None:
            return f"it wrote a file larger than {limits.file_bytes} bytes"
        case Verdict(signal="SIGSYS"):
            return "it made a system call that is not allowed in a sandbox"
    return None


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > 31 else f"SIG{number}"
