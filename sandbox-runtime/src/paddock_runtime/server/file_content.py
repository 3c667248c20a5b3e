"""Reads and writes content by descriptor, in threads that are there from the start.

A volume may be slow or hang, and the runtime's loop must not. During a fork bomb no thread could
be started any more.
"""

import asyncio
import fcntl
import os
import signal
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

THREADS = 4
T = TypeVar("T")


class FileThreads:
    """A pool whose threads exist."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(
            THREADS, thread_name_prefix="files", initializer=_leave_signals_to_the_main_thread
        )
        together = threading.Barrier(THREADS)
        for future in [self._pool.submit(together.wait) for _ in range(THREADS)]:
            future.result()

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class OpenFile:
    """Owns the descriptor of a regular file. One call at a time.

    Raises ValueError if it is something else, or not open for `access` (O_RDONLY, O_WRONLY): it
    came from the workspace. It is closed then.
    """

    def __init__(self, descriptor: int, access: int, threads: FileThreads) -> None:
        self._descriptor: int | None = descriptor
        self._threads = threads
        self._running: asyncio.Future[Any] | None = None
        self.status = os.fstat(descriptor)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        if not stat.S_ISREG(self.status.st_mode) or flags & (os.O_ACCMODE | os.O_PATH) != access:
            self.close()
            raise ValueError("the workspace sent a descriptor that was not asked for")

    async def read(self, size: int, offset: int) -> bytes:
        """Less than `size` at the end only. Raises OSError."""
        return await self._run(lambda descriptor: os.pread(descriptor, size, offset))

    async def write(self, data: bytes) -> None:
        """Append. Raises OSError."""
        await self._run(lambda descriptor: _write_all(descriptor, data))

    async def finish(self) -> None:
        """Close where waiting for it is right: some file systems only then say that it failed."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            closing = self._threads.run(lambda: os.close(descriptor))
            await asyncio.shield(closing)

    def close(self) -> None:
        """Now, or when the call that is running in a thread comes back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._running is None or self._running.done():
            os.close(descriptor)
        else:
            self._running.add_done_callback(lambda _: os.close(descriptor))

    async def _run(self, work: Callable[[int], T]) -> T:
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError("the file is closed")
        running = self._threads.run(lambda: work(descriptor))
        self._running = running
        # Shielded: a number that is closed while a thread uses it may mean another file by then.
        return await asyncio.shield(running)


def _leave_signals_to_the_main_thread() -> None:
    """Where it blocks a signal, the kernel would give it to one of these."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
