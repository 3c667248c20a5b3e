"""What executions hold, and which of them has most of something."""

from collections.abc import Callable
from dataclasses import replace

from .processes import Usage, usage_by_mark
from .running import Job


class Census:
    """Who uses what, counted only if somebody asks."""

    def __init__(self, jobs: list[Job], others: Callable[[], set[int]]) -> None:
        self.jobs = jobs
        self._others = others
        self._found: dict[int, Usage] | None = None

    @property
    def tasks(self) -> int:
        """What executions hold, and what contexts at rest have grown by."""
        return sum(
            self._grown(job, lambda usage: usage.tasks)
            for job in self.jobs
            if job.before is not None
        )

    def rebase(self) -> None:
        """Lower what contexts at rest are not charged with, where they hold less by now."""
        for job in self.jobs:
            if job.before is None:
                job.before = replace(self.usage(job))
            elif job.rests and self._found is not None:
                now = self.usage(job)
                job.before.memory_bytes = min(job.before.memory_bytes, now.memory_bytes)
                job.before.tasks = min(job.before.tasks, now.tasks)

    @property
    def dying(self) -> bool:
        return any(self.usage(job).dying for job in self.jobs)

    def usage(self, job: Job) -> Usage:
        if self._found is None:
            marks = [each.child.mark for each in self.jobs]
            self._found = usage_by_mark(marks, self._others())
        return self._found[job.child.mark]

    def largest(
        self,
        size: Callable[[Usage], int],
        slack: int = 0,
        share: Callable[[Usage], float] = lambda usage: 1.0,
    ) -> Job | None:
        """Who has most by `size`, less what it had before, and of that the part that `share` says
        is its own; the youngest where it says nothing.

        A context that rests is named only if it has grown by more than `slack`: what it holds
        since its last execution is what it is for.
        """
        grown = {}
        for job in self.jobs:
            by = 0.0 if len(self.jobs) == 1 and not job.rests else self._grown(job, size)
            by *= share(self.usage(job)) if by else 1.0
            if not job.rests or (job.before is not None and by > slack):
                grown[job.child.mark] = by
        found = [job for job in self.jobs if job.child.mark in grown]
        return max(found, key=lambda job: (grown[job.child.mark], job.started), default=None)

    def _grown(self, job: Job, size: Callable[[Usage], int]) -> int:
        return size(self.usage(job)) - (size(job.before) if job.before else 0)
