"""A small Debian with Python, as an image archive: the base where no registry and no Docker is.

It has what python:3.11-slim-bookworm has (Python, CA certificates, time zones), without pip, perl,
apt, manuals and setuid files. With the same packages it comes out the same, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from .inputs import ARCH, cache_dir
from .steps import install_missing, run, say, timed

SUITE = "bookworm"
PACKAGES = ("python3", "usr-is-merged", "ca-certificates", "netbase", "tzdata")
OLD_AFTER_DAYS = 30
# usrmerge would bring all of perl (40 MB) for a job that the merged-usr hook has done already.
BEFORE = (
    'mkdir -p "$1/etc/apt/preferences.d"; '
    r'printf "Package: usrmerge\nPin: release *\nPin-Priority: -1\n" '
    '> "$1/etc/apt/preferences.d/no-usrmerge"'
)
# Byte code that does not depend on times, for a root that is read-only and rebuilt equal.
AFTER = (
    'PYTHONHASHSEED=0 chroot "$1" python3 -m compileall -q -f --invalidation-mode unchecked-hash '
    "/usr/lib/python3.11 /usr/lib/python3; "
    'find "$1" -xdev -perm /6000 -exec chmod ug-s {} +; '
    'rm -rf "$1/etc/apt/sources.list" "$1/etc/apt/preferences.d/no-usrmerge" '
    '"$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$1/var/lib/dpkg/info/"*.md5sums '
    '"$1/var/log/"* "$1/var/cache/"*'
)
WITHOUT = ("doc", "man", "info", "locale")
WAY_OUT = (
    "see whether `apt-get update` works here: the base comes from the same Debian mirror; "
    "where Docker runs, no such base is needed"
)


def recipe() -> list[str]:
    """The mmdebstrap options that decide what is in the base."""
    options = ["--variant=essential", f"--include={','.join(PACKAGES)}", "--skip=output/dev"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in WITHOUT]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    options += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
    options += [f"--setup-hook={BEFORE}", f"--customize-hook={AFTER}"]
    return [*options, SUITE]


def base_archive() -> Path:
    key = hashlib.sha256(json.dumps([recipe(), ARCH]).encode()).hexdigest()[:12]
    return cache_dir() / f"base-{key}.tar"


def base_digest() -> str | None:
    """What names the base: the hash of its content, or None while there is none."""
    note = base_archive().with_suffix(".digest")
    return note.read_text().strip() if note.exists() and base_archive().exists() else None


def mirror_lines() -> list[str]:
    """The host's own apt sources for this suite, so that a local mirror and updates are used."""
    if not shutil.which("apt-get"):
        return []
    form = "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    listed = run("reading apt's sources", command, way_out=WAY_OUT)
    rows = (line.split("|") for line in listed.splitlines())
    return sorted(
        {
            f"deb {uri} {codename} {component}"
            for origin, uri, codename, component in rows
            if origin == "Debian" and component == "main"
            and codename in (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
        }
    )  # fmt: skip


def proxy_options() -> list[str]:
    """apt's proxy and CA settings of this host; mmdebstrap starts from none."""
    dump = run("reading apt's settings", ["apt-config", "dump"], way_out=WAY_OUT)
    wanted = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CaInfo")
    return [f"--aptopt={line}" for line in dump.splitlines() if line.startswith(wanted)]


def ensure_base(*, fresh: bool = False) -> Path:
    """The base's archive, made if it is not there (or `fresh` is asked for)."""
    target = base_archive()
    if base_digest() and not fresh:
        days = (time.time() - target.stat().st_mtime) / 86400
        if days > OLD_AFTER_DAYS:
            say(f"the Debian base is {days:.0f} days old; `build --fresh-base` takes in updates")
        return target
    install_missing({"mmdebstrap": "mmdebstrap", "buildah": "buildah"})
    with (
        timed(f"making the base image (Debian {SUITE}, Python)", usually="20 to 35 s"),
        tempfile.TemporaryDirectory(dir=cache_dir(), prefix="tmp-base-") as scratch,
    ):
        rootfs = Path(scratch) / "rootfs.tar"
        command: list[str | Path] = ["mmdebstrap", *proxy_options(), *recipe()]
        command += [rootfs, *mirror_lines()]
        # Times are clamped to the epoch, so equal packages give equal archives.
        env = {"SOURCE_DATE_EPOCH": "0", "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
        run("making the Debian base", command, way_out=WAY_OUT, env=env)
        digest = write_archive(rootfs, Path(scratch) / "base.tar")
        (Path(scratch) / "base.tar").replace(target)
        target.with_suffix(".digest").write_text(digest + "\n")
    return target


def write_archive(rootfs: Path, target: Path) -> str:
    """Wrap a root file system as a `docker-archive` of one layer and return the layer's hash."""
    with rootfs.open("rb") as file:
        layer = hashlib.file_digest(file, "sha256").hexdigest()
    config = {
        "architecture": ARCH,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["python3"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mmdebstrap"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": ["localhost/paddock-base:local"],
                 "Layers": ["layer.tar"]}]  # fmt: skip
    work = target.parent
    (work / "config.json").write_text(json.dumps(config))
    (work / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(target, "w") as tar:
        tar.add(work / "manifest.json", "manifest.json")
        tar.add(work / "config.json", "config.json")
        tar.add(rootfs, "layer.tar")
    return layer
