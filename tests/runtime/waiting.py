"""Waiting for what must come, on however slow a machine."""

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds. How long it takes is no claim of these tests; a busy machine is eight times slower."""


def eventually(is_so: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
