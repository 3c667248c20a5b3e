"""Which processes belong to which execution, and how to end them all.

Each execution carries a mark: a value of RLIMIT_LOCKS, a limit that the kernel no longer uses,
that nobody but us can set (the system call filter refuses it) and that is inherited through
fork, exec, setsid and double fork. /proc/PID/limits shows it.
"""

import contextlib
import os
import resource
import signal as signals
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")
_DEAD = (b"Z", b"X")


@dataclass(slots=True)
class Usage:
    """What the living processes of one execution hold together."""

    memory_bytes: int = 0
    tasks: int = 0
    cpu_ms: int = 0
    written_bytes: int = 0
    """To files, of whatever file system counts that: not to pipes."""
    hidden: bool = False
    """Whether one does not show what it has written: it is not dumpable."""
    pids: list[int] = field(default_factory=list)
    dying: bool = False
    """Whether one gives its memory back: what it held is still charged, but no longer shown."""


def all_pids() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - a Path for each is too slow
        if name.isdigit():
            yield int(name)


def mark_of(pid: int) -> int | None:
    """None when the process is gone, not ours or unmarked."""
    text = _read(pid, "limits")
    start = text.find(b"Max file locks")
    if start < 0:
        return None
    words = text[start + 14 : start + 64].split(None, 1)
    return int(words[0]) if words and words[0].isdigit() else None


def usage_by_mark(marks: Collection[int], spare: Collection[int]) -> dict[int, Usage]:
    """Sums over all living processes that carry one of `marks`."""
    found = {mark: Usage() for mark in marks}
    for pid in all_pids():
        if pid in spare:
            continue
        mark = mark_of(pid)
        if mark is None or mark not in found:
            continue
        usage = found[mark]
        usage.pids.append(pid)
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        if len(fields) > 21:
            usage.cpu_ms += sum(map(int, fields[11:15])) * _TICK_MS  # with waited-for children
            usage.tasks += int(fields[17])
            resident = int(fields[21]) or _resident_of_threads(pid)
            usage.memory_bytes += resident * _PAGE
            usage.dying = usage.dying or (not resident and fields[0] not in _DEAD)
        written = written_by(pid)
        usage.hidden = usage.hidden or written is None
        usage.written_bytes += written or 0
    return found


def written_by(pid: int) -> int | None:
    """Bytes to files by a process and the children that it has waited for; None where it does not
    show them, 0 where it is gone."""
    try:
        with open(f"/proc/{pid}/io", "rb") as file:  # noqa: PTH123 - a Path for each is too slow
            lines = file.read().splitlines()
    except PermissionError:
        return None
    except OSError:
        return 0
    fields = dict(line.split(b": ") for line in lines)
    return int(fields[b"write_bytes"]) - int(fields[b"cancelled_write_bytes"])


def own_share(usage: Usage) -> float:
    """Which part of the memory that its processes show is theirs: forked ones share pages, and
    show them each as its own. Those that hide it are taken at their word."""
    shared = 0
    for pid in usage.pids:
        sizes = _rollup(pid)
        if sizes:
            own = sizes[b"Pss_Anon"] + sizes[b"Pss_Shmem"]
            shared += max(0, sizes[b"Rss"] - own) << 10
    return max(0.0, 1 - shared / usage.memory_bytes) if usage.memory_bytes else 1.0


def _rollup(pid: int) -> dict[bytes, int]:
    """Of smaps_rollup, in KiB; empty for one that is gone or hides it."""
    lines = [line.split() for line in _read(pid, "smaps_rollup").splitlines()[1:]]
    return {words[0].rstrip(b":"): int(words[1]) for words in lines}


def _resident_of_threads(pid: int) -> int:
    """Pages of a process whose first thread has ended: the kernel tells them of the others."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - as above
    except OSError:
        return 0
    for thread in threads:
        fields = _read(pid, f"task/{thread}/stat").rpartition(b")")[2].split()
        if len(fields) > 21 and int(fields[21]):
            return int(fields[21])
    return 0


def sweep(mark: int, spare: Collection[int], reap: Callable[[], None], seconds: float) -> bool:
    """Kill whatever carries `mark`; False if something is left after `seconds`.

    `spare` are pids known to be others' (a saving, and safety). `reap` collects dead orphans,
    so that a killed process is soon not seen any more. A pass that finds nothing ends it: what
    a process forked after it was looked at, its parent was seen and killed, so the pass was not
    empty. Found processes may fork no more (RLIMIT_NPROC 0), else a fork bomb outruns us.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for pid in all_pids() if pid not in spare and mark_of(pid) == mark]
        if not left:
            return True
        for pid in left:
            _end(pid)
        reap()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
        reap()


def any_left(mark: int, spare: Collection[int]) -> bool:
    """Whether a process carries `mark`, dead ones that were not collected aside."""
    return any(
        pid not in spare and mark_of(pid) == mark and not _is_dead(pid) for pid in all_pids()
    )


def signal_all(mark: int, spare: Collection[int], number: int) -> None:
    """To all processes that carry `mark`."""
    for pid in all_pids():
        if pid not in spare and mark_of(pid) == mark:
            signal(pid, number)


def _is_dead(pid: int) -> bool:
    """A zombie, or gone. What stands in brackets is a name that user code chose."""
    return _read(pid, "stat").rpartition(b")")[2][:3] in (b"", b" Z ")


def signal(pid: int, number: int) -> None:
    """To one process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def signal_group(leader: int, number: int) -> None:
    """To the group that this process began, which may be empty."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill_group(leader: int) -> None:
    """The atomic part: all that stayed in the program's first process group."""
    try:
        os.killpg(leader, signals.SIGKILL)
    except OSError:
        return


def _end(pid: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
        os.kill(pid, signals.SIGKILL)
    except OSError:
        return


def _read(pid: int, name: str) -> bytes:
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 8192)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
