"""Two operators as processes on one real API server: who leads, and who goes on writing."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import Kubectl
from tests.integration.control_plane import ControlPlane
from tests.integration.operators import LEASE_S, START_S, Replicas
from tests.integration.proxy import Proxy

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]

TAKE_OVER_S = 3.0
"""After a clean exit, whatever the lease's length."""


@pytest.fixture
def replicas(
    apiserver: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> Iterator[Replicas]:
    with Replicas(apiserver, kubectl, namespace, tmp_path) as made:
        yield made


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
