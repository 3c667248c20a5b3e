"""The two ways to turn a Containerfile into an archive: Docker where it answers, else buildah."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .base import ensure_base
from .inputs import DOCKER_BASE, Image, cache_dir
from .steps import install_missing, run, works

FULL_DISK = "free disk space, then run this again"


def docker_answers() -> bool:
    return works("docker", "version", "--format", "{{.Server.Version}}")


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder that goes away, with the mounts that a failed build may have left in it."""
    scratch = Path(tempfile.mkdtemp(dir=cache_dir(), prefix="tmp-build-"))
    try:
        yield scratch
    finally:
        remove(scratch)


def remove(folder: Path) -> None:
    mounts = Path("/proc/self/mounts")
    if mounts.exists():
        points = [line.split()[1] for line in mounts.read_text().splitlines()]
        for point in reversed([p for p in points if p.startswith(f"{folder}/")]):
            works("umount", point)
    shutil.rmtree(folder, ignore_errors=True)


def build_with_docker(image: Image, ref: str, scratch: Path) -> Path:
    """Build what is staged in `scratch`; return the archive, in there too."""
    way_out = "read the lines above; `--engine buildah` builds without Docker"
    result = scratch / "image.tar"
    command: list[str | Path] = [
        "docker", "build", "--build-arg", f"BASE={DOCKER_BASE}",
        "--file", scratch / "Containerfile", "--tag", ref, scratch / "context",
    ]  # fmt: skip
    run(f"docker build of {image.name}", command, way_out=way_out)
    save: list[str | Path] = ["docker", "save", "--output", result, ref]
    run(f"docker save of {image.name}", save, way_out=FULL_DISK)
    return result


def build_with_buildah(image: Image, ref: str, scratch: Path) -> Path:
    """The same, with a storage in `scratch` that goes away with it, so that it never grows."""
    install_missing({"buildah": "buildah"})
    result, policy = scratch / "image.tar", scratch / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    buildah = buildah_in(scratch)
    command: list[str | Path] = [
        *buildah, "bud", "--isolation", "chroot", "--layers", "--timestamp", "0",
        "--format", "docker", "--signature-policy", policy,
        "--build-arg", f"BASE=docker-archive:{ensure_base()}",
        "--file", scratch / "Containerfile", "--tag", ref, scratch / "context",
    ]  # fmt: skip
    way_out = "read the lines above; `python3 images clean` makes it start from nothing"
    run(f"buildah build of {image.name}", command, way_out=way_out)
    push: list[str | Path] = [*buildah, "push", "--quiet", "--signature-policy", policy, ref]
    push.append(f"docker-archive:{result}:{ref}")
    run(f"writing the archive of {image.name}", push, way_out=FULL_DISK)
    return result


def buildah_in(scratch: Path) -> list[str]:
    """overlay takes half the time; vfs copies everything for each layer but works everywhere."""
    for driver in ("overlay", "vfs"):
        places = ["--root", str(scratch / driver), "--runroot", str(scratch / f"{driver}-run")]
        command = ["buildah", "--storage-driver", driver, *places]
        if driver == "vfs" or works(*command, "info"):
            break
    return command
