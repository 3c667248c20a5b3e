"""SIGINT in a context: KeyboardInterrupt in the code of a cell, and never in our own.

One handler stays in place for good. Whether it raises is one attribute, set and cleared inside
the `try` that catches what it raises; CPython runs handlers only at calls, backward jumps and
the start of a function, so nothing can come between clearing it and being safe.
"""

import contextlib
import select
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

CATCHABLE = tuple(
    number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)
)


class Interrupts:
    """Make it in the main thread, before any code of a user has run.

    An interrupt that comes while no cell runs is ignored, unless the message of the next cell
    waits in `channel` already: it was sent after it and is meant for it.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._armed = False
        self._coming = False
        self._pending = False
        self._handler = self._handle
        # What compares or restores the default handler (asyncio.run does) meets ours.
        signal.default_int_handler = self._handler  # type: ignore[assignment]
        signal.signal(signal.SIGINT, self._handler)
        self._ours = {number: signal.getsignal(number) for number in CATCHABLE}
        self._theirs: dict[int, Any] = {}

    def await_cell(self) -> None:
        """Until a message waits; from then on an interrupt is kept for its cell."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while not poll.poll():
            pass
        self._coming = True

    def run(self, action: Callable[[], None]) -> BaseException | None:
        """Run code of a user, or what calls it. Returns what it raised."""
        error = None
        try:
            try:
                self._armed = True
                self._coming = False
                self._give_back()
                if self._pending:
                    self._pending = False
                    raise KeyboardInterrupt
                action()
            finally:
                self._armed = False
        except BaseException as raised:
            error = raised
        while True:
            try:
                self._take_over()
                break
            except BaseException:  # noqa: S112 - a handler of theirs, at work while replaced
                continue
        try:
            return error
        finally:
            del error  # its frames hold this one, and all that the code worked on

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            raise KeyboardInterrupt
        if self._coming or self._message_waits():
            self._pending = True

    def _message_waits(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(self._channel, select.POLLIN)
            return bool(poll.poll(0))
        return False

    def _give_back(self) -> None:
        while self._theirs:
            number, handler = self._theirs.popitem()
            signal.signal(number, handler)

    def _take_over(self) -> None:
        """What a cell left as handlers may raise; in our own code that would end the context."""
        for number in CATCHABLE:
            handler = signal.getsignal(number)
            if handler is self._ours[number]:
                continue
            if number == signal.SIGINT:
                self._theirs[number] = handler
                signal.signal(number, self._handler)
            elif callable(handler) and not isinstance(handler, _Quiet):
                self._theirs[number] = handler
                signal.signal(number, _Quiet(handler))


def hide_handler(error: BaseException) -> None:
    """Take our handler's frame out of the tracebacks of an error and of those it followed."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        trace = at.__traceback__
        while trace is not None and trace.tb_next is not None:
            if trace.tb_next.tb_frame.f_code is Interrupts._handle.__code__:
                trace.tb_next = None
            trace = trace.tb_next
        at = at.__cause__ or at.__context__


class _Quiet:
    """A user's handler while no cell runs: nobody is there to be told what it raises."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self._handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(BaseException):
            self._handler(number, frame)
