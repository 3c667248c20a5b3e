"""A de-duplicating queue of keys with delays and per-key backoff, as client-go has it.

A key is worked on by one worker at a time; a key added while it is worked on runs once more
afterwards. Delays live in one heap: deadlines of thousands of sessions cost one timer.
"""

import asyncio
import heapq
import itertools
import random

from paddock_operator.plan.actions import Key
from paddock_operator.telemetry import metrics

BACKOFF_FIRST_S = 0.05
COMPACT_FROM = 1000
"""Overtaken timers that are kept without a thought: 100 KiB."""
BACKOFF_MAX_S = 20.0
"""A user whose quota was raised waits for at most this long."""


class KeyQueue:
    """One queue for all kinds."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._dirty: set[Key] = set()
        self._working: set[Key] = set()
        self._delayed: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Keys waiting for a worker, delayed ones apart."""
        return len(self._dirty)

    def add(self, key: Key) -> None:
        """Work on this key soon."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        metrics.QUEUE_DEPTH.labels("paddock").set(len(self._dirty))
        if key not in self._working:
            self._ready.put_nowait(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Work on this key after a delay; the earliest of several delays counts."""
        due = asyncio.get_running_loop().time() + max(0.0, delay_s)
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, next(self._order), key))
        self._compact()
        self._wake.set()

    def drop(self, key: Key) -> None:
        """The key's object is gone: its delays and failures mean nothing any more."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._compact()

    def _compact(self) -> None:
        """Entries that were overtaken stay in the heap until they are due, an hour for a
        deadline: when most of it is such, it is built anew."""
        if len(self._delayed) > 2 * len(self._due) + COMPACT_FROM:
            self._delayed = [
                entry for entry in self._delayed if self._due.get(entry[2]) == entry[0]
            ]
            heapq.heapify(self._delayed)

    def retry(self, key: Key) -> float:
        """Work on this key again after its backoff; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 16))
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
        metrics.QUEUE_RETRIES.labels("paddock").inc()
        self.add_after(key, delay)
        return float(delay)

    def forget(self, key: Key) -> None:
        """The key was worked on without an error: its next failure starts from the first delay."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key; `done` must follow."""
        key = await self._ready.get()
        self._dirty.discard(key)
        self._working.add(key)
        metrics.QUEUE_DEPTH.labels("paddock").set(len(self._dirty))
        return key

    def done(self, key: Key) -> None:
        """The worker is done with the key, well or not."""
        self._working.discard(key)
        if key in self._dirty:
            self._ready.put_nowait(key)

    async def run_timers(self) -> None:
        """Move delayed keys over when they are due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while self._delayed and self._delayed[0][0] <= loop.time():
                due, _, key = heapq.heappop(self._delayed)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            timeout = self._delayed[0][0] - loop.time() if self._delayed else None
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                continue
