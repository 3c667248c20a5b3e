"""What people see: progress on stderr, and errors that name the part, its log and the way out.

Everything goes to stderr, because stdout belongs to the answers (`kubeconfig`, `bin`, …) that
scripts capture.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class ClusterError(Exception):
    """Something the user has to decide about; never repaired by starting anew."""


class ComponentError(ClusterError):
    """A component that does not come up, with the end of its log."""

    def __init__(self, component: str, problem: str, log: Path | None = None, way_out: str = ""):
        self.component = component
        self.problem = problem
        lines = [f"{component}: {problem}"]
        if log is not None:
            lines.append(f"  log: {log}")
            lines += [f"  | {line}" for line in tail(log)]
        if way_out:
            lines.append(f"  way out: {way_out}")
        super().__init__("\n".join(lines))


def tail(path: Path, count: int = 12, width: int = 300) -> list[str]:
    """Return the last lines of a log, each cut to a readable width."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 32_768))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line[:width] for line in text.splitlines()[-count:]]


def duration(seconds: float) -> str:
    """Render a duration the way people say it: 0.4 s, 12 s, 3 min 05 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def say(message: str) -> None:
    """Print one line of progress at once."""
    print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(title: str, note: str = "") -> Iterator[None]:
    """Announce a step before it runs and print how long it took when it worked."""
    started = time.monotonic()
    say(f"{title} …{f' ({note})' if note else ''}")
    yield
    say(f"{title}: {duration(time.monotonic() - started)}")
