"""What a session costs the API server: mutating requests, counted in its audit log.

The log says who asked, so what is counted is what the operator's own identity did.
docs/lifecycle.md numbers the same writes.
"""

import time
from pathlib import Path

import pytest
from e2e import audit
from e2e.audit import AuditLog, Write, without_events
from e2e.installation import Paddock
from e2e.kube import EXAMPLES, Kube, until
from e2e.namespaces import Namespaces
from e2e.sandboxes import session, until_ready

MOST_FOR_ONE_STEP = 8
SESSION = ("patch", "agentsessions/status")
ONE_STEP = [
    ("create", "sandboxes"),
    ("create", "pods"),
    ("patch", "sandboxes/status"),
    SESSION,
    SESSION,
    ("delete", "sandboxes"),
]
"""docs/lifecycle.md, 1 to 6."""
QUIET_S = 4.0
FIRST_RESYNC_S = 12.5
"""A young operator lists everything once more after 10 s, give or take a fifth."""


@pytest.fixture(scope="module")
def log(kube: Kube) -> AuditLog:
    return audit.find(Path(kube.kubeconfig))


def cost(
    kube: Kube, paddock: Paddock, log: AuditLog, name: str, namespace: str
) -> list[tuple[str, str]]:
    """Apply an example; return the operator's writes from its creation to the last one for it."""
    mark = log.mark()
    kube.kubectl.apply(EXAMPLES / f"{name}.yaml", namespace)
    kube.finished(name, namespace)

    def look() -> list[Write] | None:
        all_of_it = log.writes(paddock.identity, mark)
        seen = [write for write in without_events(all_of_it) if write.namespace == namespace]
        return seen if seen and seen[-1].verb == "delete" else None

    writes = until(look, "the operator deletes the sandbox", timeout=10)
    kube.until_empty(namespace)
    after = [entry for entry in log.writes(paddock.identity, mark) if entry.namespace == namespace]
    assert without_events(after) == writes, "nothing more is written once it is over"
    refused = [str(write) for write in writes if write.code >= 300]
    assert not refused
    return [(write.verb, write.resource) for write in writes]


def test_a_session_with_one_step_costs_at_most_eight_writes(
    kube: Kube, paddock: Paddock, log: AuditLog, namespace: str
) -> None:
    writes = cost(kube, paddock, log, "hello", namespace)
    assert len(writes) <= MOST_FOR_ONE_STEP
    _check_order(writes, ONE_STEP)


def test_each_further_step_costs_at_most_one_write_more(
    kube: Kube, paddock: Paddock, log: AuditLog, namespace: str
) -> None:
    writes = cost(kube, paddock, log, "three-steps", namespace)
    assert len(writes) <= len(ONE_STEP) + 2
    _check_order(writes, [*ONE_STEP[:4], SESSION, SESSION, *ONE_STEP[4:]])


def test_nothing_is_written_while_idle_or_on_a_restart(
    kube: Kube, paddock: Paddock, log: AuditLog, namespace: str, namespaces: Namespaces
) -> None:
    kube.kubectl.apply(EXAMPLES / "hello.yaml", namespace)
    kube.kubectl.apply(EXAMPLES / "exit-3.yaml", namespace)
    kube.kubectl.apply(session("open"), namespace)
    until_ready(kube, "open", namespace)
    kube.finished("hello", namespace)
    kube.finished("exit-3", namespace)
    kube.until_event(namespace, "hello", "Completed")
    kube.until_event(namespace, "exit-3", "StepFailed")
    kube.until_event(namespace, "open", "SandboxReady")
    time.sleep(1)
    before = kube.session("open", namespace)
    mark = log.mark()

    def written() -> list[str]:
        ours = {*namespaces.alive, paddock.namespace, ""}
        seen = log.writes(paddock.identity, mark)
        return [str(write) for write in seen if write.namespace in ours]

    time.sleep(QUIET_S)
    assert not written(), "idle"
    paddock.kill()
    paddock.until_ready()
    time.sleep(FIRST_RESYNC_S)
    assert not written(), "restart, first list and first resync"
    assert kube.session("open", namespace) == before
    kube.kubectl("delete", "ags", "--all", namespace=namespace)
    kube.until_empty(namespace)


def _check_order(writes: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    """As docs/lifecycle.md numbers them; 3 and 4 are of two objects and may change places."""
    assert sorted(writes) == sorted(wanted)
    assert writes[:2] == wanted[:2]
    assert writes[4:] == wanted[4:]
