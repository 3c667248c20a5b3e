"""Children whose owner is gone: the garbage collector's work, looked after.

Kubernetes deletes what has lost its owner by itself. This is for when it does not (the collector
is down): a child whose owner was not there at two resyncs in a row is deleted, once the API server
itself has said so. A reference alone proves nothing, so only those to our own API group
count, and a label never does.
"""

import logging

from paddock_operator.cluster.client import Api, is_there
from paddock_operator.cluster.errors import ClusterError
from paddock_operator.engine.performing import Performing
from paddock_operator.engine.store import Store
from paddock_operator.plan.actions import Delete, Key, Kind
from paddock_operator.plan.views import ObjectView, parent_of

log = logging.getLogger(__name__)


class Sweep:
    """One per engine."""

    def __init__(self, api: Api, store: Store, performing: Performing) -> None:
        self._api = api
        self._store = store
        self._performing = performing
        self._orphans: dict[Kind, set[str]] = {}
        """uids of the last time."""

    async def of_kind(self, kind: Kind) -> None:
        """Delete the orphans of a kind. Raises ClusterError."""
        before, found = self._orphans.get(kind, set()), set()
        for key, obj in self._store.of_kind(kind):
            view = ObjectView(obj)
            parent = parent_of(key, view)
            if parent is None or view.owner is None or view.deleting:
                continue
            if await self._is_there(parent, view.owner.uid):
                continue
            found.add(view.uid)
            if view.uid in before:
                log.warning("orphan deleted", extra={"key": str(key), "owner": str(parent)})
                try:
                    await self._performing.perform(key, Delete(key, view.uid))
                except ClusterError as error:
                    told = {"key": str(key), "error.message": str(error)}
                    log.warning("orphan not deleted", extra=told)
        self._orphans[kind] = found

    async def _is_there(self, parent: Key, uid: str) -> bool:
        known = self._store.get(parent)
        if known is not None and ObjectView(known).uid == uid:
            return True
        return await is_there(self._api, parent, uid)
