"""The seven processes of the cluster: how each is started, and in which order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cluster import config
from cluster.settings import (
    LOOPBACK,
    NODE_IP,
    NODE_NAME,
    POD_CIDR,
    SERVICE_CIDR,
    Settings,
)

#: In the order of starting. Everything after the API server needs it.
ORDER = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
KUBECONFIGS = {
    "admin": "admin",
    "kube-controller-manager": "kube-controller-manager",
    "kube-scheduler": "kube-scheduler",
    "kubelet": "kubelet",
    "kube-proxy": "kube-proxy",
}


@dataclass(frozen=True)
class Component:
    """A process to run, with a hash of all that decides how it runs."""

    name: str
    argv: tuple[str, ...]
    spec: str


def files(settings: Settings, runc: str, cni_bin: Path) -> dict[Path, str]:
    """Return every configuration file's text by its path."""
    run = settings.run
    texts = {
        run / "containerd.toml": config.containerd(settings, runc, cni_bin),
        run / "cni" / "10-pods.conflist": config.cni(settings),
        run / "kubelet.json": config.kubelet(settings),
        run / "kube-proxy.json": config.kube_proxy(settings),
        run / "audit-policy.json": config.audit_policy(),
    }
    ca = (settings.pki / "ca.crt").read_bytes()
    for name, certificate in KUBECONFIGS.items():
        crt = (settings.pki / f"{certificate}.crt").read_bytes()
        key = (settings.pki / f"{certificate}.key").read_bytes()
        texts[run / f"{name}.kubeconfig"] = config.kubeconfig(name, ca, crt, key)
    return texts


def components(settings: Settings, binaries: Path, texts: dict[Path, str]) -> list[Component]:
    """Return every component in the order of starting."""
    run = settings.run
    config_of = {
        "etcd": [],
        "containerd": [run / "containerd.toml", run / "cni" / "10-pods.conflist"],
        "kube-apiserver": [run / "audit-policy.json"],
        "kubelet": [run / "kubelet.json", run / "kubelet.kubeconfig"],
        "kube-proxy": [run / "kube-proxy.json", run / "kube-proxy.kubeconfig"],
    }
    # New certificates mean new processes, also for those that only know them by their path.
    ca = (settings.pki / "ca.crt").read_text()
    made = []
    for name in ORDER:
        # The resolved path carries the build's key, so another version is another spec.
        argv = (str((binaries / name).resolve()), *_arguments(settings, name))
        paths = config_of.get(name, [run / f"{name}.kubeconfig"])
        parts = [ca, *argv, *(texts[path] for path in paths)]
        spec = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        made.append(Component(name, argv, spec))
    return made


def _arguments(settings: Settings, name: str) -> list[str]:
    run, pki = settings.run, settings.pki
    etcd = f"https://{LOOPBACK}:12379"
    peer = f"https://{LOOPBACK}:12380"
    etcd_tls = {"cert-file": f"{pki}/etcd.crt", "key-file": f"{pki}/etcd.key"}
    flags: dict[str, dict[str, str]] = {
        # etcd keeps its fsyncs: they take 0.2 ms on the machines that this was measured on, and
        # without them a power cut would cost the cluster's state.
        "etcd": {
            "name": NODE_NAME,
            "data-dir": f"{run}/etcd",
            "listen-client-urls": etcd,
            "advertise-client-urls": etcd,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"{NODE_NAME}={peer}",
            "trusted-ca-file": f"{pki}/etcd-ca.crt",
            "client-cert-auth": "true",
            **etcd_tls,
            "peer-trusted-ca-file": f"{pki}/etcd-ca.crt",
            "peer-client-cert-auth": "true",
            **{f"peer-{key}": value for key, value in etcd_tls.items()},
        },
        "containerd": {"config": f"{run}/containerd.toml"},
        "kube-apiserver": {
            "bind-address": NODE_IP,
            "advertise-address": NODE_IP,
            "secure-port": "6443",
            "etcd-servers": etcd,
            "etcd-cafile": f"{pki}/etcd-ca.crt",
            "etcd-certfile": f"{pki}/apiserver-etcd.crt",
            "etcd-keyfile": f"{pki}/apiserver-etcd.key",
            "tls-cert-file": f"{pki}/apiserver.crt",
            "tls-private-key-file": f"{pki}/apiserver.key",
            "client-ca-file": f"{pki}/ca.crt",
            "anonymous-auth": "false",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "service-cluster-ip-range": SERVICE_CIDR,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": f"{pki}/service-account.pub",
            "service-account-signing-key-file": f"{pki}/service-account.key",
            # The node's name resolves nowhere, so logs and exec go to its address.
            "kubelet-preferred-address-types": "InternalIP",
            "kubelet-certificate-authority": f"{pki}/ca.crt",
            "kubelet-client-certificate": f"{pki}/apiserver-kubelet.crt",
            "kubelet-client-key": f"{pki}/apiserver-kubelet.key",
            # The aggregation layer, for API servers like metrics-server's.
            "requestheader-client-ca-file": f"{pki}/front-proxy-ca.crt",
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": f"{pki}/front-proxy.crt",
            "proxy-client-key-file": f"{pki}/front-proxy.key",
            "audit-policy-file": f"{run}/audit-policy.json",
            "audit-log-path": str(settings.audit_log),
            # Bounded, yet large enough that a test's writes are not rotated away under it.
            "audit-log-maxsize": "100",
            "audit-log-maxbackup": "2",
            "audit-log-maxage": "7",
        },
        "kube-controller-manager": {
            "kubeconfig": f"{run}/kube-controller-manager.kubeconfig",
            "bind-address": LOOPBACK,
            # One of each: an election would only delay the start.
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": f"{pki}/service-account.key",
            "root-ca-file": f"{pki}/ca.crt",
            "cluster-signing-cert-file": f"{pki}/ca.crt",
            "cluster-signing-key-file": f"{pki}/ca.key",
            "allocate-node-cidrs": "true",
            "cluster-cidr": POD_CIDR,
            "node-cidr-mask-size": "22",
            # At the usual 20 requests a second a new cluster waits 4 s for its service accounts.
            "kube-api-qps": "200",
            "kube-api-burst": "400",
        },
        "kube-scheduler": {
            "kubeconfig": f"{run}/kube-scheduler.kubeconfig",
            "bind-address": LOOPBACK,
            "leader-elect": "false",
        },
        "kubelet": {
            "config": f"{run}/kubelet.json",
            "kubeconfig": f"{run}/kubelet.kubeconfig",
            "hostname-override": NODE_NAME,
            "node-ip": NODE_IP,
            "root-dir": f"{run}/kubelet",
        },
        "kube-proxy": {"config": f"{run}/kube-proxy.json"},
    }
    return [f"--{key}={value}" for key, value in flags[name].items()]
