"""The fork server's side of contexts: interpreters that stay after their execution.

What an interpreter says comes from a process that user code shares. It can lie about its own
executions; anything that is not in turn ends it, so it cannot keep the fork server busy.
"""

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from .. import protocol
from . import processes
from .children import Children
from .running import Child, Job, Reaped, cpu_ms_of, peak_memory_of, plain

_SAYS_BYTES = 4096


class Contexts:
    """By id. `poll` wakes the fork server when one says something."""

    def __init__(
        self,
        children: Children,
        poll: "select.poll",
        tell: Callable[[protocol.Message], None],
    ) -> None:
        self._children = children
        self._poll = poll
        self._tell = tell
        self._by_id: dict[str, Child] = {}
        self._by_channel: dict[int, Child] = {}
        self._failures: dict[str, str] = {}

    @property
    def any(self) -> bool:
        return bool(self._by_id)

    @property
    def resting(self) -> list[Job]:
        """Of those that have run something and wait for more."""
        return [child.resting for child in self._by_id.values() if child.resting is not None]

    def get(self, identity: str) -> Child | None:
        return self._by_id.get(identity)

    def idle(self, identity: str) -> Child | None:
        """One that waits for code."""
        child = self._by_id.get(identity)
        if child is None or not child.ready or child.job is not None:
            return None
        return child if self._by_channel.get(child.channel.fileno()) is child else None

    def make(self, identity: str, request: int) -> None:
        """Told later: ContextReady, or ContextEnded where it does not come about."""
        child = self._children.take(time.monotonic())
        if child is None:
            message = "the workspace has no process left to give"
            self._tell(protocol.ContextEnded(identity, message))
            return
        child.context = identity
        self._by_id[identity] = child
        self._by_channel[child.channel.fileno()] = child
        self._poll.register(child.channel, select.POLLIN)
        self._children.send(child, {"context": True}, [request])

    def cpu_ms(self, child: Child) -> int:
        """What it has used so far."""
        return cpu_ms_of(child.pid) + child.orphan_cpu_ms

    def said(self, channel: int) -> tuple[Job, Reaped] | None:
        """Hear an interpreter; the execution that it says has ended, if it does."""
        child = self._by_channel.get(channel)
        if child is None:
            return None
        match _message(child.channel):
            case {"ready": True} if not child.ready:
                child.ready = True
                self._tell(protocol.ContextReady(child.context))
            case {"code": int(), "message": str(message)} if not child.ready:
                self._failures[child.context] = plain(message)
            case {"done": int(code), "interrupted": bool(interrupted)} if child.job is not None:
                return child.job, self._reaped(child, child.job, code, interrupted)
            case _:
                self._give_up(child)
        return None

    def end(self, resting: Job, reason: str, message: str) -> None:
        """What was left running in it has done what must end it."""
        if self._by_id.get(resting.child.context) is not resting.child:
            return  # it has ended meanwhile
        resting.kill_reason = reason
        self._failures[resting.child.context] = message
        self._give_up(resting.child)

    def ended(self, child: Child, status: int, oom_kills: int) -> None:
        """It was collected, and nothing of it is left; `oom_kills` are the kernel's so far."""
        self._give_up(child)
        del self._by_id[child.context]
        child.channel.close()
        message = self._failures.pop(child.context, None) or _how(child, status, oom_kills)
        self._tell(protocol.ContextEnded(child.context, message))

    def _reaped(self, child: Child, job: Job, code: int, interrupted: bool) -> Reaped:
        """In the form of wait4. Interrupted by us is as if we had killed it."""
        killed = interrupted and job.kill_reason is not None
        status = int(signal.SIGKILL) if killed else (code & 0xFF) << 8
        return Reaped(status, cpu_ms_of(child.pid), peak_memory_of(child.pid))

    def _give_up(self, child: Child) -> None:
        """Listen no more and end it; nothing if that was done before."""
        if self._by_channel.pop(child.channel.fileno(), None) is not None:
            self._poll.unregister(child.channel)
            processes.signal(child.pid, signal.SIGKILL)


def _message(channel: socket.socket) -> Any:
    """None at the end and for what is no JSON."""
    try:
        return json.loads(channel.recv(_SAYS_BYTES, socket.MSG_DONTWAIT))
    except (OSError, ValueError, RecursionError):
        return None


def _how(child: Child, status: int, oom_kills: int) -> str:
    job = child.job or child.resting
    if job is not None and job.kill_reason is not None:
        return f"its interpreter was ended with its code, for {job.kill_reason}"
    if job is not None and status == signal.SIGKILL and oom_kills > job.oom_kills:
        return "the workspace reached its memory limit, and the kernel ended its interpreter"
    if os.WIFEXITED(status):
        return f"its interpreter exited with {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name if number < signal.SIGRTMIN else f"signal {number}"
    return f"its interpreter was ended by {name}"
