"""Resource limits of one execution."""

import resource
from dataclasses import dataclass
from typing import Final

# Python's resource module does not know it and the kernel no longer uses it. That makes it a
# label: inherited by everything an execution starts, shown in /proc/PID/limits, and kept from
# being changed by the system call filter.
RLIMIT_LOCKS: Final = 10

# Not 0: where the node pipes core dumps to a program (systemd-coredump) the kernel ignores the
# limit, except that 1 means "do not". Smaller than a page, so no file is written either.
_NO_CORE: Final = 1


@dataclass(frozen=True)
class ResourceLimits:
    """None leaves a limit as it is. Every process inherits them, none shares them but NPROC."""

    processes: int | None
    cpu_seconds: int | None
    file_bytes: int | None
    locks_mark: int
    data_bytes: int | None = None
    nofile: int = 1024

    def __post_init__(self) -> None:
        # A negative number is "infinity" to the kernel: a slip here would be no limit at all.
        for name in ("processes", "cpu_seconds", "file_bytes", "data_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative: {value}")
        if self.locks_mark <= 0 or self.nofile <= 0:
            raise ValueError("locks_mark and nofile must be positive")


def apply(limits: ResourceLimits) -> None:
    _lower(resource.RLIMIT_CORE, _NO_CORE)
    _lower(resource.RLIMIT_NOFILE, limits.nofile)
    if limits.processes is not None:
        _lower(resource.RLIMIT_NPROC, limits.processes)
    if limits.cpu_seconds is not None:
        # SIGXCPU first, which a program may want to handle, SIGKILL a second later.
        _lower(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    if limits.file_bytes is not None:
        _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    if limits.data_bytes is not None:
        _lower(resource.RLIMIT_DATA, limits.data_bytes)
    # Exact or not at all: a mark cut down to a lower hard limit would name another execution.
    resource.setrlimit(RLIMIT_LOCKS, (limits.locks_mark, limits.locks_mark))


def _lower(which: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, or leave the one that is stricter already and cannot be raised."""
    ceiling = resource.getrlimit(which)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft = min(soft, ceiling)
        hard = min(soft if hard is None else hard, ceiling)
    resource.setrlimit(which, (soft, soft if hard is None else hard))
