"""The end of the sandbox by its own clock: the deadline and the idle limit."""

import asyncio
from collections.abc import Callable
from typing import Any

DEADLINE, IDLE, TERMINATED = "DeadlineExceeded", "Idle", "Terminated"


class Lifetime:
    """Calls `over` once, with DEADLINE or IDLE.

    All times are CLOCK_MONOTONIC in seconds, which goes on while the runtime's container
    restarts on the same node: so a restart does not prolong a session. Being configured for the
    first time is the first use; being told other limits later is none.
    """

    def __init__(self, busy: Callable[[], bool], over: Callable[[str], None]) -> None:
        self._busy = busy
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self._idle_seconds: float | None = None
        self._last_use = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, expires_in_ms: int, idle_timeout_ms: int | None) -> dict[str, Any]:
        """The deadline counts from now, idleness from the last use; what to hand to `restore`
        after a restart."""
        if self._deadline is None:
            self.used()
        self._deadline = self._loop.time() + expires_in_ms / 1000
        self._idle_seconds = None if idle_timeout_ms is None else idle_timeout_ms / 1000
        self._arm()
        return {
            "deadline": self._deadline,
            "idleSeconds": self._idle_seconds,
            "lastUse": self._last_use,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on as before."""
        self._deadline = saved["deadline"]
        self._idle_seconds = saved["idleSeconds"]
        self._last_use = saved["lastUse"]
        self._arm()

    def used(self, when: float | None = None) -> None:
        """Something that counts as use happened or ended, just now unless `when` is said."""
        now = self._loop.time()
        self._last_use = now if when is None else min(when, now)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._deadline = self._idle_seconds = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = [when for when in (self._deadline, self._idle_at()) if when is not None]
        if due:
            self._timer = self._loop.call_at(min(due), self._look)

    def _idle_at(self) -> float | None:
        return None if self._idle_seconds is None else self._last_use + self._idle_seconds

    def _look(self) -> None:
        now = self._loop.time()
        if self._deadline is not None and now >= self._deadline:
            self._over(DEADLINE)
            return
        if self._busy():
            self.used()
        idle_at = self._idle_at()
        if idle_at is not None and now >= idle_at:
            self._over(IDLE)
            return
        self._arm()
