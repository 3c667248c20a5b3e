"""Who may lead: a table of looks at the lease, and two candidates in any order of events."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from paddock_operator.cluster.errors import AlreadyExists, Conflict, NotFound, Unreachable
from paddock_operator.cluster.lease import Claim, Elector, Fenced, LeaseLost, Timing, Verdict

DURATION = 15
Json = dict[str, Any]


def lease(holder: str | None, *, renewed: str = "once", duration: int = DURATION) -> Json:
    return {
        "metadata": {"name": "paddock-operator", "resourceVersion": "7"},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "renewTime": renewed,
        },
    }


OTHER, AGAIN, OURS, RELEASED = lease("b"), lease("b", renewed="twice"), lease("a"), lease("")


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        ([(None, 0)], Verdict.TAKE),
        ([({"metadata": {}}, 0)], Verdict.TAKE),
        ([(RELEASED, 0)], Verdict.TAKE),
        ([(lease(None), 0)], Verdict.TAKE),
        ([(OURS, 0)], Verdict.RENEW),
        ([(OTHER, 1000)], Verdict.WAIT),
        ([(OTHER, 0), (OTHER, 14.9)], Verdict.WAIT),
        ([(OTHER, 0), (OTHER, 15)], Verdict.TAKE),
        ([(OTHER, 0), (AGAIN, 14.9), (AGAIN, 29.8)], Verdict.WAIT),
        ([(OTHER, 0), (AGAIN, 14.9), (AGAIN, 30)], Verdict.TAKE),
        ([(OTHER, 0), (RELEASED, 1)], Verdict.TAKE),
        ([(lease("b", duration=60), 0), (lease("b", duration=60), 59)], Verdict.WAIT),
        ([(lease("b", duration=0), 0), (lease("b", duration=0), 14)], Verdict.WAIT),
        ([(OTHER, 0), (None, 14)], Verdict.WAIT),
        ([(OTHER, 0), (None, 15)], Verdict.TAKE),
        ([(OURS, 0), (None, 1)], Verdict.RENEW),
        ([(OURS, 0), (OTHER, 1)], Verdict.WAIT),
    ],
)
def test_a_lease_is_taken_when_its_time_has_passed_unchanged(
    looks: list[tuple[Json | None, float]], verdict: Verdict
) -> None:
    claim = Claim("a", Timing(DURATION))
    for seen, now in looks:
        found = claim.saw(seen, now)
    assert found is verdict


def test_the_right_to_write_ends_at_two_thirds_counted_from_before_the_request() -> None:
    claim = Claim("a", Timing(DURATION))
    assert claim.saw(None, 100) is Verdict.TAKE
    assert claim.left_s(100) == 0
    claim.wrote(OURS, 100)
    assert claim.left_s(103) == 7
    assert claim.left_s(110) == claim.left_s(5000) == 0


def test_the_right_to_write_ends_when_another_is_named() -> None:
    claim = Claim("a", Timing(DURATION))
    claim.wrote(OURS, 0)
    claim.saw(OTHER, 1)
    assert claim.left_s(1) == 0


# --- two candidates, one API server, any order


@dataclass
class Candidate:
    """A process: what it knows, and the one request that it may have on its way."""

    name: str
    offset: float
    rate: float
    claim: Claim = field(init=False)
    read: tuple[Json | None] | None = None
    """What the server has answered to a GET, not arrived yet."""
    write: tuple[Json | None, float] | None = None
    """An update on its way: the version it names and when it was sent."""
    answer: tuple[Json, float] | None = None

    def __post_init__(self) -> None:
        self.claim = Claim(self.name, Timing(DURATION))

    def now(self, time: float) -> float:
        return self.offset + self.rate * time


CANDIDATES = st.sampled_from(["a", "b"])
SECONDS = st.sampled_from([0.0, 0.1, 2.0, 4.0, 9.0, 12.0, 14.0])


class TwoCandidates(RuleBasedStateMachine):
    """Clocks differ by anything in value, and by a fifth in rate; requests and answers take any
    time or get lost; processes are killed and replaced; the lease is given back."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.version = 0
        self.lease: Json | None = None
        self.all = {"a": Candidate("a", 0, 0.9), "b": Candidate("b", -1e6, 1.1)}
        self.generation = 0

    @rule(who=CANDIDATES, seconds=SECONDS, stages=st.integers(1, 4))
    def a_candidate_goes_on(self, who: str, seconds: float, stages: int) -> None:
        """After some time the next things happen of: a GET reaches the server, its answer
        arrives and a write is sent, that reaches the server, its answer arrives."""
        self.time += seconds
        one = self.all[who]
        for _ in range(stages):
            if one.answer is not None:
                (stored, sent_at), one.answer = one.answer, None
                one.claim.wrote(stored, sent_at)
            elif one.write is not None:
                (seen, sent_at), one.write = one.write, None
                if _version(self.lease) == _version(seen):
                    one.answer = (self._store(one.name), sent_at)
            elif one.read is not None:
                (seen,), one.read = one.read, None
                if one.claim.saw(seen, one.now(self.time)) is not Verdict.WAIT:
                    one.write = (seen, one.now(self.time))
            else:
                one.read = (self.lease,)
            self.at_most_one_may_write()

    @rule(who=CANDIDATES, what=st.sampled_from(["lost", "exit", "kill"]))
    def a_mishap(self, who: str, what: str) -> None:
        one = self.all[who]
        holder = self.lease and self.lease["spec"]["holderIdentity"]
        if what == "lost":
            one.read = one.write = one.answer = None
        elif what == "exit" and holder == one.name:
            self._replace(who)
            self._store("", duration=1)
        elif what == "kill":
            self._replace(who)

    def _replace(self, who: str) -> None:
        self.generation += 1
        old = self.all[who]
        self.all[who] = Candidate(f"{who}{self.generation}", -old.offset, old.rate)

    def _store(self, holder: str, duration: int = DURATION) -> Json:
        self.version += 1
        self.lease = lease(holder, renewed=str(self.version), duration=duration)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return self.lease

    @invariant()
    def at_most_one_may_write(self) -> None:
        leading = [c.name for c in self.all.values() if c.claim.left_s(c.now(self.time)) > 0]
        assert len(leading) <= 1, leading


