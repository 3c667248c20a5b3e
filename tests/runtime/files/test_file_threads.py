"""The threads that read and write files, in this process."""

import asyncio
import os
import signal
import threading

import pytest

from paddock_runtime.server.file_content import FileThreads, OpenFile


async def test_a_file_is_closed_when_its_thread_is_done_with_it() -> None:
    threads = FileThreads()
    read_end, write_end = os.pipe()
    memory = os.memfd_create("x")
    file = OpenFile(memory, os.O_RDWR, threads)
    begun = threading.Event()

    def work(_: int) -> None:
        begun.set()
        os.read(read_end, 1)

    task = asyncio.create_task(file._run(work))
    await asyncio.to_thread(begun.wait)
    running = file._running
    assert running is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    file.close()
    os.fstat(memory)  # still its own: a thread may be using the number
    os.write(write_end, b"x")
    await running
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(memory)
    os.close(read_end)
    os.close(write_end)
    threads.close()


async def test_signals_are_left_to_the_main_thread() -> None:
    """So that it can block them; a runtime at its end does."""
    threads = FileThreads()
    blocked = await threads.run(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []))
    assert {signal.SIGTERM, signal.SIGINT} <= blocked
    threads.close()
