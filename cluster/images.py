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
        packages.ensure_packages(packages.BUILD_COMMANDS)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder) / "pause.c", Path(folder) / "pause"
            source.write_text(PAUSE_C)
            command = ["gcc", "-static", "-Os", "-s", "-o", str(program), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ComponentError("pause image", f"gcc failed: {done.stderr[-800:]}")
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
        digest = next((field for field in fields if field.startswith("sha256:")), "")
        if digest and "io.cri-containerd.image=managed" in line:
            found[fields[0]] = digest
    return found


def _import(settings: Settings, archive: Path) -> None:
    done = ctr(settings, "images", "import", str(archive))
    if done.returncode != 0:
        raise ComponentError("load", f"{archive}: {done.stderr.strip()[-800:]}")


def names(archive: Path) -> list[str]:
    """Return the full names of the images in a docker or OCI archive."""
    try:
        with tarfile.open(archive) as tar:
            members = {member.name.removeprefix("./"): member for member in tar}

            def read(name: str) -> Any:
                file = tar.extractfile(members[name])
                return json.load(file) if file else None

            if "manifest.json" in members:
                return [tag for image in read("manifest.json") for tag in image["RepoTags"] or []]
            if "index.json" in members:
                notes = [m.get("annotations", {}) for m in read("index.json")["manifests"]]
                keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
                found = [next((n[key] for key in keys if key in n), "") for n in notes]
                return [name for name in found if name]
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{archive} is no image archive: {error}") from error
    raise ClusterError(f"{archive} is no image archive: neither manifest.json nor index.json")


def load(settings: Settings, archives: list[Path]) -> None:
    """Import archives, each once: a second load of the same bytes does nothing."""
    record = settings.run / "loaded.json"
    loaded: dict[str, dict[str, str]] = {}
    if record.is_file():
        loaded = json.loads(record.read_text())
    for archive in archives:
        started = time.monotonic()
        wanted = names(archive)
        with archive.open("rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()
        present = digests(settings)
        before = loaded.get(key, {})
        if before and all(present.get(name) == digest for name, digest in before.items()):
            say(f"{archive.name}: already loaded ({', '.join(before)})")
            continue
        _import(settings, archive)
        found = _wait_for(settings, wanted)
        loaded[key] = found
        temporary = record.with_name(f".{record.name}.{os.getpid()}")
        temporary.write_text(json.dumps(loaded, indent=1))
        temporary.rename(record)
        say(f"{archive.name}: loaded {', '.join(found)}: {duration(time.monotonic() - started)}")


def _wait_for(settings: Settings, wanted: list[str]) -> dict[str, str]:
    """Wait until the kubelet would find the images, which is a moment after the import."""
    deadline = time.monotonic() + 10
    while True:
        present = digests(settings)
        if all(name in present for name in wanted):
            return {name: present[name] for name in wanted}
        if time.monotonic() > deadline:
            missing = ", ".join(name for name in wanted if name not in present)
            raise ComponentError("containerd", f"imported, but does not list {missing}")
        time.sleep(0.05)
