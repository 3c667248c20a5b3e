"""The numbers that a cgroup publishes, version 1 and 2. Standard library only.

The fork server opens these files before any user code runs and hands some of them to the
runtime, which can read them even when every process of the workspace is gone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""Version 1 writes a huge page count where version 2 writes `max`."""

_V1 = {
    "oom": ("memory", "memory.oom_control"),
    "usage": ("memory", "memory.usage_in_bytes"),
    "peak": ("memory", "memory.max_usage_in_bytes"),
    "limit": ("memory", "memory.limit_in_bytes"),
    "stat": ("memory", "memory.stat"),
    "pids": ("pids", "pids.current"),
}
_V2 = {
    "oom": ("", "memory.events"),
    "usage": ("", "memory.current"),
    "peak": ("", "memory.peak"),
    "limit": ("", "memory.max"),
    "stat": ("", "memory.stat"),
    "pids": ("", "pids.current"),
}


@dataclass(frozen=True)
class CgroupFiles:
    """Open descriptors by name (oom, usage, peak, limit, stat, pids); missing where unreadable."""

    descriptors: Mapping[str, int] = field(default_factory=dict)

    def read(self, name: str) -> bytes | None:
        """None where the file is missing or its cgroup has gone."""
        descriptor = self.descriptors.get(name)
        if descriptor is None:
            return None
        try:
            return os.pread(descriptor, 65536, 0)
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        text = self.read(name)
        return None if text is None else parse_number(text)

    def oom_kills(self) -> int | None:
        text = self.read("oom")
        return None if text is None else parse_fields(text).get("oom_kill")

    def memory_limit(self) -> int | None:
        """None where the cgroup sets none."""
        limit = self.number("limit")
        return None if limit is None or limit >= UNLIMITED else limit

    def memory_held(self) -> int | None:
        """Usage that the kernel cannot simply drop: without the caches of files on disk."""
        usage, stat = self.number("usage"), self.read("stat")
        if usage is None:
            return None
        return max(0, usage - (0 if stat is None else reclaimable(parse_fields(stat))))


def parse_number(text: bytes) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def parse_fields(text: bytes) -> dict[str, int]:
    """`name number` lines; what is not one is left out."""
    fields = {}
    for line in text.decode(errors="replace").splitlines():
        name, _, number = line.partition(" ")
        if number.isdigit():
            fields[name] = int(number)
    return fields


def reclaimable(stat: Mapping[str, int]) -> int:
    """Shared memory is counted as anonymous here, which is right: it cannot be dropped."""
    prefix = "total_" if "total_inactive_file" in stat else ""
    files = stat.get(f"{prefix}inactive_file", 0) + stat.get(f"{prefix}active_file", 0)
    return files + stat.get("slab_reclaimable", 0)  # names and inodes; version 2 tells it


def open_files(root: Path = ROOT, membership: str | None = None) -> CgroupFiles:
    """Open what is readable of this process's own cgroup.

    `membership` is the text of /proc/self/cgroup. In a container its paths are the node's and
    do not exist below `root`, where the container's own cgroup is mounted instead.
    """
    if membership is None:
        try:
            membership = Path("/proc/self/cgroup").read_text()
        except OSError:
            membership = ""
    paths = _paths(membership)
    table = _V2 if (root / "cgroup.controllers").exists() else _V1
    descriptors = {}
    for name, (controller, file) in table.items():
        base = root / controller
        for place in (base / paths.get(controller, "").lstrip("/") / file, base / file):
            try:
                descriptors[name] = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
                break
            except OSError:
                continue
    return CgroupFiles(descriptors)


def _paths(membership: str) -> dict[str, str]:
    paths = {}
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths
