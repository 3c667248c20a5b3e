"""Asking young runtimes whether they are ready, sooner than the kubelet's one-second grid."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from paddock_operator.plan.actions import Key, Probe

INTERVAL_S = 0.03
"""Between two questions while a pod is young. A runtime listens about 0.2 s after its container
runs, so this costs some seven requests; docs/performance.md has the gain over the kubelet's."""
SLOW_AFTER_S = 10.0
SLOW_INTERVAL_S = 1.0


class Asks(Protocol):
    """The one request that probing needs."""

    async def ready(self, ip: str) -> bool:
        """Whether the runtime answers that it is ready."""
        ...


class Prober:
    """One task per pod that has not answered yet; the answer is kept by pod uid."""

    def __init__(self, client: Asks, answered: Callable[[Key], None]) -> None:
        self._client = client
        self._answered = answered
        self._ready: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def is_ready(self, pod_uid: str) -> bool:
        """Whether this very pod has answered."""
        return pod_uid in self._ready

    def was_asked(self, pod_uid: str) -> bool:
        """Whether there is an answer or a task that will bring one."""
        return pod_uid in self._ready or pod_uid in self._tasks

    def ensure(self, probe: Probe) -> None:
        """Ask until it answers or the pod is forgotten."""
        if self.was_asked(probe.pod_uid):
            return
        task = asyncio.create_task(self._ask(probe), name=f"probe {probe.sandbox}")
        self._tasks[probe.pod_uid] = task

    def forget(self, pod_uid: str) -> None:
        """The pod is gone or has ended."""
        self._ready.discard(pod_uid)
        if (task := self._tasks.pop(pod_uid, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, probe: Probe) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not await self._client.ready(probe.ip):
            young = loop.time() - begun < SLOW_AFTER_S
            await asyncio.sleep(INTERVAL_S if young else SLOW_INTERVAL_S)
        self._ready.add(probe.pod_uid)
        self._tasks.pop(probe.pod_uid, None)
        self._answered(probe.sandbox)
