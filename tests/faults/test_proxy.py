"""The proxy in front of a small server: each fault does what it says, and nothing else."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.faults.faults import (
    Answer,
    Armed,
    Cut,
    Drop,
    Hangup,
    Kill,
    Late,
    Rule,
    Silence,
    Stale,
    Swap,
    Twice,
    chance,
    every,
    first,
    only,
)
from tests.faults.kubeapi import until
from tests.faults.proxy import Proxy
from tests.faults.requests import Request, parse

PODS = "/api/v1/namespaces/team/pods"
WATCH = f"{PODS}?watch=true"


class Upstream:
    """Remembers what arrived; its watch says ADDED a, b, c and stays open."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.items: list[str] = ["old"]
        self.credentials: set[str | None] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path_qs}")
        self.credentials.add(request.headers.get("Authorization"))
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            for name in "abc":
                line = json.dumps({"type": "ADDED", "object": {"metadata": {"name": name}}})
                # In two pieces: a line is not a packet.
                await response.write(line[:9].encode())
                await asyncio.sleep(0)
                await response.write(line[9:].encode() + b"\n")
            await asyncio.sleep(3600)
            return response
        if request.method == "GET":
            items = [{"metadata": {"name": name, "namespace": "team"}} for name in self.items]
            return web.json_response({"kind": "PodList", "apiVersion": "v1", "items": items})
        return web.json_response(await request.json(), status=201)


class Rig:
    def __init__(self, upstream: Upstream, proxy: Proxy, url: str, client: Any) -> None:
        self.upstream, self.proxy, self.url = upstream, proxy, url
        self.client: aiohttp.ClientSession = client
        self.killed = 0

    async def post(self) -> int:
        async with self.client.post(self.url + PODS, json={"metadata": {"name": "x"}}) as response:
            await response.read()
            return response.status

    async def names(self) -> list[str]:
        async with self.client.get(self.url + PODS) as response:
            return [item["metadata"]["name"] for item in (await response.json())["items"]]

    async def watch(self, seconds: float = 0.5) -> tuple[str, bool]:
        """Names in the order of their arrival (! is an error), and whether the watch ended."""
        seen = ""
        try:
            async with asyncio.timeout(seconds), self.client.get(self.url + WATCH) as response:
                async for line in response.content:
                    event = json.loads(line)
                    metadata = event["object"].get("metadata", {})
                    seen += "!" if event["type"] == "ERROR" else metadata["name"]
        except TimeoutError:
            return seen, False
        except aiohttp.ClientError:
            pass
        return seen, True


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    upstream = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]

    async def kill() -> None:
        made.killed += 1

    proxy = Proxy(f"http://{host}:{port}", None, kill)
    headers = {"Authorization": "Bearer mine"}
    async with aiohttp.ClientSession(headers=headers) as client:
        made = Rig(upstream, proxy, await proxy.start(), client)
        yield made
    await proxy.close()
    await runner.cleanup()


async def test_without_rules_everything_passes_and_writes_are_counted(rig: Rig) -> None:
    assert await rig.post() == 201
    assert await rig.names() == ["old"]
    assert await rig.watch() == ("abc", False)
    assert rig.upstream.seen == [f"POST {PODS}", f"GET {PODS}", f"GET {WATCH}"]
    assert rig.upstream.credentials == {"Bearer mine"}
    assert rig.proxy.writes == {("create", "pods"): 1}
    assert not rig.proxy.injected


async def test_events_and_leases_are_counted_apart(rig: Rig) -> None:
    for path in (
        "/api/v1/namespaces/team/events",
        "/apis/coordination.k8s.io/v1/namespaces/t/leases",
    ):
        async with rig.client.post(rig.url + path, json={}) as response:
            assert response.status == 201
    assert rig.proxy.written() == 0
    assert await rig.post() == 201
    assert rig.proxy.written() == 1


async def test_an_answer_keeps_the_request_from_the_server(rig: Rig) -> None:
    busy = Answer(429, "TooManyRequests", retry_after=7)
    rig.proxy.arm(Rule(busy, verbs=frozenset({"create"})))
    async with rig.client.post(rig.url + PODS, json={}) as response:
        body = await response.json()
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
        assert (body["kind"], body["reason"], body["code"]) == ("Status", "TooManyRequests", 429)
    assert rig.upstream.seen == []
    assert rig.proxy.injected == {"answer 429": 1}
    assert await rig.names() == ["old"]


@pytest.mark.parametrize("done", [False, True])
async def test_a_hang_up_leaves_no_answer(rig: Rig, done: bool) -> None:
    rig.proxy.arm(Rule(Hangup(done), first(1), counted=True))
    with pytest.raises(aiohttp.ClientError):
        await rig.post()
    assert rig.upstream.seen == ([f"POST {PODS}"] if done else [])
    assert await rig.post() == 201


