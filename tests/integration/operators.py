"""The operator as a process on a real API server, one or several of them."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests.integration.conftest import Kubectl
from tests.integration.control_plane import ROOT, ControlPlane

T = TypeVar("T")
LEASE_S = 4
START_S = 30.0


def until(look: Callable[[], T | None], what: str, within: float, last: Callable[[], str]) -> T:
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}\n{last()}"
        time.sleep(0.05)
    return seen


class Replica:
    """One process of the operator, as a user of its own, so that the audit log tells them apart."""

    def __init__(self, name: str, kubeconfig: Path, folder: Path, **environment: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "paddock_operator"],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder),
                    "HOSTNAME": name,
                    "KUBECONFIG": str(kubeconfig),
                    "PADDOCK_RUNTIME_IMAGE": "localhost/runtime:1",
                    "PADDOCK_HTTP_PORT": "0",
                    "PADDOCK_LEASE_DURATION_S": str(LEASE_S),
                    **environment,
                },
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return f"{self.name}:\n{self.log.read_text()[-3000:]}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer of its HTTP port, (0, "") while there is none."""
        for line in self.log.read_text().splitlines():
            port = json.loads(line).get("http_port") if line.startswith("{") else None
            if port:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as got:
                        return got.status, got.read().decode()
                except urllib.error.HTTPError as refused:
                    return refused.code, refused.read().decode()
                except OSError:
                    return 0, ""
        return 0, ""

    def is_ready(self, state: str) -> bool:
        status, text = self.get("/readyz")
        return status == 200 and state in text

    def metric(self, series: str = "paddock_leader") -> str:
        """The line of this series on /metrics, '' while there is none."""
        _, text = self.get("/metrics")
        lines = text.splitlines()
        return next((line for line in lines if line.startswith(f"{series} ")), "")

    def ends(self, within: float) -> int:
        return self.process.wait(timeout=within)


class Replicas:
    """Starts operators in one namespace and ends what is left of them."""

    def __init__(self, apiserver: ControlPlane, kubectl: Kubectl, space: str, folder: Path) -> None:
        self._apiserver = apiserver
        self._kubectl = kubectl
        self._namespace = space
        self._folder = folder
        self.all: list[Replica] = []

    def __enter__(self) -> "Replicas":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for replica in self.all:
            replica.process.kill()
            replica.process.wait()

    def user(self, name: str) -> str:
        return f"{name}-{self._namespace}"

    def start(self, name: str, kubeconfig: Path | None = None, **environment: str) -> Replica:
        config = kubeconfig or self.kubeconfig(name)
        environment = {"PADDOCK_NAMESPACE": self._namespace} | environment
        self.all.append(Replica(name, config, self._folder, **environment))
        return self.all[-1]

    def kubeconfig(self, name: str) -> Path:
        return self._apiserver.kubeconfig_for(self.user(name), ["system:masters"])

    def lead(self, name: str, **environment: str) -> Replica:
        """Start one that leads, up to its watches."""
        replica = self.start(name, None, **environment)
        self.until(lambda: replica.is_ready("ok: leader"), f"{name} leads", START_S)
        return replica

    def stand_by(self, name: str) -> Replica:
        """Start one that is ready to take over."""
        replica = self.start(name)
        self.until(lambda: replica.is_ready("standby"), f"{name} stands by", START_S)
        return replica

    def holder(self) -> str:
        """Name of whoever is in the lease, '' for nobody."""
        found = self._kubectl.json("get", "lease", "paddock-operator", namespace=self._namespace)
        return str(found["spec"]["holderIdentity"]).partition("_")[0]

    def until(self, look: Callable[[], T | None], what: str, within: float) -> T:
        return until(look, what, within, lambda: "\n".join(one.said() for one in self.all))

    def writes(self, name: str) -> list[Any]:
        return self._apiserver.audit_events(self.user(name))
