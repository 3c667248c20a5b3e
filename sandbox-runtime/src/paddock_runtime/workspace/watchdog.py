"""Looks at what executions use while some run, and says which has to end.

Memory and processes every 50 ms, disk and CPU every 250 ms. While only contexts wait for code,
what their last code left in them is looked at less often. Nothing while there is neither, but for
one walk over the files after the last end, so that the next one starts with a true number.
A kill of ours is kinder than the kernel's: it never hits PID 1.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from ..cgroup import CgroupFiles
from .census import Census
from .disk import DiskMeter
from .disk_blame import SLACK_BYTES, DiskBlame
from .processes import all_pids, own_share
from .running import Job
from .settings import Settings

INTERVAL, SLOW_INTERVAL = 0.05, 0.25
MEMORY_SHARE = 0.95
"""Of the container's limit: above it the kernel is about to choose a victim itself."""
RECOVERY = 0.3
"""Seconds that a kill gets to show in the numbers before another one."""
CROWDED_SHARE = 15 / 16
CROWDED_SECONDS = 0.5
"""How long the processes must stand at the limit: a burst that ends by itself is no bomb."""
RESTING_DISK_INTERVAL = 2.0
DISK_WORK_SHARE = 20
"""A walk is not begun again before twenty times what it took."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An execution or resting context that has to end, why, and a sentence with the number."""

    job: Job
    reason: str
    message: str


class Watchdog:
    """`due` is when `look` wants to be called next, None when it has nothing to do. `readable`
    says that processes show what they wrote, unless they hide it."""

    def __init__(self, settings: Settings, files: CgroupFiles, readable: bool) -> None:
        self._settings = settings
        self._files = files
        self._memory_limit = files.memory_limit()
        self._disk = DiskMeter((settings.workspace_dir, settings.temporary_dir))
        self._disk_at: float | None = 0.0
        self._disk_blame = DiskBlame(settings.disk_bytes, readable)
        self._slow_at = self._memory_at = 0.0
        self._oom_kills = files.oom_kills()
        self._waited = False
        """For the memory of a process that was just dying."""
        self._crowded_since: float | None = None
        self._fast_at: float | None = None
        self._at_rest = False
        """Whether only contexts that wait for code are looked at."""

    @property
    def due(self) -> float | None:
        times = [when for when in (self._fast_at, self._disk_at) if when is not None]
        return min(times, default=None)

    @property
    def disk_bytes(self) -> int:
        return self._disk.bytes

    def started(self, now: float, job: Job) -> None:
        """An execution began."""
        if job.child.context and self._settings.cpu_time_ms is not None:
            job.all_cpu_ms = Census([job], set).usage(job).cpu_ms + job.child.orphan_cpu_ms
        if self._fast_at is None:
            self._fast_at = now + INTERVAL
            self._slow_at = self._disk_at = now + SLOW_INTERVAL
            self._crowded_since = None
            self._oom_kills = self._files.oom_kills()
        elif self._at_rest:
            self._fast_at = min(self._fast_at, now + INTERVAL)
            self._disk_at = min(self._disk_at or now + SLOW_INTERVAL, now + SLOW_INTERVAL)
        self._at_rest = False

    def ended(self, now: float, running: int, contexts: bool) -> None:
        """An execution ended; `running` are left."""
        if not running:
            self._at_rest = contexts
            self._fast_at = now + SLOW_INTERVAL if contexts else None
            self._disk_at = now + SLOW_INTERVAL

    def look(
        self,
        now: float,
        running: Collection[Job],
        resting: Collection[Job],
        others: Callable[[], set[int]],
    ) -> Iterator[Finding]:
        """Whoever has to end. `others` gives the pids that belong to no execution."""
        if self._disk_at is not None and now >= self._disk_at:
            yield from self._look_at_disk(now, running, resting)
        if self._fast_at is None or now < self._fast_at:
            return
        if not running and not resting:
            self._fast_at = None
            return
        self._fast_at = now + (INTERVAL if running else SLOW_INTERVAL)
        everybody = (*running, *resting)
        living = [job for job in everybody if job.kill_reason is None]
        if not living:
            return
        census = Census(living, others)
        # One at a time: until it is gone, what it holds would be charged to an innocent one.
        if not any(job.kill_reason == "MemoryLimit" for job in everybody):
            yield from self._look_at_memory(now, census)
        yield from self._look_at_processes(now, census)
        if now >= self._slow_at:
            self._slow_at = now + SLOW_INTERVAL
            yield from self._look_at_cpu(census)
        census.rebase()

    def _look_at_memory(self, now: float, census: Census) -> Iterator[Finding]:
        """Nobody is named while memory comes back: whoever held it may not show it any more.

        The census is taken before the second look at the limit and at the kernel's kills, so
        that what happened before or while it was taken is seen.
        """
        full = self._is_full()
        largest = None
        if full:
            largest = census.largest(lambda usage: usage.memory_bytes, SLACK_BYTES, own_share)
        kills = self._files.oom_kills()
        if kills != self._oom_kills:
            self._oom_kills, self._memory_at = kills, now + RECOVERY
        if largest is None or now < self._memory_at or not self._is_full():
            return
        self._memory_at = now + RECOVERY
        self._waited = census.dying and not self._waited
        if not self._waited:
            yield Finding(
                largest,
                "MemoryLimit",
                f"the workspace stood at its memory limit of {self._memory_limit} bytes; "
                "use less memory or a template with more",
            )

    def _is_full(self) -> bool:
        usage = self._files.number("usage")
        if self._memory_limit is None or usage is None:
            return False
        threshold = self._memory_limit * MEMORY_SHARE
        return usage >= threshold and (self._files.memory_held() or 0) >= threshold

    def _look_at_processes(self, now: float, census: Census) -> Iterator[Finding]:
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
            if largest := census.largest(lambda usage: usage.tasks):
                yield Finding(
                    largest,
                    "ProcessLimit",
                    f"its processes and threads stood at the limit of {limit}",
                )

    def _look_at_cpu(self, census: Census) -> Iterator[Finding]:
        """RLIMIT_CPU holds for each process; this holds for all of an execution together."""
        limit = self._settings.cpu_time_ms
        if limit is None:
            return
        for job in census.jobs:
            if job.rests:
                continue  # it is a limit of executions
            collected = job.child.orphan_cpu_ms + (job.reaped.cpu_ms if job.reaped else 0)
            if census.usage(job).cpu_ms + collected - job.all_cpu_ms >= limit:
                yield Finding(job, "CpuLimit", f"it used up its {limit} ms of CPU time")

    def _look_at_disk(
        self, now: float, running: Collection[Job], resting: Collection[Job]
    ) -> Iterator[Finding]:
        living = [job for job in (*running, *resting) if job.kill_reason is None]
        if not self._disk.walking:
            self._disk_blame.begin(living)
        if not self._disk.step():
            self._disk_at = now + INTERVAL
            return
        pause = self._disk.seconds * DISK_WORK_SHARE
        if running:
            self._disk_at = now + max(SLOW_INTERVAL, pause)
        else:
            self._disk_at = now + max(RESTING_DISK_INTERVAL, pause) if resting else None
        if named := self._disk_blame.end(living, self._disk.bytes):
            yield Finding(
                named,
                "DiskLimit",
                f"the sandbox's files took {self._disk.bytes} bytes, more than its disk limit of "
                f"{self._settings.disk_bytes}",
            )
