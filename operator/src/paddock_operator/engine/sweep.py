"""Children whose owner is gone: the garbage collector's work, looked after.

Kubernetes deletes what has lost its owner by itself. This is for when it does not (the collector
is down, or somebody told it to leave orphans of a kind that nothing else ends): at every resync
each child whose owner this process does not know is deleted, once the API server has said that
the owner is not there. A reference alone proves nothing, so only those to our own API group
count, and a label never does.
"""

import logging

from paddock_operator.cluster.client import Api, get
from paddock_operator.cluster.errors import NotFound
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

    async def of_kind(self, kind: Kind) -> None:
        """Delete the orphans of a kind. Raises ClusterError."""
        for key, obj in self._store.of_kind(kind):
            view = ObjectView(obj)
            parent = parent_of(key, view)
            if parent is None or view.owner is None or view.deleting:
                continue
            if await self._is_there(parent, view.owner.uid):
                continue
            log.warning("orphan deleted", extra={"key": str(key), "owner": str(parent)})
            await self._performing.perform(key, Delete(key, view.uid))

    async def _is_there(self, parent: Key, uid: str) -> bool:
        known = self._store.get(parent)
        if known is not None and ObjectView(known).uid == uid:
            return True
        try:
            return ObjectView(await get(self._api, parent)).uid == uid
        except NotFound:
            return False
