"""What the Containerfiles copy: the pinned wheels, unpacked for Linux, and our sources."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from .inputs import (
    ARCH,
    IMAGES,
    PYTHON,
    ROOT,
    Image,
    cache_dir,
    digest_files,
    image_digest,
    source_files,
)
from .steps import StepFailed, install_missing, run, timed, works

GLIBC = range(17, 37)  # Debian 12 has glibc 2.36
DROPPED_FOLDERS = {"tests", "test", "__pycache__"}
DROPPED_SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".hash"}
DROPPED_NOTES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
# Generated code, loaded on demand: 120 MB with byte code. The operator sends and reads plain JSON
# by the client's transport and configuration, never by these; tests/chart holds it to that.
DROPPED_MODULES = tuple(
    f"kubernetes/{flavour}client/{part}" for flavour in ("", "aio/") for part in ("api", "models")
)


def find_pip() -> list[str]:
    """A Python that has pip: this one, the project's virtual environment, or Debian's."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for python in (str(ROOT / ".venv" / "bin" / "python"), "/usr/bin/python3"):
        if works(python, "-m", "pip", "--version"):
            return [python, "-m", "pip"]
    install_missing({"pip3": "python3-pip"})
    return ["/usr/bin/python3", "-m", "pip"]


def platforms() -> list[str]:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(ARCH)
    if not machine:
        raise StepFailed(
            "choosing wheels", "build on amd64 or arm64", f"no wheels are pinned for {ARCH}"
        )
    tags = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC]
    return [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}")]


def ensure_deps(image: Image) -> Path:
    """The image's third-party packages as a tree, made once for each requirements file."""
    key = digest_files([image.requirements, Path(__file__).resolve()], ARCH)[:12]
    target = cache_dir() / f"deps-{image.name}-{key}"
    if target.exists():
        return target
    with (
        timed(f"unpacking the pinned wheels of the {image.name} image", usually="5 to 30 s"),
        tempfile.TemporaryDirectory(dir=cache_dir(), prefix="tmp-deps-") as scratch,
    ):
        tree = Path(scratch) / "tree"
        command = [
            *find_pip(), "install", "--quiet", "--no-input", "--disable-pip-version-check",
            "--root-user-action=ignore", "--no-compile", "--no-deps", "--require-hashes",
            "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}",
            *platforms(), f"--target={tree}", f"--requirement={image.requirements}",
        ]  # fmt: skip
        way_out = (
            "see whether `pip download` works here; if a hash differs, "
            f"make {image.requirements.relative_to(ROOT)} again and read the diff"
        )
        run(f"unpacking {image.requirements.relative_to(ROOT)}", command, way_out=way_out)
        trim(tree)
        for path in tree.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        tree.chmod(0o755)
        tree.replace(target)
    return target


def trim(tree: Path) -> None:
    """Drop what no import at run time needs; licences and entry points stay."""
    for folder in (tree / "bin", *(p for p in tree.rglob("*") if p.name in DROPPED_FOLDERS)):
        if folder.is_dir():
            shutil.rmtree(folder)
    for path in [p for p in tree.rglob("*") if p.is_file()]:
        noted = path.name in DROPPED_NOTES and path.parent.suffix == ".dist-info"
        if noted or path.suffix in DROPPED_SUFFIXES:
            path.unlink()
    for name in DROPPED_MODULES:
        for path in (tree / name).glob("*.py"):
            if path.name != "__init__.py":
                path.unlink()


def stage(image: Image, base: str, scratch: Path) -> str:
    """Copy all inputs, and return the hash of exactly these: sources may change any time."""
    context = scratch / "context"
    while True:
        digest = image_digest(image, base)
        shutil.rmtree(context, ignore_errors=True)
        lay_out(image, context)
        shutil.copyfile(image.containerfile, scratch / "Containerfile")
        if image_digest(image, base) == digest:
            return digest


def lay_out(image: Image, context: Path) -> None:
    """The build context: deps/ (wheels), paddock/{lib,bin} (packages, entry points)."""
    shutil.copytree(ensure_deps(image), context / "deps", copy_function=os.link)
    for top in image.packages:
        for file in source_files(ROOT / top):
            place(file, context / "paddock" / "lib" / file.relative_to(ROOT / top))
        note_version(ROOT / top, context / "paddock" / "lib")
    for script in image.scripts:
        place(ROOT / script, context / "paddock" / "bin" / Path(script).name)
    for folder in [p for p in context.rglob("*") if p.is_dir()]:
        folder.chmod(0o755)


def note_version(top: Path, lib: Path) -> None:
    """What importlib.metadata reads: a source tree is copied, not installed."""
    project = tomllib.loads((top.parent / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    folder = lib / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    note = folder / "METADATA"
    note.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    note.chmod(0o644)


def place(file: Path, target: Path) -> None:
    """Copy with a mode of our own: the image's user is not the one who checked the sources out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    target.chmod(0o644)


def prune_deps() -> None:
    """Keep the two newest trees of each image."""
    for name in IMAGES:
        trees = sorted(cache_dir().glob(f"deps-{name}-*"), key=lambda p: p.stat().st_mtime)
        for old in trees[:-2]:
            shutil.rmtree(old)
