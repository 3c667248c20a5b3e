"""Signals for programs that may not have begun yet.

A child that was just forked has no process group of its own and ignores what the fork server
ignores: a signal would be lost, and be told as sent. Its channel ends when the program begins.
"""

import select
import socket

from . import processes
from .running import Child


class EarlySignals:
    """Sends at once to what has begun, the others when they do. `poll` wakes the fork server."""

    def __init__(self, poll: "select.poll") -> None:
        self._poll = poll
        self._waiting: dict[int, tuple[Child, list[int]]] = {}

    def send(self, child: Child, number: int) -> None:
        """To the program's first process group."""
        if child.context or _has_begun(child.channel):
            processes.signal_group(child.pid, number)
            return
        channel = child.channel.fileno()
        if channel not in self._waiting:
            self._waiting[channel] = child, []
            self._poll.register(channel, select.POLLIN)
        self._waiting[channel][1].append(number)

    def begun(self, channel: int) -> bool:
        """Whether it was for this that `channel` woke us."""
        if channel not in self._waiting:
            return False
        child, numbers = self._waiting[channel]
        self.forget(child)
        for number in numbers:
            processes.signal_group(child.pid, number)
        return True

    def forget(self, child: Child) -> None:
        """It has ended, or has got its signals."""
        if self._waiting.pop(child.channel.fileno(), None) is not None:
            self._poll.unregister(child.channel)


def _has_begun(channel: socket.socket) -> bool:
    """Or failed to: then it is about to be reaped."""
    try:
        channel.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
