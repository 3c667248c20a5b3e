"""Who has to end when the sandbox's files take more than its disk limit.

Who has written most since a walk over the files last began that saw the limit kept. Where the
file system counts no writes (tmpfs, preallocated room) that says nothing, and it is the youngest.
"""

from collections.abc import Collection
from dataclasses import dataclass

from .processes import usage_by_mark
from .running import Job

SLACK_BYTES = 1 << 20
"""What may be somebody else's growth, or none."""


class DiskBlame:
    """To be told when a walk begins and what it found; both with all executions and contexts at
    rest that nobody has ended yet."""

    def __init__(self, limit: int, readable: bool) -> None:
        self._limit = limit
        self._readable = readable
        self._begun: dict[int, int] = {}

    def begin(self, living: Collection[Job]) -> None:
        self._begun = {mark: shown.bytes for mark, shown in _written(living).items()}

    def end(self, living: Collection[Job], used: int) -> Job | None:
        """The walk found `used` bytes. Only who made them grow is named, so that one can still be
        started to clean up, and nobody else for files that stay."""
        named = self._largest(living, used) if used > self._limit else None
        for job in living:
            first = job.disk_bytes is None
            if first or named is not None:
                job.disk_bytes = used
            if first or named is not None or used <= self._limit:
                mark = job.child.mark
                job.child.written_bytes = self._begun.get(mark, job.child.written_bytes)
        return named

    def _largest(self, living: Collection[Job], used: int) -> Job | None:
        """A context at rest only if it has written: its last execution may have filled the disk."""
        written = _written(living)

        def grown(job: Job) -> int:
            shown = written.get(job.child.mark, Written())
            # Who hides it, where nobody has to, may have written all of it.
            hidden = shown.hidden and self._readable
            return used if hidden else shown.bytes - job.child.written_bytes

        grew = [
            job
            for job in living
            if job.disk_bytes is not None
            and used > job.disk_bytes + SLACK_BYTES
            and (not job.rests or grown(job) > SLACK_BYTES)
        ]
        return max(grew, key=lambda job: (grown(job), job.started), default=None)


@dataclass(frozen=True, slots=True)
class Written:
    """What an execution shows of what it wrote, and whether it hides a part."""

    bytes: int = 0
    hidden: bool = False


def _written(living: Collection[Job]) -> dict[int, Written]:
    """By mark; nothing where there is nobody to compare with."""
    if len(living) < 2 and not any(job.rests for job in living):
        return {}
    found = usage_by_mark([job.child.mark for job in living], ())
    return {
        job.child.mark: Written(
            found[job.child.mark].written_bytes + job.child.orphan_written_bytes,
            found[job.child.mark].hidden,
        )
        for job in living
    }
