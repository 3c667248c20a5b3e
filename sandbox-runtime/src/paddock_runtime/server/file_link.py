"""The runtime's end of the file server's socket: requests, and their answers by number.

The other side is the workspace's: whatever comes from it is checked before it is used.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from paddock_runtime import file_protocol as wire
from paddock_runtime.server import logs
from paddock_runtime.server.file_problems import refused, unavailable
from paddock_runtime.server.problems import ProblemError

IN_FLIGHT = 32
"""Requests without an answer; further ones wait. The socket's buffer holds so many unless their
paths are of the longest; what it does not hold is answered 503."""
CONNECT_PATIENCE = 2.0
"""Seconds for a file server that has just died, or has not come yet."""
PATIENCE = 20.0
"""Seconds for an answer. A walk over all files or a deletion may take ten."""
_AT_ONCE = 16
_ANSWER = TypeAdapter(wire.Answer)


Make = Callable[[int], wire.Numbered]
"""A request, given its number."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and the descriptor that came with it."""

    answer: wire.Answer
    descriptor: int | None


class FileLink:
    """Needs a running loop. At most one connection at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._there = asyncio.Event()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self.connections = 0

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self, descriptor: int) -> None:
        """Take over the socket of a new file server; the one before is gone."""
        self.lost()
        try:
            made = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            _refuse()
            return
        if (made.family, made.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
            made.close()
            _refuse()
            return
        made.setblocking(False)
        self._socket = made
        self._there.set()
        self.connections += 1
        self._loop.add_reader(made, self._read)

    def lost(self) -> None:
        """Whoever waits is told that it may be repeated."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._there.clear()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(_not_ready())

    async def ask(self, path: bytes, make: Make, field: str = "path") -> wire.Answer:
        """Raises ProblemError, also what the file server refuses, as of `path` in `field`."""
        answered = await self._exchange(make)
        if answered.descriptor is not None:
            os.close(answered.descriptor)
        return _accepted(answered.answer, path, field)

    async def open(self, path: bytes, make: Make) -> tuple[wire.Answer, int]:
        """As `ask`, with the descriptor, which is the caller's to close."""
        answered = await self._exchange(make)
        if answered.descriptor is None:
            _accepted(answered.answer, path, "path")
            raise unavailable("FileServerBusy", "the file server sent no descriptor")
        return answered.answer, answered.descriptor

    async def _exchange(self, make: Make) -> Answered:
        async with self._slots:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_PATIENCE):
                    await self._there.wait()
            number = next(self._numbers)
            future: asyncio.Future[Answered] = self._loop.create_future()
            self._waiting[number] = future
            try:
                self._send(make(number))
                async with asyncio.timeout(PATIENCE):
                    return await future
            except TimeoutError as error:
                self._discard_late(future)
                raise unavailable(
                    "FileServerBusy", f"the file system did not answer within {PATIENCE:.0f} s"
                ) from error
            except asyncio.CancelledError:
                self._discard_late(future)
                raise
            finally:
                self._waiting.pop(number, None)

    def abort(self, upload: int) -> None:
        """Never raises: a file server that is gone has no uploads."""
        with contextlib.suppress(ProblemError):
            self._send(wire.Abort(upload))

    def _send(self, request: wire.Request) -> None:
        if self._socket is None:
            raise _not_ready()
        try:
            self._socket.send(wire.encode_request(request))
        except BlockingIOError as error:
            raise unavailable("FileServerBusy", "the file server does not keep up") from error
        except OSError as error:
            raise _not_ready() from error

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            if self._socket is None:
                return
            try:
                data, descriptors, flags, _ = socket.recv_fds(self._socket, wire.MAX_MESSAGE, 1)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors, flags = b"", [], 0
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            if not data:
                logs.warning("files.lost", connection=self.connections)
                self.lost()
                return
            self._take(data, descriptors, flags)

    def _take(self, data: bytes, descriptors: list[int], flags: int) -> None:
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("a message that is too large")
            answer = _ANSWER.validate_json(data, strict=True)
        except (ValidationError, ValueError) as error:
            logs.error("files.broken", error=str(error)[:200])
            for descriptor in descriptors:
                os.close(descriptor)
            self.lost()
            return
        answered = Answered(answer, descriptors[0] if descriptors else None)
        future = self._waiting.get(answer.number)
        if future is None or future.done():
            self._discard(answered)
        else:
            future.set_result(answered)

    def _discard_late(self, future: asyncio.Future[Answered]) -> None:
        """An answer that came in the very turn of the loop in which its waiter gave up."""
        if future.done() and not future.cancelled() and future.exception() is None:
            self._discard(future.result())

    def _discard(self, answered: Answered) -> None:
        """Nobody waits for it any more."""
        if answered.descriptor is not None:
            os.close(answered.descriptor)
        if answered.answer.upload:
            self.abort(answered.answer.upload)


def _refuse() -> None:
    logs.error("files.refused", error="the workspace sent no socket for its file server")


def _accepted(answer: wire.Answer, path: bytes, field: str) -> wire.Answer:
    if answer.error is not None:
        raise refused(answer.error, field, path, answer.detail)
    return answer


def _not_ready() -> ProblemError:
    return unavailable("FileServerNotReady", "the workspace's file server is not there just now")
