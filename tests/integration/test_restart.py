"""An operator that is started anew among 300 live objects: it asks, and writes nothing.

100 sessions whose programs run, their 100 sandboxes and 100 pods. Nodes are faked
(`fake_runtimes.py`); the API server, its audit log and the operator are real. Nothing is garbage
collected here, so pods outlive their sandboxes, and nothing is said about that.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import Kubectl
from tests.integration.control_plane import ControlPlane
from tests.integration.fake_node import fake_node
from tests.integration.fake_runtime import FakeRuntimes
from tests.integration.manifests import Manifest, session, template
from tests.integration.operators import START_S, Replica, Replicas

from paddock_api.names import execution_id
from paddock_operator.cluster.client import KubeApi, path_of
from paddock_operator.plan.views import ObjectView

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]

SESSIONS = 100
ALL_S = 40.0
"""For a hundred sessions to start or to end, two cores shared with others."""
SECONDS_S = 30.0
"""What "in seconds" must not exceed, the start of the interpreter included."""
QUIET_S = 12.5
"""After it is ready. It lists everything once more after 10 s, give or take a fifth."""
EMPTY = 'workqueue_depth{name="paddock"} 0.0'


@pytest.fixture
def replicas(
    apiserver: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> Iterator[Replicas]:
    with Replicas(apiserver, kubectl, namespace, tmp_path) as made:
        yield made


class Space:
    """One namespace by way of the API."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def create(self, manifest: Manifest, name: str) -> str:
        """Returns the uid."""
        body = manifest | {"metadata": {"name": name}}
        path = path_of(manifest["kind"], self._namespace)
        return ObjectView(await self._api.request("POST", path, body=body)).uid

    async def objects(self, kind: str) -> list[ObjectView]:
        listed = await self._api.request("GET", path_of(kind, self._namespace))
        return [ObjectView(item) for item in listed["items"]]

    async def count(self, kind: str, phase: str) -> int:
        return sum(view.status.get("phase") == phase for view in await self.objects(kind))


async def until_all(look: Callable[[], Awaitable[int]], what: str, replica: Replica) -> None:
    deadline = time.monotonic() + ALL_S
    while (seen := await look()) != SESSIONS:
        assert time.monotonic() < deadline, f"{seen} of {SESSIONS} {what}\n{replica.said()}"
        await asyncio.sleep(0.2)


def writes(replicas: Replicas, name: str) -> list[str]:
    """All mutating requests of this life but those for its Lease."""
    targets = [(event["verb"], event["objectRef"]) for event in replicas.writes(name)]
    return [
        f"{verb} {target['resource']}/{target.get('name', '')}"
        for verb, target in targets
        if target["resource"] != "leases"
    ]


async def drained(again: Replica, runtimes: FakeRuntimes, ids: set[str], mark: int) -> None:
    """Until this life has asked for every program, and its queue is empty."""
    deadline = time.monotonic() + SECONDS_S
    while True:
        asked = {asked for _, asked in runtimes.asked[mark:]}
        depth = await asyncio.to_thread(again.metric, EMPTY.partition(" ")[0])
        if asked == ids and depth == EMPTY:
            return
        assert time.monotonic() < deadline, f"asked {len(asked)}, {depth!r}\n{again.said()}"
        await asyncio.sleep(0.02)


async def test_a_restart_among_300_live_objects_writes_nothing(
    replicas: Replicas, apiserver: ControlPlane, namespace: str
) -> None:
    api = await KubeApi.connect(str(apiserver.kubeconfig))
    try:
        async with fake_node(api, endless=True) as runtimes:
            await _restart(replicas, Space(api, namespace), runtimes)
    finally:
        await api.close()


async def _restart(replicas: Replicas, space: Space, runtimes: FakeRuntimes) -> None:
    first = await asyncio.to_thread(replicas.lead, "first")
    await space.create(template(languages=["python"]), "python")
    uids = await asyncio.gather(
        *(space.create(session(), f"session-{number}") for number in range(SESSIONS))
    )
    ids = {execution_id(uid, "greet") for uid in uids}

    async def ready() -> int:
        return sum(view.is_true("Ready") for view in await space.objects("Sandbox"))

    async def started() -> int:
        return len(set(runtimes.starts))

    for kind in ("AgentSession", "Pod"):
        await until_all(lambda kind=kind: space.count(kind, "Running"), f"{kind} run", first)  # type: ignore[misc]
    await until_all(ready, "sandboxes are ready", first)
    await until_all(started, "programs run", first)
    assert set(runtimes.starts) == ids

    first.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.ends, within=10) == 0
    mark = len(runtimes.asked)
    begun = time.monotonic()
    again = await asyncio.to_thread(replicas.start, "again")
    await drained(again, runtimes, ids, mark)
    took = time.monotonic() - begun
    await asyncio.to_thread(
        replicas.until, lambda: again.is_ready("ok: leader"), "it is ready", START_S
    )
    print(
        f"\nrestart among {3 * SESSIONS} objects: all asked and queue empty {took:.1f} s after "
        f"the start, ready {time.monotonic() - begun:.1f} s after it"
    )
    await asyncio.sleep(QUIET_S)
    assert writes(replicas, "again") == []
    assert await asyncio.to_thread(again.metric, EMPTY.partition(" ")[0]) == EMPTY
    told = [write for write in writes(replicas, "first") if write.startswith("create pods/")]
    assert len(told) == SESSIONS, "what the log tells of a life that writes"

    runtimes.end_all()
    await until_all(
        lambda: space.count("AgentSession", "Succeeded"), "sessions have succeeded", again
    )
    assert sorted(runtimes.starts) == sorted(ids), "each program was started once"
