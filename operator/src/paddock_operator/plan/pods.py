"""The sandbox pod: one pure function from a template to a Pod manifest.

There is no pod spec to pass through: every field below is ours, so a template can choose an
image and sizes and nothing else. The security fields are written last and from constants.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paddock_api.messages import RUNTIME_PORT
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.views import SANDBOX_LABEL, ObjectView

RUNTIME_UID = 65531
"""User and group of the runtime container in every sandbox; never a workspace's."""
CONTROL_DIR = "/run/paddock"
JOURNAL_DIR = "/var/lib/paddock"
RUNTIME_RESOURCES = {
    "requests": {"cpu": "25m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
    # 1 cpu: with 500m the quota throttled start-up and one-liners (docs/performance.md).
    "limits": {"cpu": "1", "memory": "128Mi", "ephemeral-storage": "768Mi"},
}
TERMINATION_GRACE_SECONDS = 5
NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Tolerated for a minute instead of Kubernetes' five: whoever waits for a session on a node that
is gone is told sooner, and a kubelet that restarts is back within seconds."""
DEADLINE_SLACK_SECONDS = 300
"""activeDeadlineSeconds is the backstop behind the runtime's own clock: it must never win."""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the operator's configuration adds to a template."""

    runtime_image: str
    verify_keys: str
    """Comma-separated base64 of the raw public keys whose tokens the runtime takes."""
    restart_rules: bool
    """Whether the API server knows `restartPolicyRules` (1.35 on)."""
    image_pull_policy: str = "IfNotPresent"


def build_pod(
    sandbox: ObjectView,
    template: SandboxTemplateSpec,
    settings: PodSettings,
    workspace_uid: int,
    volume_claim: str | None = None,
) -> dict[str, Any]:
    """The Pod of a sandbox: its name, its controller, two containers, nothing of the user's.

    `volume_claim` names the PersistentVolumeClaim of the workspace; None: files go with the pod.
    """
    told = template.to_settings(sandbox.uid).to_json().decode()
    runtime = _container(
        "runtime",
        settings.runtime_image,
        ["python3", "-I", "/opt/paddock/bin/runtime.py"],
        env={
            "PADDOCK_SETTINGS": told,
            "PADDOCK_VERIFY_KEYS": settings.verify_keys,
            "PADDOCK_PORT": str(RUNTIME_PORT),
            "PADDOCK_CONTROL_DIR": CONTROL_DIR,
            "PADDOCK_JOURNAL_DIR": JOURNAL_DIR,
            "PADDOCK_WORKSPACE_UID": str(workspace_uid),
        },
        mounts={"control": CONTROL_DIR, "journal": JOURNAL_DIR, "runtime-tmp": "/tmp"},  # noqa: S108
        resources=RUNTIME_RESOURCES,
        uid=RUNTIME_UID,
        settings=settings,
    )
    runtime |= {
        "ports": [{"name": "runtime", "containerPort": RUNTIME_PORT, "protocol": "TCP"}],
        # For people and `kubectl get pods`: the operator asks /readyz itself, much sooner.
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": RUNTIME_PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 2,
        },
    }
    workspace = _container(
        "workspace",
        template.image or settings.runtime_image,
        ["python3", "-I", "/opt/paddock/bin/workspace.py"],
        env={
            "PADDOCK_SETTINGS": told,
            "PADDOCK_CONTROL_DIR": CONTROL_DIR,
            "PADDOCK_RUNTIME_UID": str(RUNTIME_UID),
        },
        mounts={
            "control": CONTROL_DIR,
            "workspace": "/workspace",
            "tmp": "/tmp",  # noqa: S108
            "shm": "/dev/shm",  # noqa: S108
        },
        resources=_workspace_resources(template),
        uid=workspace_uid,
        settings=settings,
    )
    deadline_s = template.lifetime.max_duration_limit.ms // 1000 + DEADLINE_SLACK_SECONDS
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": sandbox.name,
            "namespace": sandbox.namespace,
            "labels": {
                SANDBOX_LABEL: sandbox.name,
                "app.kubernetes.io/name": "paddock-sandbox",
                "app.kubernetes.io/managed-by": "paddock",
            },
            "ownerReferences": [owner_reference(sandbox, "Sandbox")],
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": deadline_s,
            "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # No service is offered to a sandbox without network, name resolution included.
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "hostNetwork": False,
            "hostPID": False,
            "hostIPC": False,
            "shareProcessNamespace": False,
            "tolerations": [
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
                for key in NODE_TAINTS
            ],
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                **(_volume_security(workspace_uid) if volume_claim else {}),
            },
            "containers": [runtime, workspace],
            "volumes": [
                # Memory-backed: its sticky bit keeps the workspace from the runtime's socket.
                {"name": "control", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                # The journal keeps up to 256 MiB of output and one line per execution.
                {"name": "journal", "emptyDir": {"sizeLimit": "512Mi"}},
                {"name": "runtime-tmp", "emptyDir": {"sizeLimit": "16Mi"}},
                {
                    "name": "workspace",
                    **(
                        {"persistentVolumeClaim": {"claimName": volume_claim}}
                        if volume_claim
                        else {"emptyDir": {"sizeLimit": str(_eviction_bytes(template))}}
                    ),
                },
                {"name": "tmp", "emptyDir": {"sizeLimit": str(_eviction_bytes(template))}},
                # Its own: the pod's would be the runtime's as well. It counts as the workspace's
                # memory, and half of that can be freed by ending whoever runs.
                {
                    "name": "shm",
                    "emptyDir": {
                        "medium": "Memory",
                        "sizeLimit": str(template.resources.memory.value // 2),
                    },
                },
            ],
        },
    }


def owner_reference(owner: ObjectView, kind: str) -> dict[str, Any]:
    """The controller reference of a child."""
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _volume_security(workspace_uid: int) -> dict[str, Any]:
    """The volume's files belong to the workspace's group, whichever driver made it."""
    return {"fsGroup": workspace_uid, "fsGroupChangePolicy": "OnRootMismatch"}


def _eviction_bytes(template: SandboxTemplateSpec) -> int:
    """The kubelet evicts the whole pod above this, a minute late: twice what the runtime allows,
    so that DiskLimit, which names the execution, always comes first."""
    return 2 * template.resources.disk.value


def _workspace_resources(template: SandboxTemplateSpec) -> dict[str, Any]:
    """Memory request = limit, so the node never overcommits it; a tenth of the cpu is asked."""
    resources = template.resources
    return {
        "requests": {
            "cpu": f"{max(1, resources.cpu.millis // 10)}m",
            "memory": str(resources.memory.value),
            "ephemeral-storage": str(resources.disk.value),
        },
        "limits": {
            "cpu": f"{resources.cpu.millis}m",
            "memory": str(resources.memory.value),
            "ephemeral-storage": str(4 * resources.disk.value),
        },
    }


def _container(
    name: str,
    image: str,
    command: list[str],
    *,
    env: Mapping[str, str],
    mounts: Mapping[str, str],
    resources: Mapping[str, Any],
    uid: int,
    settings: PodSettings,
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "volumeMounts": [{"name": key, "mountPath": path} for key, path in mounts.items()],
        "resources": dict(resources),
        "securityContext": {
            "runAsUser": uid,
            "runAsGroup": uid,
            "runAsNonRoot": True,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if settings.restart_rules:
        container |= {
            "restartPolicy": "Never",
            "restartPolicyRules": [
                {"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}
            ],
        }
    return container
