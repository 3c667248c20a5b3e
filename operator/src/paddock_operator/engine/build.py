"""Puts the engine's parts together; nothing else constructs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from paddock_operator.cluster.client import Api
from paddock_operator.cluster.recorder import Recorder
from paddock_operator.cluster.writer import Writer
from paddock_operator.engine.conversations import Conversations, Talks
from paddock_operator.engine.engine import Engine
from paddock_operator.engine.observing import Observing
from paddock_operator.engine.performing import Performing
from paddock_operator.engine.probes import Asks, Prober
from paddock_operator.engine.queue import KeyQueue
from paddock_operator.engine.store import Store
from paddock_operator.engine.troubles import Troubles
from paddock_operator.engine.uids import UidReservations
from paddock_operator.plan.actions import Converse, Key, Kind
from paddock_operator.plan.pods import PodSettings
from paddock_operator.plan.views import ObjectView
from paddock_operator.telemetry.sessions import Export, SessionTelemetry
from paddock_operator.telemetry.tracing import traceparent


class Runtimes(Asks, Talks, Protocol):
    """Everything the engine asks of pods."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What main needs of a built engine."""

    engine: Engine
    queue: KeyQueue
    prober: Prober
    conversations: Conversations

    async def close(self) -> None:
        """End the tasks that talk to pods."""
        await self.prober.close()
        await self.conversations.close()


def build(
    api: Api,
    runtimes: Runtimes,
    recorder: Recorder,
    pod_settings: PodSettings,
    *,
    uid_base: int,
    workers: int,
    now: Callable[[], datetime],
    export: Export | None,
) -> Parts:
    """An engine on this API and these runtimes."""
    store, queue, troubles = Store(), KeyQueue(), Troubles()
    uids = UidReservations(uid_base)

    def parent_of(action: Converse) -> str | None:
        session = store.get(action.session)
        if session is None or action.execution is None:
            return None
        return traceparent(ObjectView(session), action.execution.id.partition(".")[2])

    def answered(sandbox: Key) -> None:
        # The session at the same time as its sandbox: it need not wait for the sandbox's status.
        obj = store.get(sandbox)
        for key in observing.affected(sandbox, ObjectView(obj)) if obj is not None else ():
            queue.add(key)

    prober = Prober(runtimes, answered)
    conversations = Conversations(runtimes, queue.add, now, parent_of)

    def observe(kind: Kind, obj: Mapping[str, Any]) -> None:
        engine.observe(kind, obj)

    def removed(key: Key, uid: str) -> None:
        engine.removed(key, uid)

    performing = Performing(
        Writer(api),
        recorder,
        store,
        observe,
        removed,
        prober,
        conversations,
        troubles,
        uids,
        pod_settings,
        SessionTelemetry(export),
    )
    observing = Observing(store, prober, conversations, troubles, uids)
    engine = Engine(api, store, queue, observing, performing, workers, now)
    return Parts(engine, queue, prober, conversations)
