"""The children of the fork server: forking them, one ahead of time, and knowing them."""

import array
import json
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

from ..confinement import Prepared, ResourceLimits
from . import processes
from .child import stand_by
from .environment import base_environment
from .file_process import FileServerProcess
from .running import Child
from .settings import Settings

OVERHEAD = 4
"""Processes of this uid that are ours: supervisor, fork server, file server and the child that
stands by."""
STANDBY_DELAY = 0.003
"""A new child is made when the loop was quiet for so long, not in the way of an execution."""


class Children:
    """`standby_at` is when the next child should stand by, None while one does."""

    def __init__(self, settings: Settings, prepared: Prepared) -> None:
        self.readable = prepared.ruleset is not None
        """Whether /proc shows them to this process: without Landlock they are closed."""
        self._settings = settings
        self._prepared = prepared
        self._environment = base_environment(settings)
        self._by_pid: dict[int, Child] = {}
        self.file_server = FileServerProcess(settings, prepared)
        self._standby: Child | None = None
        self._mark = 1000
        self.standby_at: float | None = 0.0

    @property
    def pids(self) -> set[int]:
        """Of those that were taken and not collected."""
        return set(self._by_pid)

    def others(self) -> set[int]:
        """Processes that belong to no execution."""
        standby = set() if self._standby is None else {self._standby.pid}
        return {os.getpid(), os.getppid()} | standby | self.file_server.pids

    def take(self, now: float) -> Child | None:
        """A child that waits for its header; None if the kernel refuses another process."""
        child = self._standby or self._fork()
        self._standby = None
        self.standby_at = now + STANDBY_DELAY
        if child is not None:
            self._by_pid[child.pid] = child
        return child

    def send(self, child: Child, header: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Never waits: a child that cannot be sent it, such as a context that does not read, is
        ended."""
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            child.channel.sendmsg([json.dumps(header).encode()], passed, socket.MSG_DONTWAIT)
        except OSError:  # or it died meanwhile, and is reaped as any other
            processes.signal(child.pid, signal.SIGKILL)

    def gone(self, pid: int) -> Child | None:
        """Forget a child that is about to be collected; None for an orphan or who stood by."""
        if self._standby is not None and self._standby.pid == pid:
            self._standby.channel.close()
            self._standby = None
        return self._by_pid.pop(pid, None)

    def stand_by_soon(self, now: float) -> None:
        if self._standby is None:
            self.standby_at = now

    def stand_by_if_due(self, now: float) -> None:
        """Blocks for a fork: to be called when nothing else is to be done."""
        if self.standby_at is not None and now >= self.standby_at:
            self.standby_at = None
            self._standby = self._fork()

    def _fork(self) -> Child | None:
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
            cpu = self._settings.cpu_time_ms
            stand_by(
                theirs,
                lambda: self._prepared.enter(self._limits(mark)),
                self._prepared.ruleset,
                self._environment,
                None if cpu is None else -(-cpu // 1000),
            )
        theirs.close()
        return Child(pid=pid, mark=mark, channel=ours)

    def _limits(self, mark: int) -> ResourceLimits:
        """All but CPU time, which depends on what the child will be."""
        return ResourceLimits(
            processes=self._settings.processes + OVERHEAD,
            cpu_seconds=None,
            file_bytes=self._settings.file_bytes,
            locks_mark=mark,
            nofile=4096,
        )
