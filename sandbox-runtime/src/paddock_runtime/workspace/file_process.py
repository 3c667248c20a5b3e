"""The fork server's side of the file server: starting it, and another one when it dies."""

import contextlib
import os
import socket

from .. import protocol
from ..confinement import Prepared
from .file_server import serve_files
from .settings import Settings

RESTART_DELAY, LONG_DELAY = 0.05, 1.0
"""Seconds between its death and the next; the long one if it did not live for so long."""


class FileServerProcess:
    """`due` is when the next one is to be started, None while one lives."""

    def __init__(self, settings: Settings, prepared: Prepared) -> None:
        self._settings = settings
        self._prepared = prepared
        self._pid = 0
        self._started = 0.0
        self.due: float | None = 0.0

    @property
    def pids(self) -> set[int]:
        return {self._pid} if self._pid else set()

    def start_if_due(self, now: float, control: socket.socket) -> None:
        """Fork one and pass its socket to the runtime."""
        if self.due is None or now < self.due:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            try:
                pid = os.fork()
            except OSError:
                self.due = now + RESTART_DELAY
                return
            if pid == 0:
                serve_files(ours, self._settings, self._prepared)
            self._pid, self._started, self.due = pid, now, None
            with contextlib.suppress(OSError):  # gone: the next poll sees the end
                protocol.send(control, protocol.FileServer(), [theirs.fileno()])

    def ended(self, pid: int, now: float) -> bool:
        """Whether it was this process that has just been collected."""
        if pid != self._pid:
            return False
        lived = now - self._started
        self._pid = 0
        self.due = now + (RESTART_DELAY if lived > LONG_DELAY else LONG_DELAY)
        return True