def _version(stored: Json | None) -> str | None:
    return None if stored is None else stored["metadata"]["resourceVersion"]


TestTwoCandidates = TwoCandidates.TestCase
TestTwoCandidates.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)


# --- the effects


class Server:
    """One Lease with an API server's rules, and faults."""

    def __init__(self) -> None:
        self.stored: Json | None = None
        self.version = 0
        self.fault: str | None = None
        self.asked: list[str] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        self.asked.append(method)
        if self.fault == "hangs":
            await asyncio.Event().wait()
        if self.fault == "unreachable":
            raise Unreachable("no route")
        if method == "GET":
            if self.stored is None:
                raise NotFound("none", 404)
            return self.stored
        assert body is not None
        if method == "POST" and self.stored is not None:
            raise AlreadyExists("taken", 409)
        old = (self.stored or {}).get("metadata", {}).get("resourceVersion")
        if method == "PUT" and body["metadata"]["resourceVersion"] != old:
            raise Conflict("changed", 409)
        self.version += 1
        self.stored = {**body, "metadata": {**body["metadata"], "resourceVersion": self.version}}
        if self.fault == "answer lost":
            self.fault = None
            raise Unreachable("timed out but done")
        return self.stored


def elector(server: Server, identity: str = "a", duration_s: int = 3) -> Elector:
    return Elector(server, "here", identity, Timing(duration_s))


@pytest.fixture
def server() -> Server:
    return Server()


async def test_taken_released_and_taken_by_the_next(server: Server) -> None:
    first, second = elector(server, "a"), elector(server, "b")
    await first.acquire()
    assert first.leads()
    assert server.stored is not None
    assert server.stored["spec"]["leaseTransitions"] == 0
    await first.release()
    assert server.stored["spec"]["holderIdentity"] == ""
    assert server.stored["spec"]["leaseDurationSeconds"] == 1
    await second.acquire()
    assert server.stored["spec"]["holderIdentity"] == "b"
    assert server.stored["spec"]["leaseTransitions"] == 1


async def test_a_process_that_never_led_releases_nothing(server: Server) -> None:
    await elector(server, "a").acquire()
    server.asked.clear()
    await elector(server, "a").release()
    assert server.asked == []


async def test_what_others_wrote_into_the_lease_stays(server: Server) -> None:
    server.stored = lease("") | {"metadata": {"resourceVersion": 0, "labels": {"team": "x"}}}
    server.stored["spec"]["strategy"] = "theirs"
    await elector(server).acquire()
    assert server.stored["metadata"]["labels"] == {"team": "x"}
    assert server.stored["spec"]["strategy"] == "theirs"


async def test_a_restart_in_place_takes_its_own_lease_back_at_once(server: Server) -> None:
    await elector(server, "pod", 300).acquire()
    async with asyncio.timeout(0.5):
        await elector(server, "pod", 300).acquire()


async def test_an_answer_that_was_lost_costs_one_more_look(server: Server) -> None:
    server.fault = "answer lost"
    one = elector(server)
    await one.acquire()
    assert one.leads()


@pytest.mark.parametrize("fault", ["hangs", "unreachable"])
async def test_a_leader_that_cannot_renew_ends_before_its_lease(server: Server, fault: str) -> None:
    one = elector(server)
    await one.acquire()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    server.fault = fault
    async with asyncio.timeout(3):
        with pytest.raises(LeaseLost, match="not renewed for 2 s"):
            await one.hold()
    assert loop.time() - begun >= 1.9
    assert not one.leads()
    assert server.asked.count("GET") >= 3, "one that hangs leaves time for another"


async def test_a_leader_that_is_replaced_ends_at_its_next_look(server: Server) -> None:
    one = elector(server)
    await one.acquire()
    server.stored = lease("b")
    with pytest.raises(LeaseLost, match="b has it now"):
        await one.hold()
    assert server.asked[-1] == "GET"


async def test_a_lease_that_was_deleted_is_made_anew_by_its_holder(server: Server) -> None:
    one, other = elector(server, "a"), elector(server, "b")
    await one.acquire()
    waiting = asyncio.create_task(other.acquire())
    await asyncio.sleep(0.05)
    server.stored = None
    holding = asyncio.create_task(one.hold())
    await asyncio.sleep(1.5)
    assert server.stored is not None
    assert server.stored["spec"]["holderIdentity"] == "a"
    for task in (holding, waiting):
        task.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)


async def test_a_release_that_fails_does_not_keep_the_process(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paddock_operator.cluster.lease.RELEASE_S", 0.05)
    for fault in ("hangs", "unreachable"):
        server.stored, server.fault = None, None
        one = elector(server)
        await one.acquire()
        server.fault = fault
        await one.release()


async def test_the_fence_lets_only_a_leader_write() -> None:
    server, leads = Server(), True
    fenced = Fenced(server, lambda: leads)
    await fenced.request("POST", "/things", body={"metadata": {}})
    leads = False
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(LeaseLost, match=method):
            await fenced.request(method, "/things", body={"metadata": {}})
    assert server.asked == ["POST"]
    await fenced.request("GET", "/things")
