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
from .tree import stage

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


def build_with_docker(image: Image, ref: str, target: Path) -> None:
    way_out = "read the lines above; `--engine buildah` builds without Docker"
    with workplace() as scratch:
        context, result = scratch / "context", scratch / "image.tar"
        stage(image, context)
        command = [
            "docker", "build", "--build-arg", f"BASE={DOCKER_BASE}",
            "--file", image.containerfile, "--tag", ref, context,
        ]  # fmt: skip
        run(f"docker build of {image.name}", command, way_out=way_out)
        save = ["docker", "save", "--output", result, ref]
        run(f"docker save of {image.name}", save, way_out=FULL_DISK)
        result.replace(target)


def build_with_buildah(image: Image, ref: str, target: Path) -> None:
    """Build in a storage of its own that is thrown away, so that it never grows."""
    install_missing({"buildah": "buildah"})
    base = ensure_base()
    with workplace() as scratch:
        context, result, policy = scratch / "context", scratch / "image.tar", scratch / "policy"
        stage(image, context)
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        buildah = buildah_in(scratch)
        command = [
            *buildah, "bud", "--isolation", "chroot", "--layers", "--timestamp", "0",
            "--format", "docker", "--signature-policy", policy,
            "--build-arg", f"BASE=docker-archive:{base}",
            "--file", image.containerfile, "--tag", ref, context,
        ]  # fmt: skip
        way_out = "read the lines above; `python3 images clean` makes it start from nothing"
        run(f"buildah build of {image.name}", command, way_out=way_out)
        push = [*buildah, "push", "--quiet", "--signature-policy", policy, ref]
        run(f"writing {target.name}", [*push, f"docker-archive:{result}:{ref}"], way_out=FULL_DISK)
        result.replace(target)


def buildah_in(scratch: Path) -> list[str]:
    """overlay takes half the time; vfs copies everything for each layer but works everywhere."""
    for driver in ("overlay", "vfs"):
        places = ["--root", str(scratch / driver), "--runroot", str(scratch / f"{driver}-run")]
        command = ["buildah", "--storage-driver", driver, *places]
        if driver == "vfs" or works(*command, "info"):
            break
    return command
