"""Images: the pause image, made here, and `load` for everybody else's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from cluster import packages
from cluster.report import ClusterError, ComponentError, duration, say
from cluster.settings import Settings

#: Holds a pod's namespaces: waits for its end, and buries processes that lost their parent.
PAUSE_C = """\
#include <signal.h>
#include <sys/wait.h>

int main(void) {
  sigset_t set;
  int number;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, 0);
  while (sigwait(&set, &number) == 0 && number == SIGCHLD)
    while (waitpid(-1, 0, WNOHANG) > 0)
      ;
  return 0;
}
"""


def _tar(entries: dict[str, tuple[bytes, int]]) -> bytes:
    """Pack files so that equal contents always give equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (data, mode) in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), mode, 0
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def one_file_image(reference: str, name: str, program: bytes) -> bytes:
    """Return an image of one program as an archive in Docker's format."""
    layer = _tar({name: (program, 0o755)})
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": [f"/{name}"], "User": "65535:65535"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    return _tar(
        {
            config_name: (config, 0o644),
            "layer.tar": (layer, 0o644),
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
        }
    )


def ensure_pause(settings: Settings) -> None:
    """Make and import the pause image where containerd does not have it."""
    if settings.pause_image in digests(settings):
        return
    digest = hashlib.sha256(f"{settings.pause_image}{PAUSE_C}".encode()).hexdigest()[:10]
    archive = settings.cache / "images" / f"pause-{digest}.tar"
    if not archive.is_file():
        packages.ensure_packages(packages.PAUSE_COMMANDS)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder) / "pause.c", Path(folder) / "pause"
            source.write_text(PAUSE_C)
            command = ["gcc", "-static", "-Os", "-s", "-o", str(program), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ClusterError(f"pause image: gcc failed: {done.stderr[-800:]}")
            data = one_file_image(settings.pause_image, "pause", program.read_bytes())
        temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
        temporary.write_bytes(data)
        temporary.rename(archive)
    _import(settings, archive)


def ctr(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run containerd's own client on the namespace that Kubernetes uses."""
    from cluster.builds import build_folder, recipes

    program = build_folder(settings, recipes(settings)["containerd"]) / "ctr"
    command = [str(program), "-a", str(settings.containerd_socket), "-n", "k8s.io", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def digests(settings: Settings) -> dict[str, str]:
    """Return digest by name of every image that the kubelet can use."""
    done = ctr(settings, "images", "ls")
    if done.returncode != 0:
        log = settings.logs / "containerd.log"
        raise ComponentError("containerd", f"does not list images: {done.stderr.strip()}", log)
    return parse_images(done.stdout)


def parse_images(text: str) -> dict[str, str]:
    """Parse `ctr images ls`. The label says that the CRI plugin has taken notice of an image."""
    found = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        digest = next((field for field in fields[1:] if field.startswith("sha256:")), "")
        if digest and "io.cri-containerd.image=managed" in line:
            found[fields[0]] = digest
    return found


def _import(settings: Settings, archive: Path) -> None:
    done = ctr(settings, "images", "import", str(archive))
    if done.returncode != 0:
        raise ClusterError(f"load: {archive}: {done.stderr.strip()[-800:]}")


def contents(archive: Path) -> dict[str, str]:
    """Return id by name of the images in an archive.

    The id is the manifest's digest in an OCI archive and the configuration's in Docker's format;
    either one decides all of the image.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {member.name.removeprefix("./"): member for member in tar}

            def read(name: str) -> Any:
                file = tar.extractfile(members[name]) if name in members else None
                return json.load(file) if file else None

            index, manifest = read("index.json"), read("manifest.json")
        found = _oci_contents(index or {}) or _docker_contents(manifest or [])
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{archive} is no image archive: {error}") from error
    if not found:
        raise ClusterError(f"{archive}: no image with a name in it")
    return found


def _oci_contents(index: dict[str, Any]) -> dict[str, str]:
    found = {}
    for manifest in index.get("manifests", []):
        notes = manifest.get("annotations", {})
        for key in ("io.containerd.image.name", "org.opencontainers.image.ref.name"):
            if key in notes:
                found[notes[key]] = manifest["digest"]
                break
    return found


def _docker_contents(manifest: list[dict[str, Any]]) -> dict[str, str]:
    return {
        tag: f"sha256:{Path(image['Config']).name.removesuffix('.json')}"
        for image in manifest
        for tag in image["RepoTags"] or []
    }


def is_loaded(present: dict[str, str], name: str, identity: str) -> bool:
    """Whether containerd has that very image by that name.

    The CRI plugin also lists every image by its configuration's digest. A short name gets the
    name of a default registry put before it.
    """
    digests_of_it = {identity, present.get(identity)}
    full = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    return any(
        digest in digests_of_it
        for other, digest in present.items()
        if other == full or other.endswith(f"/{full}")
    )


def load(settings: Settings, archives: list[Path]) -> None:
    """Import archives, unless their images are there already."""
    for archive in archives:
        started = time.monotonic()
        wanted = contents(archive)
        if not _missing(settings, wanted):
            say(f"{archive.name}: already loaded ({', '.join(wanted)})")
            continue
        _import(settings, archive)
        # The kubelet finds an image a moment after its import.
        deadline = time.monotonic() + 10
        while missing := _missing(settings, wanted):
            if time.monotonic() > deadline:
                log = settings.logs / "containerd.log"
                raise ComponentError("containerd", f"imported, but does not list {missing}", log)
            time.sleep(0.05)
        say(f"{archive.name}: loaded {', '.join(wanted)}: {duration(time.monotonic() - started)}")


def _missing(settings: Settings, wanted: dict[str, str]) -> list[str]:
    present = digests(settings)
    return [name for name, identity in wanted.items() if not is_loaded(present, name, identity)]
