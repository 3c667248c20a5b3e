"""Store, queue, workers: takes in what happened, reconciles keys, carries out plans."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from paddock_operator.cluster.client import Api, get, pages
from paddock_operator.cluster.errors import ClusterError, Conflict, NotFound
from paddock_operator.engine.observing import Observing
from paddock_operator.engine.performing import Performing, Rejected
from paddock_operator.engine.queue import KeyQueue
from paddock_operator.engine.store import Store, key_of
from paddock_operator.engine.sweep import Sweep
from paddock_operator.plan.actions import Key, Kind, Plan
from paddock_operator.plan.sandbox import plan_sandbox
from paddock_operator.plan.session import plan_session
from paddock_operator.plan.views import SANDBOX_LABEL, ObjectView, parent_of
from paddock_operator.telemetry import metrics

KINDS: tuple[Kind, ...] = (
    "ClusterSandboxTemplate",
    "SandboxTemplate",
    "Pod",
    "Sandbox",
    "AgentSession",
)
"""Listed in this order: whatever an object refers to is in the store before it."""
FIRST_RESYNC_S = 10.0
"""Closes the gap between our first list and the start of the watches."""
RESYNC_S = 600.0
"""The safety net under the watches, for each kind on its own; jittered by a fifth."""
RESYNC_RETRY_S = 60.0
"""After a list that failed: what vanished unseen should not wait for the next round."""
CRD_RETRY_S = 2.0

log = logging.getLogger(__name__)


class Engine:
    """One per process. `take_in` is called by the bridge, `run` by main."""

    def __init__(
        self,
        api: Api,
        store: Store,
        queue: KeyQueue,
        observing: Observing,
        performing: Performing,
        workers: int,
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._store = store
        self._queue = queue
        self._observing = observing
        self._performing = performing
        self._workers = workers
        self._now = now
        self._sweep = Sweep(api, store, performing)
        self._doubtful: set[Key] = set()
        """Parents to be read again before anything is planned for them: a child was deleted by
        somebody else, most likely because the parent is gone and its event was lost."""
        self.primed = False

    def observe(self, kind: Kind, obj: Mapping[str, Any], *, deleted: bool = False) -> None:
        """Something may have happened to this object. Never blocks; may raise on one that no
        schema of ours would let through."""
        key = key_of(kind, obj)
        old = self._store.get(key)
        if deleted:
            if old is not None and ObjectView(old).uid == ObjectView(obj).uid:
                self._store.put(key, obj)  # what it was at its end
            if old is not None and self.removed(key, ObjectView(obj).uid):
                parent = parent_of(key, ObjectView(old))
                if parent is not None and self._store.get(parent) is not None:
                    self._doubtful.add(parent)
            return
        if not self._store.put(key, obj):
            return
        self._performing.seen(key, ObjectView(obj), ObjectView(old) if old else None)
        for affected in self._observing.affected(key, ObjectView(obj)):
            self._queue.add(affected)

    def take_in(self, kind: Kind, obj: Mapping[str, Any], *, deleted: bool = False) -> None:
        """The same of what a watch, a list or a read brought: one that cannot be read must not hide
        the others."""
        try:
            self.observe(kind, obj, deleted=deleted)
        except Exception:
            log.exception("object not taken in", extra={"key": str(key_of(kind, obj))})

    def removed(self, key: Key, uid: str) -> bool:
        """The object with this uid is gone, most often by our own hand; False if another has
        its name, or nothing."""
        old = self._store.get(key)
        if old is None or not self._store.remove(key, uid):
            return False
        self._performing.gone(key, ObjectView(old))
        self._queue.drop(key)
        self._doubtful.discard(key)
        for affected in self._observing.affected(key, ObjectView(old)):
            self._queue.add(affected)
        return True

    async def prime(self) -> None:
        """Fill the store before the first decision; waits until the CRDs are there."""
        for kind in KINDS:
            while True:
                try:
                    await self._list(kind)
                    break
                except ClusterError as error:
                    log.warning(
                        "cannot list yet, trying again",
                        extra={"kind": kind, "error.message": str(error)},
                    )
                    await asyncio.sleep(CRD_RETRY_S)
        self.primed = True

    async def run(self) -> None:
        """Timers, workers and resyncs, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run_timers(), name="timers")
            for kind in KINDS:
                group.create_task(self._resyncs(kind), name=f"resync {kind}")
            for number in range(self._workers):
                group.create_task(self._work(), name=f"worker {number}")

    async def _resyncs(self, kind: Kind) -> None:
        """A task per kind: one that cannot be listed does not keep the others from it."""
        delay = FIRST_RESYNC_S
        while True:
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
            delay = RESYNC_S
            try:
                await self._list(kind)
            except ClusterError as error:
                delay = RESYNC_RETRY_S
                log.warning("resync failed", extra={"kind": kind, "error.message": str(error)})

    async def _list(self, kind: Kind) -> None:
        """Take in all objects of a kind, and forget those that are there no more."""
        labels = SANDBOX_LABEL if kind == "Pod" else ""
        there = set()
        version = ""
        async for items, version in pages(self._api, kind, labels=labels):  # noqa: B007
            for item in items:
                there.add(key_of(kind, item))
                self.take_in(kind, item)
        for key, obj in self._store.of_kind(kind):
            if key not in there and _not_after(ObjectView(obj).resource_version, version):
                self.observe(kind, obj, deleted=True)
        if self.primed:  # what owns them is in the store
            await self._sweep.of_kind(kind)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            result = "error"
            try:
                with metrics.RECONCILE_SECONDS.labels(key.kind).time():
                    await self.reconcile(key)
                self._queue.forget(key)
                result = "success"
            except Conflict:
                result = "conflict"
                await self._refresh(key)
                self._queue.retry(key)
            except Rejected as rejected:
                # Said in the object's status; another try follows, slower each time.
                delay = self._queue.retry(key)
                log.warning(
                    "refused by the API server",
                    extra={"key": str(key), "reason": rejected.trouble.reason, "retry_s": delay},
                )
            except Exception as error:  # one poison object must not stop the others
                delay = self._queue.retry(key)
                log.error(
                    "reconcile failed",
                    exc_info=not isinstance(error, ClusterError),
                    extra={
                        "key": str(key),
                        "error.type": type(error).__name__,
                        "error.message": str(error),
                        "retry_s": round(delay, 2),
                    },
                )
            finally:
                metrics.RECONCILE.labels(key.kind, result).inc()
                self._queue.done(key)

    async def reconcile(self, key: Key) -> None:
        """Plan one key from what the store knows now, and carry the plan out."""
        if key in self._doubtful:
            # Without this, a parent that is gone would get child after child, each collected
            # as garbage, until the next resync.
            self._doubtful.discard(key)
            await self._refresh(key)
        now = self._now()
        plan = self._plan(key, now)
        for action in plan.actions:
            await self._performing.perform(key, action)
        if plan.requeue_at is not None:
            self._queue.add_after(key, (plan.requeue_at - now).total_seconds())

    def _plan(self, key: Key, now: datetime) -> Plan:
        obj = self._store.get(key)
        if obj is None:
            return Plan()
        if key.kind == "AgentSession":
            return plan_session(self._observing.session(ObjectView(obj)), now)
        if key.kind == "Sandbox":
            seen = self._observing.sandbox(ObjectView(obj))
            return plan_sandbox(seen, self._performing.pod_settings, now)
        return Plan()

    async def _refresh(self, key: Key) -> None:
        """Our version is old: read the object instead of waiting for the watch."""
        try:
            self.take_in(key.kind, await get(self._api, key))
        except NotFound:
            if (old := self._store.get(key)) is not None:
                self.observe(key.kind, old, deleted=True)
        except ClusterError as error:
            log.warning("refresh failed", extra={"key": str(key), "error.message": str(error)})


def _not_after(version: str, snapshot: str) -> bool:
    return version.isdigit() and snapshot.isdigit() and int(version) <= int(snapshot)
