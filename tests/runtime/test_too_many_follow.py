"""Who is one too many is refused before anything runs; who is too slow is not waited for."""

import asyncio
import contextlib
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from tests.runtime.pod import Pod

from paddock_api.executions import Execution, OutputEncoding
from paddock_runtime.server import execution_routes
from paddock_runtime.server.execution_routes import EVENT_STREAM, STREAMS, ExecutionRoutes, Options
from paddock_runtime.server.output import Kept
from paddock_runtime.server.records import End

ENDED = {"id": "x", "state": "Finished", "reason": "Exited", "acceptedAt": "2026-01-01T00:00:00Z"}


def test_what_was_answered_429_does_not_run(pod: Pod) -> None:
    followed = pod.submit(language="bash", code="sleep 60")["id"]
    headers = {"Accept": EVENT_STREAM}
    body = {"id": "one-more", "language": "bash", "code": "touch ran"}
    with contextlib.ExitStack() as streams:
        for _ in range(STREAMS):
            path = f"/v1/executions/{followed}/events"
            streams.enter_context(pod.stream("GET", path, headers=headers)).readline()
        status, problem = pod.call("POST", "/v1/executions", body, headers=headers)
        assert (status, problem["code"]) == (429, "TooManyStreams")
        assert pod.call("GET", "/v1/executions/one-more")[0] == 404
    pod.cancel(followed)
    assert pod.run(**body)["exitCode"] == 0, "its id is free"


async def test_who_takes_a_large_answer_too_slowly_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execution_routes, "LARGE_ANSWER_SECONDS", 0.2)
    executions = SimpleNamespace(collected=lambda entry: None)
    routes = ExecutionRoutes(cast(Any, SimpleNamespace(executions=executions)), cast(Any, None))
    shown = End(Execution.model_validate(ENDED), Kept(bytes(8 << 20), b"", 8 << 20))

    async def large(request: web.Request) -> web.StreamResponse:
        options = Options(0.0, None, OutputEncoding.UTF8)
        return await routes._large(request, cast(Any, None), shown, options, 200)

    app = web.Application()
    app.router.add_get("/", large)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    reader, writer = await asyncio.open_connection(*listening.getsockname(), limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(1)
    assert routes._large_answers == 0
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1 << 20):
            received += piece
    assert not received.endswith(b"0\r\n\r\n"), "nobody takes it for whole"
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await runner.cleanup()
    listening.close()
