"""The fork server: takes requests from the runtime, forks, reaps, says how it ended.

One thread, one poll loop. It is the subreaper of everything that user code starts, and what is
left of an execution is gone before its end is told.
"""

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

from .. import cgroup, protocol
from ..confinement import (
    Prepared,
    ResourceLimits,
)
from . import processes
from .child import stand_by
from .control import connect
from .environment import base_environment
from .files import FileError, write_files
from .python_main import FLUSH_SIGNAL
from .running import FLUSH_GRACE, Child
from .scratch import sweep_shared_memory
from .settings import Settings
from .watchdog import Watchdog

OVERHEAD = 3
"""Processes of this uid that are ours: supervisor, fork server, the child that stands by."""
SWEEP_SECONDS = 5.0
STANDBY_DELAY = 0.003
"""A new child is made when the loop was quiet for so long, not in the way of an execution."""
OUR_EVIDENCE = ("oom", "usage", "peak", "pids")


class ForkServer:
    """Children by pid, the control connection and the loop between them."""

    def __init__(
        self, settings: Settings, prepared: Prepared, files: cgroup.CgroupFiles, wake: int
    ) -> None:
        self._settings = settings
        self._prepared = prepared
        self._files = files
        self._environment = base_environment(settings)
        self._watchdog = Watchdog(settings, files)
        self._running: dict[int, Child] = {}
        self._standby: Child | None = None
        self._standby_at: float | None = 0.0
        self._mark = 1000
        self._poll = select.poll()
        self._wake = wake
        self._poll.register(wake, select.POLLIN)

    def connect(self, capabilities: dict[str, Any]) -> bool:
        """Blocks until the runtime is there: no user code runs without it. False: it is over."""
        control = connect(self._settings)
        if control is None:
            return False
        self._control = control
        names = [name for name in OUR_EVIDENCE if name in self._files.descriptors]
        hello = protocol.Hello(descriptors=names, capabilities=capabilities)
        protocol.send(self._control, hello, [self._files.descriptors[name] for name in names])
        self._poll.register(self._control, select.POLLIN)
        return True

    def run(self) -> int:
        while True:
            ready = self._poll.poll(self._timeout())
            for descriptor, _ in ready:
                if descriptor == self._wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                elif (code := self._receive()) is not None:
                    return code
            self._reap()
            now = time.monotonic()
            self._kill_overdue(now)
            for found in self._watchdog.look(now, self._running, self._others):
                self._kill(found.child, found.reason, found.message)
            if not ready and self._standby_at is not None and now >= self._standby_at:
                self._standby_at = None
                self._standby = self._fork()

    def _timeout(self) -> float | None:
        """Milliseconds until something is due; None waits for an event."""
        now = time.monotonic()
        due = [child.kill_at for child in self._running.values() if child.kill_at is not None]
        if self._standby_at is not None:
            due.append(self._standby_at)
        if self._watchdog.due is not None:
            due.append(self._watchdog.due)
        return max(0.0, (min(due) - now) * 1000) if due else None

    def _receive(self) -> int | None:
        """Handle one message; an exit code when the connection is over."""
        try:
            received = protocol.receive(self._control)
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
                    for child in self._running.values():
                        if child.id == message.id:
                            self._kill(child, message.reason, None)
                case protocol.WriteFiles():
                    self._write_files(message, descriptors[0])
                case protocol.Stop():
                    return 0
                case _:
                    return 1
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return None

    def _fork(self) -> Child | None:
        """A child that stands by; None if the kernel refuses another process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._mark += 1
        mark = self._mark
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return None
        if pid == 0:
            stand_by(
                theirs,
                lambda: self._prepared.enter(self._limits(mark)),
                self._prepared.ruleset,
                self._environment,
            )
        theirs.close()
        return Child(pid=pid, mark=mark, channel=ours)

    def _limits(self, mark: int) -> ResourceLimits:
        cpu = self._settings.cpu_time_ms
        return ResourceLimits(
            processes=self._settings.processes + OVERHEAD,
            cpu_seconds=None if cpu is None else -(-cpu // 1000),
            file_bytes=self._settings.file_bytes,
            locks_mark=mark,
            nofile=4096,
        )

    def _start(self, start: protocol.Start, descriptors: list[int]) -> None:
        child = self._standby or self._fork()
        self._standby = None
        now = time.monotonic()
        self._standby_at = now + STANDBY_DELAY
        if child is None:
            self._cannot_start(start.id, "the workspace has no process left to give")
            return
        child.id, child.python, child.started = start.id, start.python, start.handed_over
        child.oom_kills = self._files.oom_kills() or 0
        child.disk_bytes = self._watchdog.disk_bytes
        self._watchdog.started(now)
        self._running[child.pid] = child
        header = json.dumps({"python": start.python}).encode()
        with contextlib.suppress(OSError):  # it died standing by: reaped as any other
            socket.send_fds(child.channel, [header], descriptors)

    def _cannot_start(self, identity: str, message: str) -> None:
        ended = protocol.Ended(
            id=identity, status=0, duration_ms=0, message=message, start_error=126
        )
        self._tell(ended)

    def _kill(self, child: Child, reason: str, message: str | None) -> None:
        """End a child: the first reason counts. Python may flush first, others cannot."""
        if child.kill_reason is not None:
            return
        child.kill_reason, child.kill_message = reason, message
        if child.python:
            child.kill_at = time.monotonic() + FLUSH_GRACE
            _signal(child.pid, FLUSH_SIGNAL)
        else:
            child.kill_at = time.monotonic()
            _signal(child.pid, signal.SIGKILL)

    def _kill_overdue(self, now: float) -> None:
        for child in self._running.values():
            if child.kill_at is not None and child.kill_at <= now:
                child.kill_at = None
                _signal(child.pid, signal.SIGKILL)

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
        child = self._running.pop(pid, None)
        mark = None if child else processes.mark_of(pid)
        _, status, usage = os.wait4(pid, 0)
        cpu_seconds = usage.ru_utime + usage.ru_stime
        if child is None:
            for other in self._running.values():
                if other.mark == mark:
                    other.orphan_cpu_ms += round(cpu_seconds * 1000)
            if self._standby is not None and self._standby.pid == pid:
                self._standby.channel.close()
                self._standby = None
            return
        now = time.monotonic()
        processes.kill_group(pid)
        spare = self._others() | set(self._running)
        if not processes.sweep(child.mark, spare, self._reap, SWEEP_SECONDS):
            raise RuntimeError("something of an execution cannot be killed")
        self._watchdog.ended(now, len(self._running))
        if not self._running and os.getppid() == 1:
            sweep_shared_memory()
        oom_kills = self._files.oom_kills() or 0
        self._tell(child.ended(now, status, cpu_seconds, usage.ru_maxrss, oom_kills))
        self._standby_at = now if self._standby is None else None

    def _others(self) -> set[int]:
        """Processes that belong to no execution."""
        standby = set() if self._standby is None else {self._standby.pid}
        return {os.getpid(), os.getppid()} | standby

    def _write_files(self, request: protocol.WriteFiles, descriptor: int) -> None:
        error, passing = None, False
        try:
            listed = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
            write_files(
                self._settings.workspace_dir,
                [(file["path"], file["content"]) for file in listed],
                keep=request.keep,
            )
        except FileError as problem:
            error, passing = str(problem), problem.passing
        self._tell(protocol.FilesWritten(request.number, error, passing))

    def _tell(self, message: protocol.Message) -> None:
        """The socket blocks: an end must not be lost, and the runtime always reads."""
        with contextlib.suppress(OSError):  # gone: the next poll sees the end of the connection
            protocol.send(self._control, message)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
