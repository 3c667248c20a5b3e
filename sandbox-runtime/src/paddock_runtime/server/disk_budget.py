"""How much may still be written before the sandbox's files take more than its disk limit."""

import asyncio
from collections.abc import Awaitable, Callable

from paddock_runtime.server.problems import ProblemError

FRESH_SECONDS, WORK_SHARE = 2.0, 20
"""A walk over all files is believed for twenty times what it took, and for 2 s at the most.
Programs write meanwhile; the workspace's own watchdog looks at them."""


class DiskBudget:
    """What the last walk found, and what clients wrote since, which it may not have seen."""

    def __init__(self, limit: int, measure: Callable[[], Awaitable[int]]) -> None:
        self._limit = limit
        self._measure = measure
        self._one_walk = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._walked_at = self._fresh_until = float("-inf")
        self._found = 0
        self._open = 0
        """Bytes of files that have no name yet: no walk sees them."""
        self._settled = 0
        """Bytes of files that got their name since the last walk began."""

    async def reserve(self, size: int) -> None:
        """For a file that is being written. Raises 507 DiskFull, and what a walk raises."""
        # Nothing is refused on the strength of an earlier walk.
        if self._used + size > self._limit or self._loop.time() > self._fresh_until:
            await self._walk()
        if self._used + size > self._limit:
            raise ProblemError(
                507,
                "DiskFull",
                f"the sandbox's files take {self._used} bytes, and {size} more would pass its "
                f"disk limit of {self._limit}; delete something first",
            )
        self._open += size

    def settle(self, size: int) -> None:
        """A file got its name."""
        self._open -= size
        self._settled += size

    def release(self, size: int) -> None:
        """A file was given up."""
        self._open -= size

    @property
    def _used(self) -> int:
        return self._found + self._settled + self._open

    async def _walk(self) -> None:
        asked = self._loop.time()
        async with self._one_walk:
            if self._walked_at >= asked:  # somebody else's walk began after we asked
                return
            began, settled = self._loop.time(), self._settled
            self._found = await self._measure()
            took = self._loop.time() - began
            self._walked_at = began
            self._fresh_until = began + took + min(FRESH_SECONDS, WORK_SHARE * took)
            self._settled -= settled
