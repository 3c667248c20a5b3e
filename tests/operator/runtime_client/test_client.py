"""The operator trusts nothing that a pod answers, and knows when asking again can help."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paddock_api.base import format_time
from paddock_api.executions import ExecutionRequest
from paddock_operator.runtime_client import client as client_module
from paddock_operator.runtime_client.client import (
    RuntimeClient,
    RuntimeRefusal,
    RuntimeUnavailable,
)
from paddock_operator.runtime_client.tokens import TokenIssuer

REQUEST = ExecutionRequest(id="a.b", language="python", code="1")
FINISHED = {
    "id": "a.b",
    "state": "Finished",
    "reason": "Exited",
    "exitCode": 0,
    "acceptedAt": "2026-08-01T09:30:00Z",
}
Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[None]]
KEY = Ed25519PrivateKey.generate()


@pytest.fixture
async def runtime(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Serves one handler for every path, where the client looks for a runtime."""
    runners: list[web.AppRunner] = []

    async def serve(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        monkeypatch.setattr(client_module, "RUNTIME_PORT", runner.addresses[0][1])

    yield serve
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[RuntimeClient]:
    made = RuntimeClient(TokenIssuer(KEY))
    yield made
    await made.close()


async def execute(client: RuntimeClient) -> Any:
    return await client.execute("127.0.0.1", "sandbox-uid", REQUEST, "00-aa-bb-01")


async def test_an_execution_is_asked_for_with_a_token_for_exactly_this_sandbox(
    runtime: Serve, client: RuntimeClient
) -> None:
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response(FINISHED)

    await runtime(handler)
    answer = await execute(client)
    assert answer.exit_code == 0
    token = seen[0].headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, KEY.public_key(), ["EdDSA"], audience="sandbox-uid")
    assert claims["exp"] - claims["iat"] <= 60
    assert seen[0].headers["traceparent"] == "00-aa-bb-01"
    assert seen[0].query["wait"] == "20s"


async def test_a_refusal_carries_the_runtimes_code_and_sentence(
    runtime: Serve, client: RuntimeClient
) -> None:
    problem = {
        "title": "t",
        "status": 422,
        "detail": "timeoutMs is 1",
        "code": "TimeoutAboveCeiling",
    }

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(problem, status=422)

    await runtime(handler)
    with pytest.raises(RuntimeRefusal, match="TimeoutAboveCeiling: timeoutMs is 1"):
        await execute(client)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"not json"),
        (200, b'{"id": "a.b"}'),
        (200, b"[" * 100_000),
        (200, b" " * (2 << 20)),
        (422, b"<html>"),
        (401, b"{}"),
        (500, b""),
        (503, b"{}"),
    ],
    ids=["nonsense", "incomplete", "deep", "huge", "no problem", "401", "500", "503"],
)
async def test_whatever_else_is_answered_is_no_answer(
    status: int, body: bytes, runtime: Serve, client: RuntimeClient
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    await runtime(handler)
    with pytest.raises(RuntimeUnavailable):
        await execute(client)


CALLS: dict[str, Callable[[RuntimeClient], Awaitable[Any]]] = {
    "execute": execute,
    "wait": lambda client: client.wait("127.0.0.1", "sandbox-uid", "a.b"),
    "cancel": lambda client: client.cancel("127.0.0.1", "sandbox-uid", "a.b"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(
    "change",
    [
        {"id": "a.c"},
        {"id": ""},
        {"id": "x" * 200_000},
        {"acceptedAt": "2026-08-01T09:30:00"},
        {"acceptedAt": "0001-01-01T00:00:00+14:00"},
        {"startedAt": "9999-12-31T23:59:59-12:00"},
        {"finishedAt": "1969-12-31T23:59:59Z"},
        {"finishedAt": 1e300},
        {"finishedAt": -1e12},
    ],
    ids=str,
)
async def test_an_answer_for_another_execution_or_another_age_is_none(
    runtime: Serve,
    client: RuntimeClient,
    call: Callable[[RuntimeClient], Awaitable[Any]],
    change: dict[str, Any],
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({**FINISHED, **change})

    await runtime(handler)
    with pytest.raises(RuntimeUnavailable) as caught:
        await call(client)
    assert len(str(caught.value)) < 300


async def test_every_time_that_is_taken_can_be_written(
    runtime: Serve, client: RuntimeClient
) -> None:
    times = ("1970-01-01T00:00:00Z", "2261-12-31T23:59:59.999999+00:00")

    async def handler(_: web.Request) -> web.Response:
        return web.json_response({**FINISHED, "acceptedAt": times[0], "finishedAt": times[1]})

    await runtime(handler)
    answer = await execute(client)
    assert format_time(answer.accepted_at) == "1970-01-01T00:00:00.000Z"
    assert format_time(answer.finished_at) == "2261-12-31T23:59:59.999Z"


async def test_a_cancel_asks_for_the_end_and_waits_for_it(
    runtime: Serve, client: RuntimeClient
) -> None:
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({**FINISHED, "reason": "Cancelled"})

    await runtime(handler)
    answer = await client.cancel("127.0.0.1", "sandbox-uid", "a.b")
    assert answer.reason == "Cancelled"
    assert (seen[0].method, seen[0].path) == ("DELETE", "/v1/executions/a.b")
    assert dict(seen[0].query) == {"wait": "20s", "maxOutput": "2048"}
    token = seen[0].headers["Authorization"].removeprefix("Bearer ")
    jwt.decode(token, KEY.public_key(), ["EdDSA"], audience="sandbox-uid")


async def test_a_cancel_of_what_was_never_accepted_is_refused(
    runtime: Serve, client: RuntimeClient
) -> None:
    problem = {"title": "t", "status": 404, "detail": "no execution", "code": "NotFound"}

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(problem, status=404)

    await runtime(handler)
    with pytest.raises(RuntimeRefusal) as caught:
        await client.cancel("127.0.0.1", "sandbox-uid", "a.b")
    assert (caught.value.status, caught.value.code) == (404, "NotFound")


async def test_a_redirect_is_not_followed(runtime: Serve, client: RuntimeClient) -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    await runtime(handler)
    with pytest.raises(RuntimeUnavailable):
        await execute(client)
    assert paths == ["/v1/executions"]
    assert not await client.ready("127.0.0.1")


async def test_nobody_there_is_unavailable_and_not_ready(client: RuntimeClient) -> None:
    with pytest.raises(RuntimeUnavailable):
        await execute(client)
    assert not await client.ready("127.0.0.1")


def test_a_token_is_used_again_for_half_its_life() -> None:
    moments = [datetime(2026, 8, 4, 9, 30, tzinfo=UTC)]
    issuer = TokenIssuer(KEY, lambda: moments[-1])
    first = issuer.token("a")
    assert issuer.token("a") == first
    assert issuer.token("b") != first
    moments.append(moments[0] + timedelta(seconds=31))
    assert issuer.token("a") != first
