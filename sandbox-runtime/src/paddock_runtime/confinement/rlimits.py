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
    nofile: int = 1024

    def __post_init__(self) -> None:
        # A negative number is "infinity" to the kernel: a slip here would be no limit at all.
        for name in ("processes", "cpu_seconds", "file_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative: {value}")
        if self.locks_mark <= 0 or self.nofile <= 0:
            raise ValueError("locks_mark and nofile must be positive")


_IN_FLIGHT: Final = 16384


def make_room_in_flight() -> None:
    """For a server of ours that sends descriptors.

    The kernel counts those that were sent and not received by user, and refuses a sender whose
    limit of open files they pass (ETOOMANYREFS). User code is the same user; its limit is 4096,
    so a server's has to be above. Containers often begin with 1024, and a ceiling far above.
    """
    soft, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _IN_FLIGHT if ceiling == resource.RLIM_INFINITY else min(ceiling, _IN_FLIGHT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, ceiling))


def apply(limits: ResourceLimits) -> None:
    _lower(resource.RLIMIT_CORE, _NO_CORE)
    _lower(resource.RLIMIT_NOFILE, limits.nofile)
    if limits.processes is not None:
        _lower(resource.RLIMIT_NPROC, limits.processes)
    if limits.cpu_seconds is not None:
        limit_cpu(limits.cpu_seconds)
    if limits.file_bytes is not None:
        _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    # Exact or not at all: a mark cut down to a lower hard limit would name another execution.
    resource.setrlimit(RLIMIT_LOCKS, (limits.locks_mark, limits.locks_mark))


def limit_cpu(seconds: int) -> None:
    """SIGXCPU first, which a program may want to handle, SIGKILL a second later."""
    _lower(resource.RLIMIT_CPU, seconds, seconds + 1)


def _lower(which: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, or leave the one that is stricter already and cannot be raised."""
    ceiling = resource.getrlimit(which)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft = min(soft, ceiling)
        hard = min(soft if hard is None else hard, ceiling)
    resource.setrlimit(which, (soft, soft if hard is None else hard))
