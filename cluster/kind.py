"""The same verbs on kind, for machines where Docker answers.

Verified only where Docker exists, which the machines that this project is developed on are not.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from cluster import builds, packages
from cluster.report import ClusterError, duration, say
from cluster.settings import Settings


def available() -> bool:
    """Whether a Docker daemon answers, not just whether its client is installed."""
    if packages.which("docker") is None:
        return False
    try:
        command = ["docker", "info", "--format", "{{.ServerVersion}}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() not in ("", "<no value>")


def name(settings: Settings) -> str:
    return "paddock" if settings.name == "default" else f"paddock-{settings.name}"


def kubeconfig(settings: Settings) -> Path:
    """A file of its own: the user's ~/.kube/config is left alone."""
    return settings.cache / "kind" / f"{name(settings)}.kubeconfig"


def _kind(settings: Settings, *arguments: str, capture: bool = False) -> str:
    program = builds.ensure_built(settings, builds.KIND) / "kind"
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig(settings))}
    done = subprocess.run(
        [str(program), *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(f"`kind {' '.join(arguments)}` failed; its own words are above")
    return done.stdout


def exists(settings: Settings) -> bool:
    return name(settings) in _kind(settings, "get", "clusters", capture=True).split()


def up(settings: Settings) -> None:
    """Create the cluster unless it is there; a stopped one is made anew."""
    started = time.monotonic()
    kubeconfig(settings).parent.mkdir(parents=True, exist_ok=True)
    if exists(settings):
        _kind(settings, "export", "kubeconfig", "--name", name(settings))
        if status(settings, quiet=True):
            say(f"kind cluster {name(settings)}: already up, nothing changed")
            return
        say(f"kind cluster {name(settings)} does not answer: it is made anew")
        down(settings)
    _kind(settings, "create", "cluster", "--name", name(settings), "--wait", "180s")
    say(f"kind cluster {name(settings)}: up: {duration(time.monotonic() - started)}")


def down(settings: Settings) -> None:
    _kind(settings, "delete", "cluster", "--name", name(settings))
    kubeconfig(settings).unlink(missing_ok=True)


def load(settings: Settings, archives: list[Path]) -> None:
    for archive in archives:
        _kind(settings, "load", "image-archive", str(archive), "--name", name(settings))


def status(settings: Settings, quiet: bool = False) -> bool:
    """Ask the API server; kind has no components of ours to look at."""
    kubectl = builds.ensure_built(settings, builds.KIND) / "kubectl"
    file = f"--kubeconfig={kubeconfig(settings)}"
    done = subprocess.run(
        [str(kubectl), file, "get", "--raw", "/readyz"], capture_output=True, text=True, check=False
    )
    if not quiet:
        answer = done.stdout.strip() if done.returncode == 0 else done.stderr.strip()
        print(f"{'kind ' + name(settings):<25}{answer}")
    return done.returncode == 0
