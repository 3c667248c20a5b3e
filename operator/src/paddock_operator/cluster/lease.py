"""Leader election by a Lease (coordination.k8s.io/v1), outside of kopf: client-go's protocol.

`Claim` decides and knows nothing of requests; `Elector` carries out. A lease is taken when its
record has not changed for the time that it promises, counted by our own clock from when we saw
the change: no clock is ever compared with another machine's. Every update names the
resourceVersion that was read, so of two that take it at once one is refused.

The holder stops at two thirds of the lease, counted from *before* it sent its last renewal; the
others count from *after* they saw it. So there are never two, unless one clock runs half as fast
again as another.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from paddock_operator.cluster.client import Api, Json, path_of
from paddock_operator.cluster.clock import boot_time
from paddock_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, NotFound
from paddock_operator.telemetry import metrics

NAME = "paddock-operator"
TAKE_S = 1.0
"""Between two looks at a lease that another holds, give or take a fifth. With a released lease
it bounds the take-over; a look is one GET."""
RELEASE_S = 3.0
"""For giving the lease back on exit; if that fails, it expires."""

log = logging.getLogger(__name__)


class LeaseLost(ClusterError):
    """This process may not write any more: somebody else may lead."""

    reason = "LeaseLost"
    way_out = "Nothing to do: the process ends, and stands by when it is started again."


@dataclass(frozen=True, slots=True)
class Timing:
    """client-go's defaults (15, 10 and 2 s), kept in proportion to the one that is set."""

    duration_s: int = 15

    @property
    def renew_deadline_s(self) -> float:
        """So long after its last renewal the leader stops."""
        return self.duration_s * 2 / 3

    @property
    def retry_s(self) -> float:
        """Between two renewals."""
        return self.duration_s * 2 / 15

    @property
    def attempt_s(self) -> float:
        """For one attempt, so that a request that hangs leaves time for another."""
        return self.renew_deadline_s / 2


class Verdict(Enum):
    """What to do after a look at the lease."""

    WAIT = auto()
    TAKE = auto()
    RENEW = auto()


