"""Two operators as processes on one real API server: who leads, and who goes on writing."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.integration.conftest import Kubectl
from tests.integration.control_plane import ROOT, ControlPlane
from tests.integration.proxy import Proxy

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]

T = TypeVar("T")
LEASE_S = 4
TAKE_OVER_S = 3.0
"""After a clean exit, whatever the lease's length."""
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

    def metric(self) -> str:
        _, text = self.get("/metrics")
        return next(line for line in text.splitlines() if line.startswith("paddock_leader "))

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
        replica = self.start(name, **environment)
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


@pytest.fixture
def replicas(
    apiserver: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> Iterator[Replicas]:
    made = Replicas(apiserver, kubectl, namespace, tmp_path)
    yield made
    for replica in made.all:
        replica.process.kill()
        replica.process.wait()


def test_a_clean_exit_hands_over_at_once(replicas: Replicas) -> None:
    first = replicas.lead("first", PADDOCK_LEASE_DURATION_S="60")
    second = replicas.stand_by("second")
    assert first.metric() == "paddock_leader 1.0"
    assert second.metric() == "paddock_leader 0.0"
    assert second.get("/livez") == (200, "ok")
    assert {entry["objectRef"]["resource"] for entry in replicas.writes("second")} == set()
    first.process.send_signal(signal.SIGTERM)
    replicas.until(lambda: replicas.holder() == "second", "second takes over", TAKE_OVER_S)
    assert first.ends(within=5) == 0
    replicas.until(lambda: second.is_ready("ok: leader"), "second works", START_S)
    assert second.metric() == "paddock_leader 1.0"
    assert second.get("/livez") == (200, "ok: leader")


def test_after_a_kill_the_lease_runs_out_first(replicas: Replicas) -> None:
    first = replicas.lead("first")
    second = replicas.stand_by("second")
    first.process.kill()
    killed = time.monotonic()
    # The last renewal is up to a retry old when it dies, and is seen up to a look later.
    replicas.until(lambda: replicas.holder() == "second", "second takes over", LEASE_S + 2)
    assert time.monotonic() - killed > LEASE_S * 2 / 3, "not while the first might still write"
    replicas.until(lambda: second.is_ready("ok: leader"), "second works", START_S)


def test_a_leader_that_was_paused_writes_nothing_when_it_wakes(
    replicas: Replicas, kubectl: Kubectl, namespace: str
) -> None:
    first = replicas.lead("first")
    second = replicas.stand_by("second")
    first.process.send_signal(signal.SIGSTOP)
    replicas.until(lambda: second.is_ready("ok: leader"), "second takes over", START_S)
    before = len(replicas.writes("first"))
    template = {"apiVersion": "paddock.dev/v1alpha1", "kind": "SandboxTemplate"}
    kubectl("create", "-f", "-", namespace=namespace, stdin=template | TEMPLATE)
    kubectl("create", "-f", "-", namespace=namespace, stdin=SESSION)
    # What it finds in its sockets when it wakes: a session that it would begin to work on.
    first.process.send_signal(signal.SIGCONT)
    assert first.ends(within=10) == 1, first.said()
    assert '"error.type": "LeaseLost"' in first.said()
    assert replicas.writes("first")[before:] == []
    replicas.until(
        lambda: [w for w in replicas.writes("second") if w["objectRef"]["resource"] == "sandboxes"],
        "second works on it",
        10,
    )
    assert replicas.holder() == "second"


def test_a_container_restarted_in_its_pod_leads_again_at_once(replicas: Replicas) -> None:
    pod = {"PADDOCK_POD_UID": "the-same", "PADDOCK_LEASE_DURATION_S": "300"}
    replicas.lead("pod", **pod).process.kill()
    replicas.all[-1].log.unlink()
    replicas.lead("pod", **pod)


def test_a_leader_that_is_cut_off_ends_and_stands_by_when_started_again(
    replicas: Replicas, apiserver: ControlPlane, tmp_path: Path
) -> None:
    with Proxy(apiserver.url) as proxy:
        behind = proxy.kubeconfig(replicas.kubeconfig("first"), tmp_path / "behind.kubeconfig")
        first = replicas.start("first", kubeconfig=behind)
        replicas.until(lambda: first.is_ready("ok: leader"), "first leads", START_S)
        proxy.silence()
        assert first.ends(within=LEASE_S) == 1, first.said()
        again = replicas.start("again", kubeconfig=behind)
        replicas.until(lambda: again.is_ready("standby"), "it stands by", START_S)
        proxy.pass_on()
        replicas.until(lambda: again.is_ready("ok: leader"), "it leads", START_S)


TEMPLATE = {"metadata": {"name": "python"}, "spec": {"languages": ["python"]}}
SESSION = {
    "apiVersion": "paddock.dev/v1alpha1",
    "kind": "AgentSession",
    "metadata": {"name": "hello"},
    "spec": {
        "user": "alice",
        "templateRef": {"name": "python"},
        "steps": [{"name": "greet", "language": "python", "code": "print()"}],
    },
}
