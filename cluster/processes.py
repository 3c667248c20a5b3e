"""Starting, finding and ending the cluster's processes.

There are no pid files, which go stale: every process is started with a marker in its environment
that says which instance and component it is and by which spec it was started. The kernel keeps it
for exactly as long as the process lives, and children (containerd's shims) inherit it. Processes
inside pods do not, but they are in our cgroup.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import packages
from cluster.components import Component
from cluster.settings import MARKER, Settings


@dataclass(frozen=True)
class Process:
    """A process of ours. `started` (clock ticks after boot) tells it from a reused pid."""

    pid: int
    started: int
    component: str  # a component, or "pod" for what runs inside a pod
    executable: str
    spec: str

    @property
    def main(self) -> bool:
        """Whether this is the component itself, not a child such as a shim."""
        return Path(self.executable).name == self.component


def marker(settings: Settings, component: str, spec: str) -> str:
    return f"{settings.run}|{component}|{spec}"


def parse_environ(data: bytes) -> dict[str, str]:
    """Split /proc/<pid>/environ."""
    pairs = (item.partition("=") for item in data.decode(errors="replace").split("\0"))
    return {name: value for name, separator, value in pairs if separator}


def parse_stat(text: str) -> tuple[str, int]:
    """State and start time from /proc/<pid>/stat, whose second field may hold anything."""
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def classify(
    settings: Settings, environ: Mapping[str, str], cgroups: str
) -> tuple[str, str] | None:
    """Return (component, spec) of a process by its environment and cgroups; None if not ours."""
    run, _, rest = environ.get(MARKER, "").partition("|")
    if run == str(settings.run):
        component, _, spec = rest.partition("|")
        return component, spec
    for line in cgroups.splitlines():
        path = line.split(":", 2)[-1]
        if path == settings.cgroup or path.startswith(settings.cgroup + "/"):
            return "pod", ""
    return None


def find(settings: Settings) -> list[Process]:
    """Return every living process of this instance."""
    found = []
    for pid in all_pids():
        process = _inspect(settings, pid)
        if process is not None:
            found.append(process)
    return found


def all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _inspect(settings: Settings, pid: int) -> Process | None:
    folder = Path("/proc") / str(pid)
    try:
        state, started = parse_stat((folder / "stat").read_text(errors="replace"))
        if state in "ZX":
            return None
        environ = parse_environ((folder / "environ").read_bytes())
        mine = classify(settings, environ, (folder / "cgroup").read_text())
        if mine is None:
            return None
        executable = str((folder / "exe").readlink()).removesuffix(" (deleted)")
    except (OSError, ValueError, IndexError):
        return None  # gone meanwhile, a kernel thread, or another user's
    return Process(pid, started, mine[0], executable, mine[1])


def neighbours() -> dict[str, int]:
    """Return state folder -> pid of every instance with a process in this network."""
    network = Path("/proc/self/ns/net").stat().st_ino
    found = {}
    for pid in all_pids():
        folder = Path("/proc") / str(pid)
        with contextlib.suppress(OSError):
            mark = parse_environ((folder / "environ").read_bytes()).get(MARKER)
            if mark and (folder / "ns/net").stat().st_ino == network:
                found[mark.partition("|")[0]] = pid
    return found


def running(found: Iterable[Process]) -> dict[str, Process]:
    """Return the components' main processes by name."""
    return {process.component: process for process in found if process.main}


def start(settings: Settings, component: Component) -> subprocess.Popen[bytes]:
    """Start a component in a session of its own; its log begins anew, the last one is kept."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    log = settings.logs / f"{component.name}.log"
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_suffix(".log.1"))
    # An environment of our own making: no proxy, locale or Kubernetes variable of the caller's.
    environ = {
        "PATH": f"{Path(component.argv[0]).parent}:{packages.search_path()}",
        "HOME": str(settings.run),
        MARKER: marker(settings, component.name, component.spec),
    }
    with log.open("wb") as file:
        return subprocess.Popen(
            component.argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environ,
            start_new_session=True,
        )


def send(settings: Settings, process: Process, number: int) -> bool:
    """Signal a process if it is still the one that was found."""
    with _held(settings, [process]) as held:
        return any(_signal(descriptor, number) for descriptor in held)


@contextlib.contextmanager
def _held(settings: Settings, wanted: Iterable[Process]) -> Iterator[dict[int, Process]]:
    """Hold processes by pidfds, which no reuse of a pid can redirect; skip those that are gone."""
    held: dict[int, Process] = {}
    try:
        for process in wanted:
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(process.pid)
                held[descriptor] = process
                now = _inspect(settings, process.pid)
                if now is None or now.started != process.started:
                    del held[descriptor]
                    os.close(descriptor)
        yield held
    finally:
        for descriptor in held:
            os.close(descriptor)


def _signal(descriptor: int, number: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    return True


def end(settings: Settings, victims: Iterable[Process], grace: float = 0.0) -> list[Process]:
    """End processes: SIGTERM and some time where a grace is given, then SIGKILL.

    Returns those that are still there, which takes a process that is stuck in the kernel.
    """
    with _held(settings, victims) as held:
        left = set(held)
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            if not left or patience == 0.0:
                continue
            for descriptor in left:
                _signal(descriptor, number)
                # A stopped process would sit on a SIGTERM for ever.
                _signal(descriptor, signal.SIGCONT)
            deadline = time.monotonic() + patience
            # A pidfd turns readable when the last thread has gone, and its sockets with it; the
            # state in /proc may say "zombie" well before.
            while left and (rest := deadline - time.monotonic()) > 0:
                left -= set(select.select(left, [], [], rest)[0])
        return [held[descriptor] for descriptor in left]
