"""What counts as a sign of life of a watch: its end as the server was asked for, nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from paddock_operator.kopf_bridge import PLURALS, SILENT_S, Watches

PODS = "/api/v1/pods"
SESSIONS = "/apis/paddock.dev/v1alpha1/agentsessions"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("kind", PLURALS)
def test_every_kind_is_named_when_it_alone_is_silent(clock: Clock, kind: str) -> None:
    watches = Watches(clock)
    assert watches.silent() == ""
    clock.now += SILENT_S
    for other in PLURALS:
        if other != kind:
            watches.heard(other)
    assert watches.silent() == ""
    clock.now += 1
    assert watches.silent() == f"the watch of {kind} gave no sign of life for 101 s"
    for other in PLURALS:
        watches.heard(other)
    assert watches.silent() == ""


@asynccontextmanager
async def watched(clock: Clock, how: str) -> AsyncIterator[tuple[Watches, aiohttp.ClientSession]]:
    """A session as kopf has it, and a server whose watches end in a certain way."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if how == "refused":
            return web.json_response({}, status=403)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b'{"type":"BOOKMARK"}\n')
        if how == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif how == "silent":
            await asyncio.sleep(60)
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    watches = Watches(clock)
    async with (
        TestServer(app, shutdown_timeout=0.1) as server,
        aiohttp.ClientSession(server.make_url("/"), trace_configs=[watches.tracing()]) as session,
    ):
        yield watches, session


@pytest.mark.parametrize(
    ("how", "path", "alive"),
    [
        ("ends", f"{PODS}?watch=true&timeoutSeconds=30", True),
        ("ends", f"{PODS}?limit=500", False),
        ("ends", "/api/v1/namespaces?watch=true", False),
        ("cut", f"{PODS}?watch=true", False),
        ("silent", f"{PODS}?watch=true", False),
        ("refused", f"{PODS}?watch=true", False),
    ],
)
async def test_only_the_clean_end_of_a_watch_is_a_sign_of_life(
    clock: Clock, how: str, path: str, alive: bool
) -> None:
    async with watched(clock, how) as (watches, session):
        clock.now += SILENT_S + 1
        try:
            async with asyncio.timeout(0.3), session.get(path) as response:
                async for _ in response.content:
                    pass
        except (TimeoutError, aiohttp.ClientError):
            assert how in ("cut", "silent")
        assert ("of Pod" not in watches.silent()) is alive
        assert "of AgentSession" in watches.silent()


async def test_kinds_are_told_apart_by_their_path(clock: Clock) -> None:
    async with watched(clock, "ends") as (watches, session):
        clock.now += SILENT_S + 1
        async with session.get(f"{SESSIONS}?watch=true") as response:
            await response.read()
        assert "of AgentSession" not in watches.silent()
        assert "of Pod" in watches.silent()
