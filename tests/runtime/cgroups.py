"""Memory cgroups of version 1, for tests that need a real limit."""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

CONTROLLER = Path("/sys/fs/cgroup/memory")
_numbers = itertools.count(1)


def can_limit_memory() -> bool:
    return os.getuid() == 0 and (CONTROLLER / "memory.limit_in_bytes").exists()


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """One that holds at most so many bytes, gone at the end."""
    made = CONTROLLER / f"paddock-test-{os.getpid()}-{next(_numbers)}"
    made.mkdir()
    try:
        (made / "memory.limit_in_bytes").write_text(str(limit))
        yield made
    finally:
        for _ in range(50):
            with contextlib.suppress(OSError):
                made.rmdir()
                break
            time.sleep(0.1)
