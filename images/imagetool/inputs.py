"""What goes into each image, and the hash that names the result."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .steps import StepFailed

ROOT = Path(__file__).resolve().parents[2]
IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache"}
# The Containerfiles' base, used where Docker is; the local one has the same Debian and Python.
DOCKER_BASE = "python:3.11-slim-bookworm"
PYTHON = "3.11"
ARCH = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
    platform.machine().lower(), platform.machine().lower()
)


@dataclass(frozen=True)
class Image:
    """One image: where its files come from, relative to the repository."""

    name: str
    packages: tuple[str, ...]  # source trees that become importable
    scripts: tuple[str, ...]  # files that land in /opt/paddock/bin

    @property
    def containerfile(self) -> Path:
        return ROOT / "images" / f"{self.name}.Containerfile"

    @property
    def requirements(self) -> Path:
        return ROOT / "requirements" / f"{self.name}.txt"

    @property
    def repository(self) -> str:
        return f"localhost/paddock-{self.name}"


IMAGES = {
    image.name: image
    for image in (
        Image(
            "operator",
            ("api/src", "operator/src"),
            ("images/bin/operator.py", "images/bin/apply.py"),
        ),
        Image(
            "runtime",
            ("api/src", "sandbox-runtime/src"),
            ("sandbox-runtime/bin/runtime.py", "sandbox-runtime/bin/workspace.py"),
        ),
    )
}


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "paddock" / "images"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked() -> Iterator[None]:
    """One build at a time per user: a second one waits, then finds the first one's result."""
    with (cache_dir() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def source_files(top: Path) -> list[Path]:
    """The files under a source tree, sorted, without what Python and tools leave there."""
    if top.is_file():
        return [top]
    found = (
        path
        for path in top.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
        and not any(part in IGNORED or part.endswith(".egg-info") for part in path.parts)
    )  # fmt: skip
    return sorted(found)


def digest_files(paths: Iterable[Path], *extra: str) -> str:
    """A hash over names and contents; file modes are set when staging, so they do not count."""
    digest = hashlib.sha256()
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        body = path.read_bytes()
        digest.update(f"{name}\0{len(body)}\0".encode() + body)
    for item in extra:
        digest.update(f"\0{item}".encode())
    return digest.hexdigest()


def recipe_files() -> list[Path]:
    return source_files(Path(__file__).resolve().parent)


def image_digest(image: Image, base: str) -> str:
    """The hash of everything that decides what is in the image."""
    projects = [str(Path(part).parent / "pyproject.toml") for part in image.packages]
    tops = [ROOT / part for part in (*image.packages, *projects, *image.scripts)]
    missing = [str(top.relative_to(ROOT)) for top in tops if not source_files(top)]
    if missing:
        raise StepFailed(
            f"collecting the sources of the {image.name} image",
            "restore them from git; a Containerfile without them cannot be built",
            f"missing: {', '.join(missing)}",
        )
    files = [file for top in tops for file in source_files(top)]
    return digest_files(
        [image.containerfile, image.requirements, *recipe_files(), *files], base, ARCH
    )


def reference(image: Image, digest: str) -> str:
    return f"{image.repository}:dev-{digest[:12]}"


def archive(image: Image, digest: str) -> Path:
    return cache_dir() / f"{image.name}-{digest[:12]}.tar"
