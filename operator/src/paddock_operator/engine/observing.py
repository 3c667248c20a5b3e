"""From the store to a plan's input, and from a changed object to the keys it concerns."""

from collections.abc import Iterator

from paddock_api.names import sandbox_name
from paddock_operator.engine.conversations import Conversations
from paddock_operator.engine.probes import Prober
from paddock_operator.engine.store import Store
from paddock_operator.engine.troubles import Troubles
from paddock_operator.engine.uids import UidReservations
from paddock_operator.plan.actions import Key
from paddock_operator.plan.sandbox import SandboxObserved
from paddock_operator.plan.session_input import SessionObserved
from paddock_operator.plan.templates import read_template, template_key
from paddock_operator.plan.views import (
    ObjectView,
    PodView,
    get,
    parent_of,
    sandbox_key,
    session_key,
)


class Observing:
    """Reads, and reserves the workspace uid that a pod may be made with."""

    def __init__(
        self,
        store: Store,
        prober: Prober,
        conversations: Conversations,
        troubles: Troubles,
        uids: UidReservations,
    ) -> None:
        self._store = store
        self._prober = prober
        self._conversations = conversations
        self._troubles = troubles
        self._uids = uids

    def session(self, session: ObjectView) -> SessionObserved:
        """Everything an AgentSession's plan may look at."""
        name = sandbox_name(session.name, session.uid)
        child = self._store.get(Key("Sandbox", session.namespace, name))
        sandbox = ObjectView(child) if child is not None else None
        pod = self._pod_of(sandbox) if sandbox is not None else None
        key = template_key(session)
        return SessionObserved(
            session=session,
            template=read_template(key, self._store.get(key)),
            sandbox=sandbox,
            pod=pod,
            gone=self._gone(sandbox) if sandbox is not None else None,
            answering=pod is not None and self._prober.is_ready(pod.uid),
            results=self._conversations.results(session.uid),
            trouble=self._troubles.get(session_key(session)),
        )

    def sandbox(self, sandbox: ObjectView) -> SandboxObserved:
        """Everything a Sandbox's plan may look at."""
        pod = self._named_like(sandbox)
        key = template_key(sandbox)
        free_uid = 0
        if pod is None and not sandbox.status.get("podUid") and not sandbox.is_true("Finished"):
            # One that comes back from a suspension owns the files of its volume.
            before = sandbox.status.get("workspaceUid")
            free_uid = before or self._uids.reserve(sandbox.uid, self._live_uids())
        claimed = self._claimed_by(sandbox)
        return SandboxObserved(
            sandbox=sandbox,
            template=read_template(key, self._store.get(key)),
            pod=pod,
            gone=self._gone(sandbox),
            answering=pod is not None and self._prober.is_ready(pod.uid),
            free_uid=free_uid,
            trouble=self._troubles.get(sandbox_key(sandbox)),
            claimed=claimed is not None,
            in_use=claimed is not None and not claimed.is_true("Suspended"),
        )

    def affected(self, key: Key, view: ObjectView) -> Iterator[Key]:
        """The keys to reconcile after a change of this object."""
        if key.kind in ("AgentSession", "Sandbox"):
            yield key
        if key.kind == "Sandbox" and (parent := parent_of(key, view)) is not None:
            yield parent
        if key.kind == "Pod":
            # By name, not by owner: a pod that is not ours may have taken the name.
            named = Key("Sandbox", key.namespace, key.name)
            yield named
            sandbox = self._store.get(named)
            if sandbox is not None and (parent := parent_of(named, ObjectView(sandbox))):
                yield parent
        if key.kind in ("SandboxTemplate", "ClusterSandboxTemplate"):
            yield from self._waiting_for(key)

    def _waiting_for(self, template: Key) -> Iterator[Key]:
        for kind in ("Sandbox", "AgentSession"):
            for key, obj in self._store.of_kind(kind):
                view = ObjectView(obj)
                if not view.is_true("Ready") and template_key(view) == template:
                    yield key

    def _claimed_by(self, sandbox: ObjectView) -> ObjectView | None:
        """Its session, if that one's status names it: the write that precedes every dispatch."""
        parent = parent_of(sandbox_key(sandbox), sandbox)
        session = self._store.get(parent) if parent is not None else None
        if session is None or get(session, "status", "sandbox", "uid") != sandbox.uid:
            return None
        return ObjectView(session)

    def _pod_of(self, sandbox: ObjectView) -> PodView | None:
        """By its one name, and only if this sandbox controls it: anybody can write a reference."""
        pod = self._named_like(sandbox)
        return pod if pod is not None and pod.owned_by(sandbox.uid) else None

    def _gone(self, sandbox: ObjectView) -> PodView | None:
        """The pod that its status names, as it was when it went. That of before a suspension is
        not named any more."""
        last = self._store.last_pod(sandbox.uid)
        if last is None or ObjectView(last).uid != sandbox.status.get("podUid"):
            return None
        return PodView(last)

    def _named_like(self, sandbox: ObjectView) -> PodView | None:
        """Whatever pod has its name, whoever controls it."""
        named = self._store.get(Key("Pod", sandbox.namespace, sandbox.name))
        return PodView(named) if named is not None else None

    def _live_uids(self) -> Iterator[int]:
        for _, obj in self._store.of_kind("Pod"):
            uid = PodView(obj).workspace_uid
            if uid is not None:
                yield uid
        for _, obj in self._store.of_kind("Sandbox"):
            view = ObjectView(obj)
            uid = view.status.get("workspaceUid")
            # One without a pod may come back from a suspension to the files of its volume.
            if isinstance(uid, int) and not view.is_true("Finished"):
                yield uid
