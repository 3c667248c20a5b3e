"""Watches the cluster with the administrator's eyes and shows every change to the judges.

The three watches are merged by resourceVersion, which is one counter for the whole of etcd:
a change is shown when it is HOLD_S old, so judges see what happened in the order in which it did.
"""

import asyncio
import contextlib
import heapq
import itertools
import time
from collections import Counter
from dataclasses import dataclass

import aiohttp
from e2e.witness import Witness
from tests.faults.conditions import Answering, Consistent
from tests.faults.history import Change, History, Json, Kind
from tests.faults.invariants import (
    ApartUids,
    Judge,
    Lifetimes,
    NoOrphans,
    OnceStarted,
    OnePod,
    ResultsKept,
    Truthful,
)
from tests.faults.kubeapi import Admin, Refused

HOLD_S = 0.5
"""How far one watch may be behind another; they come from one process on this machine."""
TICK_S = 0.5
PROBES = 25
RUNTIME_PORT = 8090
KINDS: dict[str, Kind] = {"agentsessions": "AgentSession", "sandboxes": "Sandbox", "pods": "Pod"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that did not hold."""

    invariant: str
    sentence: str

    def __str__(self) -> str:
        return f"[{self.invariant}] {self.sentence}"


def judges() -> list[Judge]:
    """A fresh set, for one history."""
    return [
        OnePod(),
        OnceStarted(),
        Truthful(),
        ResultsKept(),
        NoOrphans(),
        Lifetimes(),
        ApartUids(),
        Consistent(),
        Answering(),
    ]


class Court:
    """All judges over one history; no clock and no cluster of its own."""

    def __init__(self) -> None:
        self.history = History()
        self.judges = judges()
        self.violations: list[Violation] = []

    def change(self, change: Change) -> None:
        """Show one change."""
        before = self.history.take(change)
        for judge in self.judges:
            self._hear(judge, judge.change(self.history, change, before))

    def tick(self, now: float) -> None:
        """Show the time."""
        for judge in self.judges:
            self._hear(judge, judge.tick(self.history, now))

    @property
    def checks(self) -> Counter[str]:
        """How often each invariant was looked at."""
        return Counter({judge.name: judge.checks for judge in self.judges})

    def _hear(self, judge: Judge, sentences: object) -> None:
        for sentence in sentences:  # type: ignore[attr-defined]
            self.violations.append(Violation(judge.name, sentence))


class Observer:
    """One namespace, one court. `async with`."""

    def __init__(self, admin: Admin, witness: Witness, namespace: str) -> None:
        self._admin = admin
        self._witness = witness
        self._namespace = namespace
        self._pending: list[tuple[int, int, Change]] = []
        self._order = itertools.count()
        self._probing: dict[str, asyncio.Task[None]] = {}
        self.court = Court()

    async def __aenter__(self) -> "Observer":
        self._tasks = [
            asyncio.create_task(self._follow(resource, kind), name=f"observe {resource}")
            for resource, kind in KINDS.items()
        ]
        self._tasks.append(asyncio.create_task(self._show(), name="judges"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._tasks, *self._probing.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._probing.values(), return_exceptions=True)

    def finish(self) -> None:
        """Show the rest; after a rest that was longer than HOLD_S that is all there was."""
        self._look(everything=True)

    async def _follow(self, resource: str, kind: Kind) -> None:
        while True:
            # Refused: the version is compacted, or there is no such resource for a while.
            with contextlib.suppress(Refused):
                version = await self._list(resource, kind)
                while True:
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                        async for event in self._admin.watch(resource, version):
                            version = str(event["object"]["metadata"]["resourceVersion"])
                            if event["type"] != "BOOKMARK":
                                self._take(event["type"], kind, event["object"])
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)

    async def _list(self, resource: str, kind: Kind) -> str:
        """Take in what is there, and that the rest is gone; returns the list's version."""
        listed = await self._admin.list(resource)
        version = str(listed["metadata"]["resourceVersion"])
        there = {item["metadata"]["uid"] for item in listed["items"]}
        for item in listed["items"]:
            self._take("MODIFIED", kind, item)
        for known in self.court.history.living(kind):
            if known.change.uid not in there:
                metadata = known.obj["metadata"] | {"resourceVersion": version}
                self._take("DELETED", kind, known.obj | {"metadata": metadata})
        return version

    def _take(self, happened: str, kind: Kind, obj: Json) -> None:
        metadata = obj["metadata"]
        if metadata.get("namespace") == self._namespace:
            change = Change(time.time(), happened, kind, obj)  # type: ignore[arg-type]
            entry = (int(metadata["resourceVersion"]), next(self._order), change)
            heapq.heappush(self._pending, entry)

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for task in self._tasks:
                if task.done():
                    task.result()
            self._look()

    def _look(self, everything: bool = False) -> None:
        now = time.time()
        self.court.history.lines = self._witness.saw(f"{self._namespace}/")
        while self._pending and (everything or self._pending[0][2].at < now - HOLD_S):
            change = heapq.heappop(self._pending)[2]
            self.court.change(change)
            self._probe(change)
        self.court.tick(now)

    def _probe(self, change: Change) -> None:
        """Ask the runtime of a sandbox that has just been told to answer, from here."""
        status = change.obj.get("status") or {}
        pod = str(status.get("podUid"))
        if change.kind != "Sandbox" or not status.get("readyAt") or pod in self._probing:
            return
        self._probing[pod] = asyncio.create_task(self._ask(pod, str(status.get("podIP"))))

    async def _ask(self, pod_uid: str, ip: str) -> None:
        """A pod that goes meanwhile has not lied."""
        answering = next(j for j in self.court.judges if isinstance(j, Answering))
        for _ in range(PROBES):
            if await self._admin.ready(ip, RUNTIME_PORT):
                answering.probed[pod_uid] = True
                return
            pod = self.court.history.objects.get(pod_uid)
            if pod is None or pod.gone_at or pod.obj["metadata"].get("deletionTimestamp"):
                return
            await asyncio.sleep(0.2)
        answering.probed[pod_uid] = False


def as_lines(violations: list[Violation], limit: int = 1500) -> str:
    """For a failing test."""
    return "\n".join(str(violation)[:limit] for violation in violations)
