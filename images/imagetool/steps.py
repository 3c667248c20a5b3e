"""Running commands so that a person sees what happens, how long it takes and how to go on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TAIL_LINES = 15


class StepFailed(Exception):
    """A step that did not work: which one, what its command said last, and the way out."""

    def __init__(self, step: str, way_out: str, tail: str = "") -> None:
        self.step, self.way_out, self.tail = step, way_out, tail
        super().__init__(step)

    def __str__(self) -> str:
        said = "".join(f"\n  | {line}" for line in self.tail.splitlines()[-TAIL_LINES:])
        return f"{self.step} failed{said}\n  way out: {self.way_out}"


def say(text: str) -> None:
    """Progress goes to stderr: stdout is kept for what scripts read."""
    print(f"images: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def timed(what: str, *, usually: str = "") -> Iterator[None]:
    say(f"{what} …" + (f" (usually {usually})" if usually else ""))
    start = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - start:.1f} s")


def run(
    step: str,
    command: Sequence[str | Path],
    *,
    way_out: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command quietly and return its output; on failure the error has the last lines."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            check=False,
        )
    except OSError as error:
        raise StepFailed(step, way_out, str(error)) from error
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise StepFailed(step, way_out, f"{output}\n(exit status {done.returncode})")
    return output


def works(*command: str) -> bool:
    """Does this command exist and end well?"""
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def install_missing(programs: Mapping[str, str]) -> None:
    """Install the Debian packages of programs that are not there: {program: package}."""
    missing = {
        program: package for program, package in programs.items() if not shutil.which(program)
    }
    if not missing:
        return
    packages = sorted(set(missing.values()))
    way_out = f"install {', '.join(packages)} yourself, or start Docker, then run this again"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise StepFailed(
            f"looking for {', '.join(sorted(missing))}", way_out,
            "not installed, and installing needs root on Debian",
        )  # fmt: skip
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with timed(f"installing Debian packages {' '.join(packages)}", usually="30 s"):
        run("apt-get update", ["apt-get", "update", "-q"], way_out=way_out, env=env)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
        run("apt-get install", command, way_out=way_out, env=env)
