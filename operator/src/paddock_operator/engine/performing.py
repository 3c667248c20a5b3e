"""Carries out one action after the other; the only caller of the writer."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from paddock_api.conditions import ConditionReason as R
from paddock_operator.cluster.errors import ClusterError, Conflict, Denied, Invalid
from paddock_operator.cluster.recorder import Recorder
from paddock_operator.cluster.writer import NameTaken, Writer
from paddock_operator.engine.conversations import Conversations
from paddock_operator.engine.probes import Prober
from paddock_operator.engine.store import Store
from paddock_operator.engine.troubles import Troubles
from paddock_operator.engine.uids import UidReservations
from paddock_operator.plan.actions import (
    Action,
    CancelExecution,
    Converse,
    Create,
    Delete,
    Emit,
    Key,
    Kind,
    PatchStatus,
    Probe,
    SetSuspend,
)
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.pods import PodSettings
from paddock_operator.plan.views import ObjectView
from paddock_operator.telemetry import metrics
from paddock_operator.telemetry.sessions import SessionTelemetry

log = logging.getLogger(__name__)

_REASONS = {
    "QuotaExceeded": R.QUOTA_EXCEEDED,
    "NamespaceTerminating": R.NAMESPACE_TERMINATING,
    "NameTaken": R.NAME_TAKEN,
    "Forbidden": R.FORBIDDEN,
}


class Rejected(Exception):
    """A create was refused for a reason that belongs into the object's status."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


class Performing:
    """Effects. Answers of the API server go into the store, so the next plan sees them."""

    def __init__(
        self,
        writer: Writer,
        recorder: Recorder,
        store: Store,
        observe: Callable[[Kind, Mapping[str, Any]], None],
        removed: Callable[[Key, str], None],
        prober: Prober,
        conversations: Conversations,
        troubles: Troubles,
        uids: UidReservations,
        pod_settings: PodSettings,
        telemetry: SessionTelemetry,
    ) -> None:
        self._writer = writer
        self._recorder = recorder
        self._store = store
        self._observe = observe
        self._removed = removed
        self._prober = prober
        self._conversations = conversations
        self._troubles = troubles
        self._uids = uids
        self._telemetry = telemetry
        self.pod_settings = pod_settings

    async def perform(self, key: Key, action: Action) -> None:
        """Carry out one action of the plan for `key`. Raises ClusterError or Rejected."""
        match action:
            case Create():
                await self._create(key, action)
            case PatchStatus():
                await self._patch_status(action)
            case Delete():
                with _counted("delete", action.key.kind):
                    leaving = await self._writer.delete(action)
                if leaving is not None:
                    self._observe(action.key.kind, leaving)
                else:
                    self._removed(action.key, action.uid)
            case SetSuspend():
                with _counted("patch", action.key.kind):
                    written = await self._writer.set_suspend(action)
                self._written(action.key, action.uid, written)
            case Emit():
                self._recorder.emit(action)
            case Probe():
                self._prober.ensure(action)
            case Converse():
                if self._is_there(action):
                    self._conversations.ensure(action)
            case CancelExecution():
                if self._is_there(action):
                    self._conversations.cancel(action)

    def _is_there(self, action: Converse | CancelExecution) -> bool:
        """Its pod may have gone while the write before this was on its way, and another may be
        made as long as nothing was sent to this one."""
        pods = self._store.children(action.sandbox_uid, "Pod")
        return any(ObjectView(pod).uid == action.pod_uid for pod in pods)

    def seen(self, key: Key, view: ObjectView, old: ObjectView | None) -> None:
        """A version of an object arrived, from a watch, a list or as the answer to a write."""
        if old is not None and old.uid != view.uid:
            self.gone(key, old)
        elif old is not None and key.kind == "AgentSession":
            self._telemetry.written(view, old.status)
        if view.is_true("Finished"):
            self._troubles.clear(key)
            self._conversations.forget(view.uid)
            if key.kind == "Sandbox":
                self._uids.abandon(view.uid)  # one made by hand may be kept for ever
        if key.kind == "Sandbox" and (view.is_true("Finished") or view.is_true("Suspended")):
            self._forget_pod(str((old or view).status.get("podUid") or ""))

    def gone(self, key: Key, view: ObjectView) -> None:
        """An object was deleted: forget what was kept about it."""
        if key.kind == "Pod":
            self._forget_pod(view.uid)
            if view.owner is not None:
                self._uids.release(view.owner.uid)
        if key.kind == "Sandbox":
            self._uids.abandon(view.uid)
            self._conversations.forget(view.uid)
        if key.kind == "AgentSession":
            self._conversations.forget(view.uid)
        self._troubles.clear(key)

    def _forget_pod(self, pod_uid: str) -> None:
        self._prober.forget(pod_uid)
        self._conversations.forget_pod(pod_uid)

    def _written(self, key: Key, uid: str, written: Mapping[str, Any] | None) -> None:
        if written is None:
            self._removed(key, uid)
        else:
            self._observe(key.kind, written)
        known = self._store.get(key)
        if known is None or ObjectView(known).uid != uid:
            # Nothing that the plan wants after this write may happen without it. The object may
            # have gone while the answer was on its way.
            raise Conflict(f"{key} is gone.")

    async def _create(self, key: Key, action: Create) -> None:
        is_pod = action.key.kind == "Pod"
        if is_pod:
            self._uids.sent(action.owner_uid)
        try:
            with _counted("create", action.key.kind):
                created = await self._writer.create(action)
        except (Denied, Invalid, NameTaken) as error:
            is_claim = action.key.kind == "PersistentVolumeClaim"
            otherwise = R.VOLUME_UNAVAILABLE if is_claim else R.POD_REFUSED
            trouble = Trouble(
                _REASONS.get(error.reason, otherwise),
                f"{action.key.kind.lower()}/{action.key.name}: {error} {error.way_out}",
            )
            # The next plan tells it in the status before it tries again.
            if self._store.get(key) is not None:
                self._troubles.set(key, trouble)
            if is_pod:
                self._uids.refused(action.owner_uid)
            raise Rejected(trouble) from error
        if action.key.kind == "PersistentVolumeClaim":
            return  # not watched; the pod's create follows
        self._troubles.clear(key)
        self._observe(action.key.kind, created)
        if is_pod:
            self._uids.release(action.owner_uid)

    async def _patch_status(self, action: PatchStatus) -> None:
        with _counted("patch", action.key.kind):
            written = await self._writer.patch_status(action)
        self._written(action.key, action.uid, written)


class _counted:
    def __init__(self, verb: str, kind: str) -> None:
        self._labels = (verb, kind)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        result = "ok" if error is None else "error"
        if isinstance(error, ClusterError) and error.status:
            result = str(error.status)
        metrics.WRITES.labels(*self._labels, result).inc()
