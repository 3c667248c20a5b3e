"""Looks at what executions use while some run, and says which has to end.

Memory and processes every 50 ms, disk and CPU every 250 ms; nothing while nothing runs, but for
one walk over the files after the last end, so that the next one starts with a true number.
A kill of ours is kinder than the kernel's: it never hits PID 1.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..cgroup import CgroupFiles
from .disk import DiskMeter
from .processes import Usage, all_pids, usage_by_mark
from .running import Child
from .settings import Settings

INTERVAL, SLOW_INTERVAL = 0.05, 0.25
MEMORY_SHARE = 0.95
"""Of the container's limit: above it the kernel is about to choose a victim itself."""
RECOVERY = 0.3
"""Seconds that a kill gets to show in the numbers before another one."""
CROWDED_SHARE = 15 / 16
CROWDED_SECONDS = 0.5
"""How long the processes must stand at the limit: a burst that ends by itself is no bomb."""
DISK_SLACK = 1 << 20
DISK_WORK_SHARE = 20
"""A walk is not begun again before twenty times what it took."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An execution that has to end, why, and a sentence with the number."""

    child: Child
    reason: str
    message: str


class Watchdog:
    """`due` is when `look` wants to be called next, None when it has nothing to do."""

    def __init__(self, settings: Settings, files: CgroupFiles) -> None:
        self._settings = settings
        self._files = files
        self._memory_limit = files.memory_limit()
        self._disk = DiskMeter((settings.workspace_dir, settings.temporary_dir))
        self._disk_at: float | None = 0.0
        self._slow_at = self._memory_at = 0.0
        self._crowded_since: float | None = None
        self._fast_at: float | None = None

    @property
    def due(self) -> float | None:
        times = [when for when in (self._fast_at, self._disk_at) if when is not None]
        return min(times, default=None)

    @property
    def disk_bytes(self) -> int:
        return self._disk.bytes

    def started(self, now: float) -> None:
        """An execution began."""
        if self._fast_at is None:
            self._fast_at = now + INTERVAL
            self._slow_at = self._disk_at = now + SLOW_INTERVAL
            self._crowded_since = None

    def ended(self, now: float, running: int) -> None:
        """An execution ended; `running` are left."""
        if not running:
            self._fast_at = None
            self._disk_at = now + SLOW_INTERVAL

    def look(
        self, now: float, running: Mapping[int, Child], others: Callable[[], set[int]]
    ) -> Iterator[Finding]:
        """Whoever has to end. `others` gives the pids that belong to no execution."""
        if self._disk_at is not None and now >= self._disk_at:
            yield from self._look_at_disk(now, running)
        if self._fast_at is None or now < self._fast_at:
            return
        self._fast_at = now + INTERVAL
        living = [child for child in running.values() if child.kill_reason is None]
        if not living:
            return
        census = Census(living, others)
        yield from self._look_at_memory(now, census)
        yield from self._look_at_processes(now, census)
        if now >= self._slow_at:
            self._slow_at = now + SLOW_INTERVAL
            yield from self._look_at_cpu(census)

    def _look_at_memory(self, now: float, census: "Census") -> Iterator[Finding]:
        limit = self._memory_limit
        usage = self._files.number("usage")
        if limit is None or usage is None or usage < limit * MEMORY_SHARE or now < self._memory_at:
            return
        held = self._files.memory_held()
        if held is not None and held >= limit * MEMORY_SHARE:
            self._memory_at = now + RECOVERY
            yield Finding(
                census.largest(lambda usage: usage.memory_bytes),
                "MemoryLimit",
                f"the workspace stood at its memory limit of {limit} bytes; "
                "use less memory or a template with more",
            )

    def _look_at_processes(self, now: float, census: "Census") -> Iterator[Finding]:
        limit = self._settings.processes
        threshold = int(limit * CROWDED_SHARE)
        total = self._files.number("pids")
        if total is None:
            total = sum(1 for _ in all_pids())
        if total < threshold or census.tasks < threshold:
            self._crowded_since = None
            return
        if self._crowded_since is None:
            self._crowded_since = now
        if now - self._crowded_since >= CROWDED_SECONDS:
            self._crowded_since = None
            yield Finding(
                census.largest(lambda usage: usage.tasks),
                "ProcessLimit",
                f"its processes and threads stood at the limit of {limit}",
            )

    def _look_at_cpu(self, census: "Census") -> Iterator[Finding]:
        """RLIMIT_CPU holds for each process; this holds for all of an execution together."""
        limit = self._settings.cpu_time_ms
        if limit is None:
            return
        for child in census.children:
            if census.usage(child).cpu_ms + child.orphan_cpu_ms >= limit:
                yield Finding(child, "CpuLimit", f"it used more than {limit} ms of CPU time")

    def _look_at_disk(self, now: float, running: Mapping[int, Child]) -> Iterator[Finding]:
        """Only who made it grow is ended, so that one can still be started to clean up."""
        if not self._disk.step():
            self._disk_at = now + INTERVAL
            return
        pause = max(SLOW_INTERVAL, self._disk.seconds * DISK_WORK_SHARE)
        self._disk_at = now + pause if running else None
        limit, used = self._settings.disk_bytes, self._disk.bytes
        if used <= limit:
            return
        grew = [
            child
            for child in running.values()
            if child.kill_reason is None and used > max(limit, child.disk_bytes + DISK_SLACK)
        ]
        if grew:
            yield Finding(
                Census(grew, set).largest(lambda usage: usage.written_bytes),
                "DiskLimit",
                f"the sandbox's files took {used} bytes, more than its disk limit of {limit}",
            )


class Census:
    """Who uses what, counted only if somebody asks."""

    def __init__(self, children: list[Child], others: Callable[[], set[int]]) -> None:
        self.children = children
        self._others = others
        self._found: dict[int, Usage] | None = None

    @property
    def tasks(self) -> int:
        return sum(self.usage(child).tasks for child in self.children)

    def usage(self, child: Child) -> Usage:
        if self._found is None:
            marks = [child.mark for child in self.children]
            self._found = usage_by_mark(marks, self._others())
        return self._found[child.mark]

    def largest(self, size: Callable[[Usage], int]) -> Child:
        """By `size`, the youngest where it says nothing."""
        if len(self.children) == 1:
            return self.children[0]
        return max(self.children, key=lambda child: (size(self.usage(child)), child.started))