class Claim:
    """One candidate's knowledge. Pure: `now` is seconds of the candidate's own clock."""

    def __init__(self, identity: str, timing: Timing) -> None:
        self.identity = identity
        self.timing = timing
        self._record: Mapping[str, Any] = {}
        self._seen_at = 0.0
        self._renewed_at: float | None = None

    @property
    def holder(self) -> str:
        """Whoever the record named when it was last read, '' for nobody."""
        return str(self._record.get("holderIdentity") or "")

    def saw(self, lease: Mapping[str, Any] | None, now: float) -> Verdict:
        """Take in the lease as it was read, None if there is none.

        A lease that somebody deleted is as good as unchanged: its holder goes on.
        """
        record = None if lease is None else lease.get("spec") or {}
        if record is not None and record != self._record:
            self._record, self._seen_at = record, now
        if self.holder == self.identity:
            return Verdict.RENEW
        self._renewed_at = None
        if self.holder and now - self._seen_at < self._promised_s():
            return Verdict.WAIT
        return Verdict.TAKE

    def wrote(self, lease: Mapping[str, Any], sent_at: float) -> None:
        """Our update was carried out; `sent_at` is from before it was sent."""
        self._record, self._seen_at = lease.get("spec") or {}, sent_at
        self._renewed_at = sent_at

    def left_s(self, now: float) -> float:
        """How long this process may go on writing; 0 if it may not."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self.timing.renew_deadline_s - now)

    def _promised_s(self) -> float:
        promised = self._record.get("leaseDurationSeconds")
        return promised if isinstance(promised, int) and promised > 0 else self.timing.duration_s


class Elector:
    """Takes, renews and gives back the lease in a namespace."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        identity: str,
        timing: Timing,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._claim = Claim(identity, timing)
        self._timing = timing
        self._clock = clock

    @property
    def holder(self) -> str:
        """Whoever leads, as far as we know."""
        return self._claim.holder

    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._claim.left_s(self._clock()) > 0

    async def acquire(self) -> None:
        """Returns when this process leads. A failing API server is no reason to give up."""
        metrics.LEADER.set(0)
        log.info("standing by", extra={"identity": self._claim.identity})
        while True:
            if await self._try(self._timing.attempt_s):
                break
            await asyncio.sleep(TAKE_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
        metrics.LEADER.set(1)
        log.info("leading", extra={"identity": self._claim.identity})

    async def hold(self) -> None:
        """Renew until the lease is lost: raises LeaseLost before another may take it."""
        try:
            while True:
                await asyncio.sleep(min(self._timing.retry_s, self._left_s()))
                await self._try(min(self._timing.attempt_s, self._left_s()))
                self._left_s()
        finally:
            metrics.LEADER.set(0)

    async def release(self) -> None:
        """On exit, when the work has stopped: let another take it at once. Best effort.

        A lease that was lost is left to run out: whoever cannot reach the API server to renew
        would only exit later.
        """
        if not self.leads():
            return
        try:
            async with asyncio.timeout(RELEASE_S):
                lease = await self._read() or {}
                old = lease.get("spec") or {}
                if old.get("holderIdentity") == self.identity:
                    spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _wall()}
                    await self._write(lease | {"spec": old | spec})
        except (ClusterError, TimeoutError) as error:
            log.warning("lease not released", extra={"error.message": str(error)})

    @property
    def identity(self) -> str:
        """What we call ourselves in the lease."""
        return self._claim.identity

    def _left_s(self) -> float:
        left = self._claim.left_s(self._clock())
        if left > 0:
            return left
        why = f"not renewed for {self._timing.renew_deadline_s:.3g} s"
        if self.holder not in ("", self.identity):
            why = f"{self.holder} has it now"
        raise LeaseLost(f"lease {self._namespace}/{NAME}: {why}.")

    async def _try(self, within_s: float) -> bool:
        """One look, and one write if that is due; whether it was carried out."""
        try:
            async with asyncio.timeout(within_s):
                lease = await self._read()
                if self._claim.saw(lease, self._clock()) is Verdict.WAIT:
                    return False
                sent_at = self._clock()
                self._claim.wrote(await self._write(self._ours(lease)), sent_at)
                return True
        except (Conflict, AlreadyExists):
            return False  # somebody else wrote; the next look says who
        except (ClusterError, TimeoutError) as error:
            log.warning(
                "lease not reached",
                extra={"error.type": type(error).__name__, "error.message": str(error)},
            )
            return False

    async def _read(self) -> Json | None:
        try:
            return await self._api.request("GET", path_of("Lease", self._namespace, NAME))
        except NotFound:
            return None

    async def _write(self, lease: Json) -> Json:
        if "resourceVersion" in lease["metadata"]:
            path = path_of("Lease", self._namespace, NAME)
            return await self._api.request("PUT", path, body=lease)
        return await self._api.request("POST", path_of("Lease", self._namespace), body=lease)

    def _ours(self, lease: Json | None) -> Json:
        if lease is None:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": NAME, "namespace": self._namespace},
            }
        old = lease.get("spec") or {}
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._timing.duration_s,
            "renewTime": _wall(),
        }
        if old.get("holderIdentity") != self.identity:
            spec["acquireTime"] = spec["renewTime"]
            spec["leaseTransitions"] = (old.get("leaseTransitions") or 0) + 1 if old else 0
        return lease | {"spec": old | spec}


class Fenced:
    """Refuses writes of a process that does not lead, such as one that was paused for a minute."""

    def __init__(self, api: Api, leads: Callable[[], bool]) -> None:
        self._api = api
        self._leads = leads

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """See Api; raises LeaseLost."""
        if method != "GET" and not self._leads():
            raise LeaseLost(f"{method} {path}: not sent, this process does not lead any more.")
        return await self._api.request(
            method, path, query=query, body=body, content_type=content_type
        )


def _wall() -> str:
    """metav1.MicroTime; for people, nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
