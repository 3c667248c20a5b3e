"""Deletes files when their time is over."""

import asyncio

from paddock_runtime import file_protocol as wire
from paddock_runtime.server import logs
from paddock_runtime.server.expiries import Expiries, Expiry
from paddock_runtime.server.file_link import FileLink
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.problems import ProblemError

RETRY = 1.0
"""Seconds until a file is tried again that could not be looked at."""


class FileSweeper:
    """Sleeps until the next file is due. What is due while the file server is away waits."""

    def __init__(self, expiries: Expiries, link: FileLink, metrics: Metrics) -> None:
        self._expiries = expiries
        self._link = link
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def arm(self, not_before: float = 0.0) -> None:
        """To be called whenever an expiry is set."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._expiries.next_at()
        if due is not None and self._sweeping is None:
            self._timer = self._loop.call_at(max(due, not_before), self._begin)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _begin(self) -> None:
        self._sweeping = self._loop.create_task(self._sweep())

    async def _sweep(self) -> None:
        not_before = 0.0
        for path, expiry in self._expiries.due(self._loop.time()):
            if not await self._delete(path, expiry):
                not_before = self._loop.time() + RETRY
        self._sweeping = None
        self.arm(not_before)

    async def _delete(self, path: bytes, expiry: Expiry) -> bool:
        """False if it is to be tried again."""
        name = wire.wire(path)
        try:
            await self._link.ask(path, lambda n: wire.Expire(n, name, expiry.file, expiry.born))
            self._metrics.file_operations["expire"] += 1
        except ProblemError as error:
            if error.status >= 500:
                return False
            if error.problem.code not in ("NotFound", "Exists"):
                logs.warning("expiry.refused", error=error.problem.detail)
        if self._expiries.get(path, expiry.file) == expiry:
            self._expiries.drop(path)
        return True
