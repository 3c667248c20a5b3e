"""Renders the configuration of every component: pure functions from settings to text.

JSON is written where the components read YAML: it is a subset, and needs no library.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cluster.settings import (
    API_SERVER,
    DNS_IP,
    LOOPBACK,
    MAX_PODS,
    NODE_IP,
    NODE_NAME,
    NODE_POD_CIDR,
    POD_CIDR,
    Settings,
)


def containerd(settings: Settings, runc: str, cni_bin: Path) -> str:
    """Everything that could meet another containerd of the machine has a place of its own."""
    volatile = settings.volatile
    return f"""\
version = 3
root = "{settings.run}/containerd"
state = "{volatile}/containerd"
disabled_plugins = ["io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "{settings.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{settings.run}/containerd-opt"

# The node resource interface would listen on one socket for the whole machine.
[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "{volatile}/s"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{settings.pause_image}"

[plugins."io.containerd.cri.v1.runtime"]
  # A root without CAP_SYS_RESOURCE may not lower an OOM score; runc would die of it.
  restrict_oom_score_adj = true
  # Pods' network namespaces are mounted below our own folder, so that we know them as ours.
  netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  Root = "{volatile}/runc"

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{cni_bin}"]
  conf_dir = "{settings.run}/cni"
  # containerd brings a pod's `lo` up itself, without a plugin and its file in a shared folder.
  use_internal_loopback = true
"""


def cni(settings: Settings) -> str:
    """Pods by point-to-point links: the host routes, and so its firewall can see, every packet.

    No masquerading here: one rule of our own does it for the whole node (see `firewall`), which
    spares each pod's start a rule and each crash its leftovers.
    """
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": NODE_POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{settings.run}/cni-ipam",
    }
    return _json(
        {
            "cniVersion": "1.0.0",
            "name": settings.network,
            "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}],
        }
    )


def firewall(settings: Settings) -> str:
    """Pods reach the outside by the machine's address; services are already translated here."""
    return f"""\
table ip {settings.network} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {POD_CIDR} ip daddr != {POD_CIDR} ip daddr != 224.0.0.0/4 masquerade
  }}
}}
"""


def kubelet(settings: Settings) -> str:
    """The kubelet's configuration."""
    pki = settings.pki
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_IP,
            "healthzBindAddress": LOOPBACK,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/kubelet.crt",
            "tlsPrivateKeyFile": f"{pki}/kubelet.key",
            "containerRuntimeEndpoint": f"unix://{settings.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": settings.cgroup,
            # Many CI machines are still on cgroup v1, and some swap.
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS_IP],
            "maxPods": MAX_PODS,
            # A sandbox's own limit is lower; this one is for what else people run.
            "podPidsLimit": 1024,
            "podLogsDir": f"{settings.run}/pod-logs",
            "volumePluginDir": f"{settings.run}/volume-plugins",
            "serializeImagePulls": False,
            # Images are loaded, not pulled: what is collected here would not come back.
            "imageGCHighThresholdPercent": 100,
            # A developer's disk is often nearly full, which is no reason to evict sandboxes.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            # No iptables chains: kube-proxy works with nftables.
            "makeIPTablesUtilChains": False,
        }
    )


def kube_proxy(settings: Settings) -> str:
    """kube-proxy's configuration: nftables, and the machine's conntrack left as it is."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": f"{settings.run}/kube-proxy.kubeconfig"},
            "hostnameOverride": NODE_NAME,
            "clusterCIDR": POD_CIDR,
            "healthzBindAddress": f"{LOOPBACK}:10256",
            "metricsBindAddress": f"{LOOPBACK}:10249",
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
    )


def audit_policy() -> str:
    """Who wrote what, without bodies: enough to count the writes of every identity."""
    return _json(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {
                    "level": "Metadata",
                    "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                },
                {"level": "None"},
            ],
        }
    )


def kubeconfig(user: str, ca: bytes, certificate: bytes, key: bytes) -> str:
    """A kubeconfig that holds its certificates, so that it works when copied elsewhere."""

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    cluster = {"server": API_SERVER, "certificate-authority-data": encoded(ca)}
    client = {
        "client-certificate-data": encoded(certificate),
        "client-key-data": encoded(key),
    }
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "paddock", "cluster": cluster}],
            "users": [{"name": user, "user": client}],
            "contexts": [{"name": "paddock", "context": {"cluster": "paddock", "user": user}}],
            "current-context": "paddock",
        }
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"
