"""The standard input of a program that takes more while it runs."""

import asyncio
import os

from paddock_runtime.server.problems import ProblemError

BUFFER_BYTES = 1 << 20
"""Held for a program that does not read; the kernel's pipe holds 64 KiB more."""
_PIECE = 65536


class StdinPipe:
    """Owns the write end of a pipe. Never blocks: what does not fit is held, up to a bound."""

    def __init__(self, write_end: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._write_end: int | None = write_end
        self._held = bytearray()
        self._closing = False
        os.set_blocking(write_end, False)

    def write(self, data: bytes, close: bool = False) -> None:
        """All of it or nothing. Raises 409 StdinClosed, 429 StdinFull."""
        if self._write_end is None or self._closing:
            raise ProblemError(
                409, "StdinClosed", "stdin: it is closed, by a client or by the program itself"
            )
        if self._held and len(self._held) + len(data) > BUFFER_BYTES:
            raise ProblemError(
                429,
                "StdinFull",
                f"stdin: the program has not read {len(self._held)} bytes that were sent before; "
                "send this again later",
                Retry_After="1",
            )
        self._held += data
        self._closing = close
        self._flush()

    def end(self) -> None:
        """Close at once, whatever is held."""
        if self._write_end is not None:
            self._loop.remove_writer(self._write_end)
            os.close(self._write_end)
            self._write_end = None
        self._held.clear()

    def _flush(self) -> None:
        if self._write_end is None:
            return
        try:
            while self._held:
                written = os.write(self._write_end, memoryview(self._held)[:_PIECE])
                del self._held[:written]
        except BlockingIOError:
            self._loop.add_writer(self._write_end, self._flush)
            return
        except OSError:  # the program has closed it
            self.end()
            return
        self._loop.remove_writer(self._write_end)
        if self._closing:
            self.end()
