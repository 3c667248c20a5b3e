"""Where things live and which addresses are used: pure values, read once from the environment."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cluster.report import ClusterError

#: Every process of the cluster carries this variable (see processes.py).
MARKER = "PADDOCK_CLUSTER_PROCESS"
NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?")

NODE_NAME = "paddock"
#: The node has an address of its own, on `lo`, so that certificates and etcd's records stay right
#: when the machine gets another address, and nothing of the cluster listens on the machine's own.
NODE_IP = "10.203.0.1"
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
POD_CIDR = "10.244.0.0/16"
#: This node's share: room for 250 pods, with addresses that are not reused at once.
NODE_POD_CIDR = "10.244.0.0/22"
POD_GATEWAY = "10.244.0.1"
MAX_PODS = 250

LOOPBACK = "127.0.0.1"
PORTS: dict[str, tuple[tuple[str, int], ...]] = {
    # Not etcd's usual 2379, so that a test may start an etcd of its own with default ports.
    "etcd": ((LOOPBACK, 12379), (LOOPBACK, 12380)),
    "containerd": (),
    "kube-apiserver": ((NODE_IP, 6443),),
    "kube-controller-manager": ((LOOPBACK, 10257),),
    "kube-scheduler": ((LOOPBACK, 10259),),
    "kubelet": ((NODE_IP, 10250), (LOOPBACK, 10248)),
    "kube-proxy": ((LOOPBACK, 10256), (LOOPBACK, 10249)),
}
API_SERVER = f"https://{NODE_IP}:6443"


@dataclass(frozen=True)
class Settings:
    """One instance of the cluster, by name, below one cache folder."""

    name: str
    cache: Path
    versions: Mapping[str, Any]

    @property
    def builds(self) -> Path:
        """Built binaries, one folder per component and key; kept by `down`."""
        return self.cache / "builds"

    @property
    def run(self) -> Path:
        """All durable state of this instance; deleted by `down`."""
        return self.cache / "clusters" / self.name

    @cached_property
    def volatile(self) -> Path:
        """Sockets, mounts and namespaces: what does not survive a boot.

        Under /run and short: containerd allows its shims' socket folder 42 characters. The hash
        keeps instances of different cache folders apart.
        """
        digest = hashlib.sha256(str(self.run).encode()).hexdigest()[:6]
        return Path("/run/paddock") / f"{self.name}-{digest}"

    @property
    def logs(self) -> Path:
        return self.run / "log"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.run / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def containerd_socket(self) -> Path:
        return self.volatile / "containerd.sock"

    @property
    def lock(self) -> Path:
        return self.cache / "locks" / f"{self.name}.lock"

    @cached_property
    def cgroup(self) -> str:
        """The parent of every pod's cgroup: what runs in it is ours, whoever its parent is."""
        return f"/paddock-{self.volatile.name}"

    @cached_property
    def network(self) -> str:
        """Name of the CNI network and of our own firewall table."""
        return f"paddock-{self.volatile.name}"

    def version(self, component: str) -> str:
        return str(self.versions["components"][component])

    @property
    def pause_image(self) -> str:
        return f"localhost/paddock-pause:{self.versions['images']['pause']}"


def load_versions(path: Path | None = None) -> dict[str, Any]:
    """Read versions.toml beside this file."""
    path = path or Path(__file__).with_name("versions.toml")
    return tomllib.loads(path.read_text())


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings for the instance that the environment names."""
    environ = os.environ if environ is None else environ
    name = environ.get("PADDOCK_CLUSTER_NAME") or "default"
    if not NAME_PATTERN.fullmatch(name):
        raise ClusterError(
            f"PADDOCK_CLUSTER_NAME={name!r}: at most 16 lower-case letters, digits and dashes"
        )
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    base = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    settings = Settings(name=name, cache=base.absolute() / "paddock", versions=load_versions())
    # Unix sockets below the kubelet's folder may have 107 bytes in all.
    if len(os.fsencode(settings.run)) > 64:
        raise ClusterError(
            f"{settings.run}: too long a path for the sockets below it; "
            "set XDG_CACHE_HOME to a shorter folder"
        )
    return settings
