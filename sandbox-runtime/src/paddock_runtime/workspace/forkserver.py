"""The fork server: takes requests from the runtime, forks, reaps, says how it ended.

One thread, one poll loop. It is the subreaper of everything that user code starts, and what is
left of an execution is gone before its end is told.
"""

import contextlib
import os
import select
import signal
import time
from dataclasses import replace
from typing import Any

from .. import cgroup, protocol
from . import processes
from .children import Children
from .contexts import Contexts
from .control import connect
from .files import carry_out
from .python_main import FLUSH_SIGNAL
from .running import FLUSH_GRACE, INTERRUPT_GRACE, Child, Job, Reaped
from .scratch import sweep_shared_memory
from .settings import Settings
from .signals import EarlySignals
from .watchdog import Watchdog

SWEEP_SECONDS = 5.0
OUR_EVIDENCE = ("oom", "usage", "peak", "pids")
AT_ONCE = ("MemoryLimit", "ProcessLimit")
"""Reasons for which a context is not asked to interrupt its code: that would take too long."""


class ForkServer:
    """Executions, the control connection and the loop between them."""

    def __init__(
        self, settings: Settings, children: Children, files: cgroup.CgroupFiles, wake: int
    ) -> None:
        self._settings = settings
        self._children = children
        self._files = files
        self._watchdog = Watchdog(settings, files, children.readable)
        self._jobs: dict[str, Job] = {}
        """All executions by id, those among them whose first process has ended."""
        self._poll = select.poll()
        self._wake = wake
        self._poll.register(wake, select.POLLIN)
        self._contexts = Contexts(children, self._poll, self._tell)
        self._signals = EarlySignals(self._poll)

    def connect(self, capabilities: dict[str, Any]) -> bool:
        """Blocks until the runtime is there: no user code runs without it. False: it is over."""
        control = connect(self._settings)
        if control is None:
            return False
        self._control = control
        names = [name for name in OUR_EVIDENCE if name in self._files.descriptors]
        hello = protocol.Hello(descriptors=names, capabilities=capabilities)
        protocol.send(self._control, hello, [self._files.descriptors[name] for name in names])
        self._children.file_server.start_if_due(time.monotonic(), self._control)
        self._poll.register(self._control, select.POLLIN)
        return True

    def run(self) -> int:
        while True:
            ready = self._poll.poll(self._timeout())
            for descriptor, _ in ready:
                if descriptor == self._wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                elif descriptor == self._control.fileno():
                    if (code := self._receive()) is not None:
                        return code
                elif self._signals.begun(descriptor):
                    pass
                elif (done := self._contexts.said(descriptor)) is not None:
                    self._finish(*done)
            self._reap()
            now = time.monotonic()
            self._kill_overdue(now)
            running, resting = list(self._jobs.values()), self._contexts.resting
            for found in self._watchdog.look(now, running, resting, self._children.others):
                if found.job.rests:
                    self._contexts.end(found.job, found.reason, found.message)
                else:
                    self._kill(found.job, found.reason, found.message)
            self._children.file_server.start_if_due(now, self._control)
            if not ready:
                self._children.stand_by_if_due(now)

    def _timeout(self) -> float | None:
        """Milliseconds until something is due; None waits for an event."""
        now = time.monotonic()
        due = [job.kill_at for job in self._jobs.values() if job.kill_at is not None]
        if self._children.standby_at is not None:
            due.append(self._children.standby_at)
        if self._watchdog.due is not None:
            due.append(self._watchdog.due)
        if self._children.file_server.due is not None:
            due.append(self._children.file_server.due)
        return max(0.0, (min(due) - now) * 1000) if due else None

    def _receive(self) -> int | None:
        """Handle one message; an exit code when the connection is over."""
        try:
            received = protocol.receive(self._control, protocol.decode)
        except OSError:
            received = None
        if received is None:
            return 1
        message, descriptors = received
        try:
            match message:
                case protocol.Start():
                    self._start(message, descriptors)
                case protocol.Kill():
                    if job := self._jobs.get(message.id):
                        self._kill(job, message.reason, None)
                case protocol.Signal():
                    if job := self._jobs.get(message.id):
                        self._signal(job, message.number)
                case protocol.NewContext():
                    self._contexts.make(message.id, descriptors[0])
                case protocol.CloseContext():
                    self._close_context(message.id)
                case protocol.WriteFiles():
                    directory = self._settings.workspace_dir
                    self._tell(carry_out(message, descriptors[0], directory))
                case protocol.Stop():
                    return 0
                case _:
                    return 1
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return None

    def _start(self, start: protocol.Start, descriptors: list[int]) -> None:
        now = time.monotonic()
        if start.context is None:
            child = self._children.take(now)
        else:
            child = self._contexts.idle(start.context)
        if child is None:
            what = "context to run it in" if start.context else "process left to give"
            self._cannot_start(start, f"the workspace has no {what}")
            return
        job = Job(
            start.id,
            child,
            start.handed_over,
            python=start.python,
            background=start.background,
            oom_kills=self._files.oom_kills() or 0,
            disk_bytes=self._watchdog.disk_bytes,
            cpu_ms=self._contexts.cpu_ms(child) if start.context else 0,
        )
        child.resting = None
        child.job = self._jobs[job.id] = job
        self._watchdog.started(now, job)
        self._children.send(child, {"id": start.id, "python": start.python}, descriptors)

    def _cannot_start(self, start: protocol.Start, message: str) -> None:
        self._tell(
            protocol.Ended(
                id=start.id,
                status=int(signal.SIGKILL) if start.context else 0,
                duration_ms=0,
                message=message,
                start_error=None if start.context else 126,
                kill_reason="ContextDied" if start.context else None,
            )
        )

    def _kill(self, job: Job, reason: str, message: str | None) -> None:
        """End an execution: the first reason counts. Python may flush first, code in a context
        is interrupted, others can do nothing."""
        if job.kill_reason is not None or self._jobs.get(job.id) is not job:
            return
        job.kill_reason, job.kill_message = reason, message
        child, now = job.child, time.monotonic()
        if job.reaped is not None:
            self._finish(job, _as_killed(job.reaped))
        elif child.context and reason not in AT_ONCE:
            job.kill_at = now + INTERRUPT_GRACE
            processes.signal_group(child.pid, signal.SIGINT)
        elif job.python and not child.context:
            job.kill_at = now + FLUSH_GRACE
            processes.signal(child.pid, FLUSH_SIGNAL)
        else:
            job.kill_at = now
            processes.signal(child.pid, signal.SIGKILL)

    def _signal(self, job: Job, number: int) -> None:
        if job.reaped is None:
            self._signals.send(job.child, number)
        else:  # its first process, and perhaps its group's number, is gone
            processes.signal_all(job.child.mark, self._children.others(), number)

    def _kill_overdue(self, now: float) -> None:
        for job in self._jobs.values():
            if job.kill_at is not None and job.kill_at <= now:
                job.kill_at = None
                processes.signal(job.child.pid, signal.SIGKILL)

    def _close_context(self, identity: str) -> None:
        child = self._contexts.get(identity)
        if child is None:
            return
        if child.job is not None and child.job.kill_reason is None:
            child.job.kill_reason = "Cancelled"
        processes.signal(child.pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Collect every dead child; the end of a main process ends its execution."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            self._collect(dead.si_pid)

    def _collect(self, pid: int) -> None:
        child = self._children.gone(pid)
        mark = child.mark if child else processes.mark_of(pid)
        _, status, usage = os.wait4(pid, 0)
        cpu_ms = round((usage.ru_utime + usage.ru_stime) * 1000)
        if self._children.file_server.ended(pid, time.monotonic()):
            return
        if child is None:
            self._collect_orphan(mark, cpu_ms, usage.ru_oublock * 512)
            return
        reaped = Reaped(status, cpu_ms, usage.ru_maxrss * 1024, bool(child.context))
        job = child.job
        if child.context:
            self._sweep(child)
            self._contexts.ended(child, status, self._files.oom_kills() or 0)
        if job is None:
            return
        if not self._goes_on(job):
            self._finish(job, reaped)
        elif job.kill_reason is None:
            job.reaped = reaped
        else:
            self._finish(job, _as_killed(reaped))

    def _collect_orphan(self, mark: int | None, cpu_ms: int, written: int) -> None:
        for job in list(self._jobs.values()):
            if job.child.mark == mark:
                job.child.orphan_cpu_ms += cpu_ms
                job.child.orphan_written_bytes += written
                ending = job.child.job is None
                if job.reaped is not None and not ending and not self._goes_on(job):
                    self._finish(job, job.reaped)

    def _goes_on(self, job: Job) -> bool:
        """In the background an execution has ended when the last of its processes has."""
        return job.background and processes.any_left(job.child.mark, self._children.others())

    def _finish(self, job: Job, reaped: Reaped) -> None:
        """Whatever is left of an execution goes, then its end is told. A context lives on."""
        now = time.monotonic()
        job.child.job = None
        if job.child.context:
            job.child.resting = Job.rest(job.child, now, self._files.oom_kills() or 0)
        else:
            self._sweep(job.child)
        del self._jobs[job.id]  # not before: what the sweep collects was its own
        self._watchdog.ended(now, len(self._jobs), self._contexts.any)
        if not self._jobs and not self._contexts.any and os.getppid() == 1:
            sweep_shared_memory()
        self._tell(job.ended(now, reaped, self._files.oom_kills() or 0))
        if not job.child.context:
            self._signals.forget(job.child)
            job.child.channel.close()
        self._children.stand_by_soon(now)

    def _sweep(self, child: Child) -> None:
        processes.kill_group(child.pid)
        spare = self._children.others() | self._children.pids
        if not processes.sweep(child.mark, spare, self._reap, SWEEP_SECONDS):
            raise RuntimeError("something of an execution cannot be killed")

    def _tell(self, message: protocol.Message) -> None:
        """The socket blocks: an end must not be lost, and the runtime always reads."""
        with contextlib.suppress(OSError):  # gone: the next poll sees the end of the connection
            protocol.send(self._control, message)


def _as_killed(reaped: Reaped) -> Reaped:
    """In the background, when the first process had ended and the others are killed: that is what
    ends the execution."""
    return replace(reaped, status=int(signal.SIGKILL))
