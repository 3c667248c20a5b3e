"""Namespaces of the suite: each enforces Pod Security `restricted` and is deleted at the end."""

import uuid

import pykube
from e2e.kube import Kube, until

LABEL = "paddock.dev/e2e"


class Namespaces:
    """Makes them, knows those that are there, deletes them."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.alive: list[str] = []

    def create(self, topic: str) -> str:
        """A namespace in which pods can be created at once."""
        name = f"e2e-{topic}-{uuid.uuid4().hex[:6]}"
        self._kube.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": name,
                    "labels": {
                        LABEL: "true",
                        "pod-security.kubernetes.io/enforce": "restricted",
                        "pod-security.kubernetes.io/enforce-version": "latest",
                    },
                },
            }
        )
        self.alive.append(name)
        until(
            lambda: self._kube.find(pykube.ServiceAccount, "default", name),
            f"namespace {name} has its default service account",
            timeout=20,
        )
        return name

    def delete(self, name: str) -> None:
        """Ask for its deletion; nobody waits for it."""
        self._kube.kubectl("delete", "namespace", name, "--wait=false")
        self.alive.remove(name)
