"""`python3 images build | list | clean`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .base import base_archive, base_digest, ensure_base
from .engines import build_with_buildah, build_with_docker, docker_answers, remove, workplace
from .inputs import DOCKER_BASE, IMAGES, Image, archive, cache_dir, image_digest, locked, reference
from .steps import StepFailed, say, timed
from .tree import prune_deps, stage

KEPT = 2  # archives of each image


def base_identity(engine: str) -> str:
    """What the images' hash knows of their base; making the local base is the price of asking."""
    if engine == "docker":
        return DOCKER_BASE
    ensure_base()
    return base_digest() or ""


def build(names: Sequence[str], engine: str, *, fresh_base: bool) -> None:
    if fresh_base and engine == "buildah":
        ensure_base(fresh=True)
    base = base_identity(engine)
    for name in names:
        image = IMAGES[name]
        digest = image_digest(image, base)
        target = archive(image, digest)
        if target.exists():
            target.touch()
            say(f"{reference(image, digest)} is up to date")
        else:
            digest, target = make(image, base, engine)
        prune(image)
        print(line(image, reference(image, digest), target), flush=True)
    prune_deps()
    say(f"{cache_dir()} holds {used(cache_dir()) / 1e6:.0f} MB")


def make(image: Image, base: str, engine: str) -> tuple[str, Path]:
    """Build the image of the sources as they are now."""
    run = build_with_docker if engine == "docker" else build_with_buildah
    what = f"building the {image.name} image with {engine}"
    with timed(what, usually="10 to 60 s"), workplace() as scratch:
        digest = stage(image, base, scratch)
        target = archive(image, digest)
        run(image, reference(image, digest), scratch).replace(target)
    say(f"{reference(image, digest)}: {target.stat().st_size / 1e6:.0f} MB")
    return digest, target


def show(names: Sequence[str], engine: str) -> None:
    base = DOCKER_BASE if engine == "docker" else base_digest()
    for name in names:
        image = IMAGES[name]
        digest = image_digest(image, base or "")
        target = archive(image, digest)
        if base is None or not target.exists():
            raise StepFailed(
                f"looking for the {name} image of these sources",
                f"build it first: python3 images build {name}",
            )
        print(line(image, reference(image, digest), target))


def line(image: Image, ref: str, target: Path) -> str:
    return f"{image.name}={ref} {target}"


def prune(image: Image) -> None:
    archives = sorted(cache_dir().glob(f"{image.name}-*.tar"), key=lambda p: p.stat().st_mtime)
    for old in archives[:-KEPT]:
        say(f"removing {old.name}, {KEPT} newer ones are there")
        old.unlink()
    for old in cache_dir().glob("base-*"):
        if old.stem != base_archive().stem:
            old.unlink()
    for left in cache_dir().glob("tmp-*"):  # a killed build left it; the lock says that none runs
        remove(left)


def used(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def clean() -> None:
    folder = cache_dir()
    size = used(folder)
    for path in folder.iterdir():
        if path.name.startswith(("base-", "deps-", "tmp-", *(f"{name}-" for name in IMAGES))):
            remove(path) if path.is_dir() else path.unlink()
    say(f"removed {(size - used(folder)) / 1e6:.0f} MB from {folder}")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 images", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    for name, text in (
        ("build", "build what changed and print `name=ref tar` for each image"),
        ("list", "print `name=ref tar` for the images of the sources as they are"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("images", nargs="*", metavar="IMAGE", help=" or ".join(IMAGES))
        command.add_argument(
            "--engine", choices=("docker", "buildah"), help="default: Docker where it answers"
        )
        if name == "build":
            command.add_argument(
                "--fresh-base", action="store_true", help="make the Debian base again"
            )
    commands.add_parser("clean", help="remove everything that was built or cached")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        with locked():
            if options.command == "clean":
                clean()
                return 0
            names = options.images or list(IMAGES)
            unknown = [name for name in names if name not in IMAGES]
            if unknown:
                raise StepFailed(f"finding image {unknown[0]!r}", f"use {' or '.join(IMAGES)}")
            engine = options.engine or ("docker" if docker_answers() else "buildah")
            if options.command == "build":
                build(names, engine, fresh_base=options.fresh_base)
            else:
                show(names, engine)
    except StepFailed as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
