"""One life of the operator in the model: the real engine, observing, performing, store, writer
and plan on the fake API; only tasks, clocks and the queue's timers are the test's."""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from tests.operator.objects import POD_SETTINGS
from tests.operator.world.api import FakeApi, drive
from tests.operator.world.cluster import Cluster, Event
from tests.operator.world.node import Node

from paddock_api.executions import Execution
from paddock_api.reasons import ExecutionState
from paddock_operator.cluster.errors import ClusterError, Conflict
from paddock_operator.cluster.recorder import Recorder
from paddock_operator.cluster.writer import Writer
from paddock_operator.engine.conversations import Conversations
from paddock_operator.engine.engine import KINDS, Engine
from paddock_operator.engine.observing import Observing
from paddock_operator.engine.performing import Performing, Rejected
from paddock_operator.engine.probes import Prober
from paddock_operator.engine.queue import KeyQueue
from paddock_operator.engine.store import Store
from paddock_operator.engine.troubles import Troubles
from paddock_operator.engine.uids import UidReservations
from paddock_operator.plan.actions import CancelExecution, Converse, Emit, Key, Kind, Probe
from paddock_operator.plan.session_input import Refused
from paddock_operator.plan.views import ObjectView
from paddock_operator.runtime_client.client import RuntimeRefusal, RuntimeUnavailable
from paddock_operator.telemetry.sessions import SessionTelemetry

RETRY_S = 1.0


