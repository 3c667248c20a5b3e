"""Paddock as the chart installed it: its Deployment, its identity, what it was told."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykube
from e2e.kube import Json, Kube, until
from pykube.objects import NamespacedAPIObject

SELECTOR = "app.kubernetes.io/part-of=paddock,app.kubernetes.io/component=operator"
NAMESPACE = os.environ.get("PADDOCK_E2E_NAMESPACE", "paddock-system")


class Lease(NamespacedAPIObject):  # type: ignore[misc]  # pykube has no types
    version, endpoint, kind = "coordination.k8s.io/v1", "leases", "Lease"


@dataclass
class Paddock:
    """One installed operator."""

    kube: Kube
    namespace: str
    deployment: str
    service_account: str
    environment: dict[str, str]
    """Literal variables of the operator's container."""
    name: str
    """Prefix of the chart's cluster-wide objects, such as the ClusterRole NAME-tenant."""
    host_log: Callable[[], str] = str
    """Log of the operator that a test runs on this machine instead."""

    @property
    def identity(self) -> str:
        """What the API server calls it."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @property
    def runtime_image(self) -> str:
        return self.environment["PADDOCK_RUNTIME_IMAGE"]

    def pods(self) -> list[Json]:
        """The operator's own pods."""
        return self.kube.all(pykube.Pod, self.namespace, SELECTOR)

    def scale(self, replicas: int) -> None:
        """Change the number of replicas, and wait until it is so."""
        self.kube.kubectl(
            "scale", f"deploy/{self.deployment}", f"--replicas={replicas}", namespace=self.namespace
        )
        self.until_ready(replicas)

    def lease(self) -> Json:
        """The spec of the lease that says who leads, {} before there is one."""
        found = self.kube.find(Lease, "paddock-operator", self.namespace)
        return found["spec"] if found else {}

    def leader(self) -> str | None:
        """The name of the pod that leads; None if none of the pods does."""
        holder = self.lease().get("holderIdentity") or ""
        names = {f"{p['metadata']['name']}_{p['metadata']['uid']}": p for p in self.pods()}
        return str(names[holder]["metadata"]["name"]) if holder in names else None

    def until_ready(self, replicas: int = 1, timeout: float = 90) -> None:
        """So many pods, all of them ready, none going, and one of them leads."""

        def look() -> bool:
            pods = self.pods()
            settled = len(pods) == replicas and all(_is_ready(pod) for pod in pods)
            return settled and (not replicas or self.leader() is not None)

        def last() -> str:
            pods = self.kube.kubectl("get", "pods", namespace=self.namespace).stdout
            return f"{pods}{self.lease()}"

        until(look, f"{replicas} ready pods of {self.deployment}", timeout, last)

    def kill(self) -> float:
        """SIGKILL, as good as: the pod goes without a grace period. Returns when (monotonic)."""
        (pod,) = self.pods()
        self.kube.kubectl(
            "delete",
            "pod",
            pod["metadata"]["name"],
            "--grace-period=0",
            "--force",
            namespace=self.namespace,
        )
        return time.monotonic()

    def log(self, lines: int = 60) -> str:
        """The end of its log, that of an operator on this machine included."""
        told = self.kube.kubectl(
            "logs",
            f"deploy/{self.deployment}",
            f"--tail={lines}",
            namespace=self.namespace,
            check=False,
        )
        return f"{told.stdout}{told.stderr}{self.host_log()}"


def find(kube: Kube) -> Paddock:
    """The installed Paddock; raises AssertionError that says what to do if there is none."""
    deployments = kube.all(pykube.Deployment, NAMESPACE, SELECTOR)
    assert len(deployments) == 1, (
        f"{len(deployments)} Deployments in namespace {NAMESPACE} have the labels {SELECTOR}: "
        "install the chart (`make install`), or set PADDOCK_E2E_NAMESPACE"
    )
    found: dict[str, Any] = deployments[0]
    pod = found["spec"]["template"]["spec"]
    environment = {
        entry["name"]: entry["value"]
        for entry in pod["containers"][0]["env"]
        if isinstance(entry.get("value"), str)
    }
    return Paddock(
        kube=kube,
        namespace=NAMESPACE,
        deployment=found["metadata"]["name"],
        service_account=pod["serviceAccountName"],
        environment=environment,
        name=found["metadata"]["name"].removesuffix("-operator"),
    )


def _is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions") or []
    ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
