"""A pod that is slow, or that answers more than it should, costs neither time nor memory."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paddock_api.messages import Configure
from paddock_operator.runtime_client import client as client_module
from paddock_operator.runtime_client.client import RuntimeClient, RuntimeUnavailable, pause
from paddock_operator.runtime_client.tokens import TokenIssuer

KEY = Ed25519PrivateKey.generate()
Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[None]]


@pytest.fixture
async def runtime(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Serves one handler for every path, where the client looks for a runtime."""
    runners: list[web.AppRunner] = []

    async def serve(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        monkeypatch.setattr(client_module, "RUNTIME_PORT", runner.addresses[0][1])

    yield serve
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RuntimeClient]:
    monkeypatch.setattr(client_module, "WAIT_S", 0.1)
    monkeypatch.setattr(client_module, "ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(client_module, "CONNECT_TIMEOUT_S", 0.1)
    made = RuntimeClient(TokenIssuer(KEY))
    yield made
    await made.close()


async def configure(client: RuntimeClient) -> Any:
    body = Configure(session_uid="u", expires_in_ms=1)
    return await client.configure("127.0.0.1", "sandbox", body)


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(300):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"files": 1')
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize("handler", [hang, drip, cut_off])
async def test_a_runtime_that_does_not_come_to_an_end_is_unavailable(
    runtime: Serve, client: RuntimeClient, handler: Any
) -> None:
    await runtime(handler)
    async with asyncio.timeout(3):
        with pytest.raises(RuntimeUnavailable):
            await configure(client)
        if handler is hang:
            assert not await client.ready("127.0.0.1")


async def test_a_compressed_flood_is_cut_before_it_fills_the_memory(
    runtime: Serve, client: RuntimeClient
) -> None:
    flood = gzip.compress(bytes(300 << 20), compresslevel=1)

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=flood, headers={"Content-Encoding": "gzip"})

    await runtime(handler)
    tracemalloc.start()
    try:
        with pytest.raises(RuntimeUnavailable):
            await configure(client)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


async def test_no_cookie_of_a_pod_is_kept_or_sent(runtime: Serve, client: RuntimeClient) -> None:
    cookies: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.json_response({"files": 0}, headers={"Set-Cookie": "a=b; Path=/"})

    await runtime(handler)
    for _ in range(2):
        await configure(client)
    assert cookies == [None, None]


async def test_a_proxy_of_the_environment_is_not_used(
    runtime: Serve, client: RuntimeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"files": 0})

    await runtime(handler)
    assert (await configure(client)).files == 0


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert client_module._base("fd00::7").startswith("http://[fd00::7]:")
    assert client_module._base("10.0.0.7").startswith("http://10.0.0.7:")


async def test_the_pause_grows_to_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for attempt in range(1, 60):
        await pause(attempt)
    assert slept[0] <= 0.1
    assert slept == sorted(slept)
    assert slept[-1] == 2.0


def test_a_token_says_who_signs_for_whom_until_when_and_once() -> None:
    issuer = TokenIssuer(KEY)
    token = issuer.token("sandbox-a")
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "EdDSA"
    claims = jwt.decode(token, KEY.public_key(), ["EdDSA"], audience="sandbox-a")
    assert set(claims) == {"iss", "aud", "iat", "exp", "jti"}
    assert claims["iss"] == "paddock-operator"
    assert 0 < claims["exp"] - claims["iat"] <= 60
    other = jwt.decode(issuer.token("sandbox-b"), KEY.public_key(), ["EdDSA"], audience="sandbox-b")
    assert other["jti"] != claims["jti"]


@pytest.mark.parametrize(
    ("audience", "key"), [("sandbox-b", KEY), ("sandbox-a", Ed25519PrivateKey.generate())]
)
def test_a_token_is_worth_nothing_elsewhere(audience: str, key: Ed25519PrivateKey) -> None:
    token = TokenIssuer(KEY).token("sandbox-a")
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(token, key.public_key(), ["EdDSA"], audience=audience)


def test_tokens_are_kept_for_a_bounded_number_of_sandboxes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from paddock_operator.runtime_client import tokens

    monkeypatch.setattr(tokens, "_CACHE_BOUND", 3)
    issuer = TokenIssuer(KEY)
    for number in range(10):
        issuer.token(f"sandbox-{number}")
        assert len(issuer._cache) <= 3