@pytest.mark.parametrize("done", [False, True])
async def test_the_operator_is_killed_at_the_nth_write(rig: Rig, done: bool) -> None:
    rig.proxy.arm(Rule(Kill(done), only(2), counted=True))
    assert await rig.post() == 201
    assert await rig.names() == ["old"]
    with pytest.raises(aiohttp.ClientError):
        await rig.post()
    assert rig.killed == 1
    assert rig.upstream.seen.count(f"POST {PODS}") == (2 if done else 1)


async def test_latency_delays_and_forwards(rig: Rig) -> None:
    rig.proxy.arm(Rule(Late(0.2), verbs=frozenset({"list"})))
    begun = asyncio.get_running_loop().time()
    assert await rig.names() == ["old"]
    assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_stale_reads_come_from_the_snapshot(rig: Rig) -> None:
    await rig.names()
    await rig.proxy.snapshot()
    rig.upstream.items = ["old", "new"]
    rig.proxy.arm(Rule(Stale(), verbs=frozenset({"list", "get"})))
    assert await rig.names() == ["old"]
    async with rig.client.get(f"{rig.url}{PODS}/old") as response:
        assert (await response.json())["kind"] == "Pod"
    async with rig.client.get(f"{rig.url}{PODS}/new") as response:
        assert response.status == 404
    rig.proxy.arm()
    assert await rig.names() == ["old", "new"]


@pytest.mark.parametrize(
    ("fault", "when", "seen"),
    [
        (Drop(), only(2), ("ac", False)),
        (Twice(), only(1), ("aabc", False)),
        (Swap(), only(1), ("bac", False)),
        (Swap(), only(3), ("ab", False)),
        (Cut(), only(3), ("ab", True)),
        (Cut(gone=True), only(2), ("a!", True)),
        (Silence(), only(2), ("a", False)),
        (Late(60), only(2), ("a", False)),
        (Late(0.1), every(1), ("abc", False)),
    ],
)
async def test_a_watch_is_disturbed(rig: Rig, fault: Any, when: Any, seen: Any) -> None:
    rig.proxy.arm(Rule(fault, when, events=frozenset({"ADDED"})))
    assert await rig.watch() == seen
    assert rig.proxy.injected.total() >= 1


async def test_a_swapped_last_event_arrives_after_all(rig: Rig) -> None:
    rig.proxy.arm(Rule(Swap(), only(3), events=frozenset({"ADDED"})))
    assert await rig.watch(2) == ("abc", False)


async def test_rules_for_events_leave_requests_alone_and_the_other_way_round(rig: Rig) -> None:
    rig.proxy.arm(Rule(Drop(), events=frozenset({"DELETED"})), Rule(Answer(500, "InternalError")))
    assert await rig.watch() == ("abc", False)
    assert await rig.post() == 500


async def test_watches_are_cut_and_named(rig: Rig) -> None:
    watching = asyncio.create_task(rig.watch(5))
    assert await until(lambda: bool(rig.proxy.watches), 5)
    assert rig.proxy.watches == {"pods"}
    assert rig.proxy.cut_watches() == 1
    assert (await watching)[1]


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("GET", "/version", Request("get", "")),
        ("GET", "/api/v1/pods", Request("list", "pods")),
        ("GET", f"{PODS}/x", Request("get", "pods", "team", "x")),
        ("POST", PODS, Request("create", "pods", "team")),
        ("GET", "/api/v1/namespaces/team", Request("get", "namespaces", "", "team")),
        (
            "PATCH",
            "/apis/paddock.dev/v1alpha1/namespaces/team/agentsessions/hello/status",
            Request("patch", "agentsessions/status", "team", "hello"),
        ),
        (
            "DELETE",
            "/apis/paddock.dev/v1alpha1/namespaces/team/sandboxes/s",
            Request("delete", "sandboxes", "team", "s"),
        ),
        ("PUT", "/apis/g/v1/things/x", Request("update", "things", "", "x")),
    ],
)
def test_requests_are_read(method: str, path: str, request_: Request) -> None:
    assert parse(method, path, {}) == request_


def test_a_watch_is_told_from_a_list() -> None:
    assert parse("GET", PODS, {"watch": "true"}) == Request("watch", "pods", "team")


def test_the_same_seed_throws_the_same_dice() -> None:
    def hits(seed: int) -> list[bool]:
        rule = Rule(Drop(), chance(0.5), events=frozenset({"ADDED"}))
        armed = Armed((rule,), random.Random(seed))
        return [armed.on_event(Request("watch", "pods"), "ADDED") is not None for _ in range(64)]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert 10 < sum(hits(1)) < 54
