"""What the kernel of this machine says of a container or a process: CPU time, memory, throttling.

Works where the node is this machine. A process outside of a pod is counted alone.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20


@dataclass(frozen=True)
class Place:
    """One container by one of its processes; `folders` is empty for a mere process."""

    pid: int
    folders: dict[str, Path]

    @classmethod
    def of(cls, pid: int) -> "Place":
        found: dict[str, Path] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "kubepods" not in path:
                continue
            for controller in controllers.split(","):
                folder = CGROUPS / controller / path.lstrip("/")
                if folder.is_dir():  # version 2 may be there beside 1, with nothing in it
                    found[controller] = folder
        return cls(pid, found)

    def cpu_seconds(self) -> float:
        """Used so far: by the container, or by all threads of the process."""
        if "" in self.folders:
            return _fields(self.folders[""] / "cpu.stat")["usage_usec"] / 1e6
        if "cpuacct" in self.folders:
            return int((self.folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def throttled(self) -> tuple[int, int]:
        """Periods in which the CPU limit stopped it, and all periods; 0, 0 without a limit."""
        folder = self.folders.get("cpu", self.folders.get(""))
        if folder is None:
            return 0, 0
        fields = _fields(folder / "cpu.stat")
        return fields["nr_throttled"], fields["nr_periods"]

    def memory(self) -> int:
        """Bytes: usage less what is only cache. Of a mere process what it does not share."""
        if "" in self.folders:
            usage = int((self.folders[""] / "memory.current").read_text())
            return usage - _fields(self.folders[""] / "memory.stat")["inactive_file"]
        if "memory" in self.folders:
            usage = int((self.folders["memory"] / "memory.usage_in_bytes").read_text())
            return usage - _fields(self.folders["memory"] / "memory.stat")["total_inactive_file"]
        return sum(rollup(pid)["Private_Dirty"] for pid in family(self.pid))

    def pids(self) -> list[int]:
        """All processes of the container; of a mere process it and its descendants."""
        folder = self.folders.get("memory", self.folders.get(""))
        if folder is None:
            return family(self.pid)
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += family(int(child))
    return found


def rollup(pid: int) -> dict[str, int]:
    """/proc/PID/smaps_rollup in bytes: Rss, Pss, Anonymous, Private_Dirty, …"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def command(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return os.fsdecode(next((word for word in words if word.endswith(b".py")), words[0]))


def _fields(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}
