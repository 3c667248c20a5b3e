"""Looks at what executions use while some run, and says which has to end.

Memory every 50 ms (a kill of ours is kinder than the kernel's: it never hits PID 1), processes
and disk every 250 ms. Nothing is looked at while nothing runs.
"""

from collections.abc import Iterator, Mapping

from ..cgroup import CgroupFiles
from .running import Child
from .settings import Settings

INTERVAL = 0.05


class Watchdog:
    def __init__(self, settings: Settings, files: CgroupFiles) -> None:
        self.due = 0.0
        self.disk_bytes = 0

    def begin(self, now: float) -> None:
        self.due = now + INTERVAL

    def look(self, now: float, running: Mapping[int, Child]) -> Iterator[tuple[Child, str, str]]:
        if running and now >= self.due:
            self.due = now + INTERVAL
        yield from ()
