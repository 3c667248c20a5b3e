"""The real engine with its tasks, timers and workers, on the model cluster and node.

Time is real, so everything that is waited for must be short. A watch is a callback: an event
reaches the engine in the next turn of the loop.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from tests.operator.objects import POD_SETTINGS, step
from tests.operator.world.api import FakeApi
from tests.operator.world.cluster import Cluster, Event, Json
from tests.operator.world.node import Node

from paddock_api.executions import Execution, ExecutionRequest
from paddock_api.messages import Configure, Configured
from paddock_operator.cluster.recorder import Recorder
from paddock_operator.engine.build import Parts, build
from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView

PATIENCE_S = 5.0


class Runtimes:
    """Asks and Talks against the node's runtimes."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def ready(self, ip: str) -> bool:
        return self._node.ready(ip)

    async def configure(self, ip: str, sandbox_uid: str, body: Configure) -> Configured:
        return self._node.configure(ip, sandbox_uid, body)

    async def execute(
        self, ip: str, sandbox_uid: str, body: ExecutionRequest, traceparent: str | None
    ) -> Execution:
        return self._node.execute(ip, sandbox_uid, body)

    async def cancel(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        return self._node.cancel(ip, sandbox_uid, execution_id)

    async def wait(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        await asyncio.sleep(0.002)
        return self._node.wait(ip, sandbox_uid, execution_id)


class Rig:
    """One operator that runs, a cluster and a node that does everything at once."""

    def __init__(self, before: "Rig | None" = None) -> None:
        """With `before` the next process on the same cluster."""
        self.cluster: Cluster = before.cluster if before else Cluster(now)
        self.node: Node = before.node if before else Node(self.cluster, time.monotonic, now)
        self.api: FakeApi = before.api if before else FakeApi(self.cluster)
        self.recorder = Recorder(self.api, "rig")
        self.parts: Parts = build(
            self.api,
            Runtimes(self.node),
            self.recorder,
            POD_SETTINGS,
            uid_base=200_000,
            workers=4,
            now=now,
            export=None,
        )
        self.silent = False
        """No watch event is delivered."""
        self.held: set[str] = set()
        """Names of sessions whose programs do not end."""
        if before is None:
            template = {"metadata": {"name": "python"}, "spec": {}}
            self.cluster.create("SandboxTemplate", "team", template)

    def _heard(self, event: Event) -> None:
        if event.watched and not self.silent:
            asyncio.get_running_loop().call_soon(self._deliver, event)

    def _deliver(self, event: Event) -> None:
        self.parts.engine.observe(event.kind, event.obj, deleted=event.type == "DELETED")

    def apply(self, name: str, *codes: int, **spec: object) -> Key:
        """Create a session."""
        steps = [step(f"s{i}", code=f"exit {code}") for i, code in enumerate(codes)]
        body: Json = {"user": "alice", "templateRef": {"name": "python"}, **spec}
        if steps:
            body["steps"] = steps
        self.cluster.create("AgentSession", "team", {"metadata": {"name": name}, "spec": body})
        return Key("AgentSession", "team", name)

    def status(self, key: Key) -> Json:
        """The stored status of an object."""
        status: Json = self.cluster.objects[key]["status"]
        return status

    def finished(self, *keys: Key) -> bool:
        """Whether all of them are."""
        return all(ObjectView(self.cluster.objects[key]).is_true("Finished") for key in keys)

    async def until(self, what: Callable[[], object]) -> None:
        """Wait for it; TimeoutError after PATIENCE_S."""
        async with asyncio.timeout(PATIENCE_S):
            while not what():  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.002)

    async def _live(self) -> None:
        while True:
            for key in self.node.startable():
                self.node.start(key)
            for key in self.node.letting_go():
                self.node.let_go(key)
            for runtime in self.node.runtimes.values():
                runtime.answers = True
            for runtime, execution_id in self.node.unfinished():
                session = execution_id.partition(".")[0]
                names = {
                    key.name
                    for key, obj in self.cluster.of_kind("AgentSession")
                    if ObjectView(obj).uid == session
                }
                if not names & self.held:
                    self.node.finish(runtime, execution_id)
            self.node.enforce_deadlines()
            self.cluster.collect_garbage()
            await asyncio.sleep(0.002)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        """The operator runs inside of this block."""
        self.cluster.observers.append(self._heard)
        await self.parts.engine.prime()
        tasks = [
            asyncio.create_task(self.parts.engine.run()),
            asyncio.create_task(self.recorder.run()),
            asyncio.create_task(self._live()),
        ]
        try:
            yield self
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            self.cluster.observers.remove(self._heard)
            await self.parts.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def now() -> datetime:
    """The real time."""
    return datetime.now(UTC)
