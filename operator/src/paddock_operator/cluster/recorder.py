"""Kubernetes Events, best effort: posted in the background, never retried for long, bounded.

An Event explains a status that is already written; losing one loses no truth.
"""

import asyncio
import contextlib
import hashlib
import logging
from datetime import UTC, datetime

from paddock_operator.cluster.client import Api, path_of
from paddock_operator.cluster.errors import AlreadyExists, ClusterError
from paddock_operator.plan.actions import Emit
from paddock_operator.plan.conditions import clip

QUEUE_BOUND = 1000
MESSAGE_BYTES = 1024
"""The API server's bound of an Event's note."""
_PLACE = {"SandboxReady": 1, "StepFailed": 2}
_LAST = 3
"""Times of Events are whole seconds and kubectl leaves those of one second in the order of their
names, so a name begins with the Event's place in the story."""

log = logging.getLogger(__name__)


class Recorder:
    """One task that posts Events in order."""

    def __init__(self, api: Api, instance: str) -> None:
        self._api = api
        self._instance = instance
        self._queue: asyncio.Queue[Emit] = asyncio.Queue(QUEUE_BOUND)

    def emit(self, event: Emit) -> None:
        """Queue one Event; a full queue drops it and says so in the log."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("event dropped: queue full", extra={"reason": event.reason})

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            event = await self._queue.get()
            # A crash may repeat an Event; its name is its content, so the repeat is a 409.
            with contextlib.suppress(AlreadyExists):
                try:
                    await self._api.request(
                        "POST", path_of("Event", event.key.namespace), body=self._body(event)
                    )
                except AlreadyExists:
                    raise
                except ClusterError as error:
                    log.warning(
                        "event not posted",
                        extra={"reason": event.reason, "error.message": str(error)},
                    )

    def _body(self, event: Emit) -> dict[str, object]:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        digest = hashlib.sha256(f"{event.uid}/{event.reason}/{event.message}".encode())
        place = _PLACE.get(event.reason, _LAST)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{event.key.name[:200]}.{place}{digest.hexdigest()[:16]}",
                "namespace": event.key.namespace,
            },
            "involvedObject": {
                "apiVersion": "paddock.dev/v1alpha1",
                "kind": event.key.kind,
                "namespace": event.key.namespace,
                "name": event.key.name,
                "uid": event.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": clip(event.message, MESSAGE_BYTES),
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "paddock-operator", "host": self._instance},
            "reportingComponent": "paddock-operator",
            "reportingInstance": self._instance,
        }