class ModelQueue:
    """KeyQueue without tasks: the test says which key is worked on."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.ready: dict[Key, None] = {}
        self.due: dict[Key, float] = {}

    def add(self, key: Key) -> None:
        self.ready[key] = None

    def add_after(self, key: Key, delay_s: float) -> None:
        due = self._monotonic() + max(0.0, delay_s)
        self.due[key] = min(due, self.due.get(key, due))

    def retry(self, key: Key) -> float:
        self.add_after(key, RETRY_S)
        return RETRY_S

    def drop(self, key: Key) -> None:
        self.due.pop(key, None)

    def take_due(self) -> bool:
        """Move over what is due now."""
        found = [key for key, due in self.due.items() if due <= self._monotonic()]
        for key in found:
            del self.due[key]
            self.add(key)
        return bool(found)


class ModelProber:
    """Prober without tasks."""

    def __init__(self, node: Node, answered: Callable[[Key], None]) -> None:
        self._node = node
        self._answered = answered
        self._ready: set[str] = set()
        self.asking: dict[str, Probe] = {}

    def is_ready(self, pod_uid: str) -> bool:
        return pod_uid in self._ready

    def ensure(self, probe: Probe) -> None:
        if probe.pod_uid not in self._ready:
            self.asking.setdefault(probe.pod_uid, probe)

    def forget(self, pod_uid: str) -> None:
        self._ready.discard(pod_uid)
        self.asking.pop(pod_uid, None)

    def ask(self) -> bool:
        """Ask all that have not answered; True if one has now."""
        found = [p for p in self.asking.values() if self._node.ready(p.ip)]
        for probe in found:
            del self.asking[probe.pod_uid]
            self._ready.add(probe.pod_uid)
            self._answered(probe.sandbox)
        return bool(found)


class ModelConversations:
    """Conversations without tasks; the same rules of when one is begun and ended."""

    def __init__(
        self, node: Node, answered: Callable[[Key], None], now: Callable[[], datetime]
    ) -> None:
        self._node = node
        self._answered = answered
        self._now = now
        self._told: dict[str, tuple[datetime, int | None]] = {}
        self._results: dict[str, dict[str, Execution | Refused]] = {}
        self.going: dict[str, Converse | CancelExecution] = {}

    def results(self, session_uid: str) -> Mapping[str, Execution | Refused]:
        return self._results.get(session_uid, {})

    def ensure(self, action: Converse) -> None:
        execution_id = action.execution.id if action.execution else ""
        if execution_id in self.results(action.session_uid):
            return
        if execution_id == "" and self._told.get(action.pod_uid) == _lifetime(action):
            return
        self.going[action.session_uid] = action

    def cancel(self, action: CancelExecution) -> None:
        if action.execution_id not in self.results(action.session_uid):
            self.going[action.session_uid] = action

    def forget(self, session_uid: str) -> None:
        self._results.pop(session_uid, None)
        self.going.pop(session_uid, None)

    def forget_pod(self, pod_uid: str) -> None:
        self._told.pop(pod_uid, None)
        for session_uid, action in list(self.going.items()):
            if action.pod_uid == pod_uid:
                del self.going[session_uid]

    def talk(self, session_uid: str) -> bool:
        """One round of requests; True if an answer was brought."""
        action = self.going[session_uid]
        if isinstance(action, CancelExecution):
            return self._cancel(action)
        execution_id = ""
        try:
            if self._told.get(action.pod_uid) != _lifetime(action):
                left = int((action.expires_at - self._now()).total_seconds() * 1000)
                body = action.configure.model_copy(update={"expires_in_ms": max(1, left)})
                self._node.configure(action.ip, action.sandbox_uid, body)
                self._told[action.pod_uid] = _lifetime(action)
            if action.execution is None:
                del self.going[session_uid]
                return True
            execution_id = action.execution.id
            answer = self._node.execute(action.ip, action.sandbox_uid, action.execution)
            if answer.state is not ExecutionState.FINISHED:
                return False
            self._bring(action, execution_id, answer)
        except RuntimeUnavailable:
            return False
        except RuntimeRefusal as refusal:
            self._bring(action, execution_id, Refused(refusal.code, refusal.detail))
        return True

    def _cancel(self, action: CancelExecution) -> bool:
        answer: Execution | Refused
        try:
            answer = self._node.cancel(action.ip, action.sandbox_uid, action.execution_id)
        except RuntimeUnavailable:
            return False
        except RuntimeRefusal as refusal:
            answer = Refused(refusal.code, refusal.detail)
        self._bring(action, action.execution_id, answer)
        return True

    def _bring(
        self, action: Converse | CancelExecution, execution_id: str, answer: Execution | Refused
    ) -> None:
        del self.going[action.session_uid]
        self._results.setdefault(action.session_uid, {})[execution_id] = answer
        self._answered(action.session)


def _lifetime(action: Converse) -> tuple[datetime, int | None]:
    return action.expires_at, action.configure.idle_timeout_ms


class ModelRecorder:
    """Keeps what was emitted."""

    def __init__(self) -> None:
        self.emitted: list[Emit] = []

    def emit(self, event: Emit) -> None:
        self.emitted.append(event)


class Life:
    """From a start of the process to its end. It begins by listing everything."""

    def __init__(
        self,
        cluster: Cluster,
        node: Node,
        api: FakeApi,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._cluster = cluster
        self.pending: dict[Kind, deque[Event]] = {kind: deque() for kind in KINDS}
        self.delivered: dict[Kind, Event] = {}
        self.store = Store()
        self.queue = ModelQueue(monotonic)
        self.prober = ModelProber(node, self._answered)
        self.conversations = ModelConversations(node, self.queue.add, now)
        self.recorder = ModelRecorder()
        self.troubles, self.uids = Troubles(), UidReservations(200_000)
        prober = cast(Prober, self.prober)
        conversations = cast(Conversations, self.conversations)
        self.performing = Performing(
            Writer(api),
            cast(Recorder, self.recorder),
            self.store,
            self.observe,
            self.removed,
            prober,
            conversations,
            self.troubles,
            self.uids,
            POD_SETTINGS,
            SessionTelemetry(None),
        )
        self.observing = Observing(self.store, prober, conversations, self.troubles, self.uids)
        self.engine = Engine(
            api, self.store, cast(KeyQueue, self.queue), self.observing, self.performing, 0, now
        )
        cluster.observers.append(self._heard)
        drive(self.engine.prime())

    def end(self) -> None:
        """The process is gone."""
        self._cluster.observers.remove(self._heard)

    def observe(self, kind: Kind, obj: Mapping[str, Any]) -> None:
        self.engine.observe(kind, obj)

    def removed(self, key: Key, uid: str) -> None:
        self.engine.removed(key, uid)

    def _heard(self, event: Event) -> None:
        if event.watched:
            self.pending[event.kind].append(event)

    def _answered(self, sandbox: Key) -> None:
        obj = self.store.get(sandbox)
        for key in self.observing.affected(sandbox, ObjectView(obj)) if obj is not None else ():
            self.queue.add(key)

    def deliver(self, kind: Kind) -> None:
        """The next watch event of a kind arrives."""
        event = self.pending[kind].popleft()
        self.delivered[kind] = event
        self._take(event)

    def deliver_again(self, kind: Kind) -> None:
        """The last one arrives a second time."""
        if kind in self.delivered:
            self._take(self.delivered[kind])

    def lose_events(self, kind: Kind) -> None:
        """The watch broke: what was on its way is lost, then it starts with what is there."""
        self.pending[kind].clear()
        self.pending[kind].extend(self._cluster.events_of(kind))

    def resync(self) -> None:
        """The engine's own list."""
        for kind in KINDS:
            drive(self.engine._list(kind))

    def _take(self, event: Event) -> None:
        self.engine.observe(event.kind, event.obj, deleted=event.type == "DELETED")

    def work(self, key: Key) -> bool:
        """What a worker does with a key; True if it went well. A Crash passes."""
        self.queue.ready.pop(key, None)
        try:
            drive(self.engine.reconcile(key))
        except Conflict:
            drive(self.engine._refresh(key))
        except (Rejected, ClusterError):
            pass
        else:
            return True
        self.queue.retry(key)
        return False
