"""Connections without a token are few and short, whoever makes them."""

import asyncio
import contextlib
import http.client
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.runtime.pod import Pod

from paddock_runtime.server import connections
from paddock_runtime.server.metrics import Metrics

PODS_OWN, ELSEWHERE = "127.0.0.1", "127.0.0.2"


class Served:
    """The accepting part before a server of three paths."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.connections = connections.Connections(self.metrics)
        self.listening = socket.create_server((PODS_OWN, 0))
        self.address = self.listening.getsockname()
        self.clients: list[Client] = []

    async def begin(self) -> None:
        app = web.Application()
        app.router.add_get("/token", self._token)
        app.router.add_get("/", self._plain)
        self.runner = web.AppRunner(app, handler_cancellation=True)
        await self.runner.setup()
        assert self.runner.server is not None
        serve = self.connections.accept(self.runner.server, self.listening)
        self.task = asyncio.create_task(serve)

    async def end(self) -> None:
        self.task.cancel()
        for client in self.clients:
            client.writer.close()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()
        self.listening.close()
        await self.runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        self.connections.shown_token(request)
        return web.Response(text="known")

    async def _plain(self, request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def connect(self, source: str = PODS_OWN) -> "Client":
        reader, writer = await asyncio.open_connection(*self.address, local_addr=(source, 0))
        self.clients.append(Client(reader, writer))
        return self.clients[-1]


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def get(self, path: str) -> bool:
        """Whether it was answered."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            head = await self.reader.read(4096)
            return head.startswith(b"HTTP/1.1 200 ")
        return False

    async def is_closed(self, seconds: float = 5) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(connections, "OWN", 3)
    monkeypatch.setattr(connections, "OTHERS", 5)
    monkeypatch.setattr(connections, "_is_own", lambda peer, here: peer == PODS_OWN)
    made = Served()
    await made.begin()
    yield made
    await made.end()


@pytest.mark.parametrize(
    ("source", "other", "room"), [(PODS_OWN, ELSEWHERE, 3), (ELSEWHERE, PODS_OWN, 5)]
)
async def test_who_takes_all_connections_takes_them_from_nobody_else(
    served: Served, source: str, other: str, room: int
) -> None:
    held = [await served.connect(source) for _ in range(room)]
    assert all([await client.get("/") for client in held])
    for _ in range(3):
        assert await (await served.connect(source)).is_closed()
    assert served.metrics.connections_refused == 3
    assert await (await served.connect(other)).get("/")
    held[0].writer.close()
    await asyncio.sleep(0.05)
    assert await (await served.connect(source)).get("/"), "when one has gone"


async def test_who_resets_before_he_is_looked_at_harms_nobody(served: Served) -> None:
    """Such a connection has no peer any more, when the next one is compared with it."""
    held = [await served.connect() for _ in range(2)]
    for _ in range(30):
        for _ in range(4):
            with socket.socket() as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                rude.connect(served.address)
        await asyncio.sleep(0.002)
    held[0].writer.close()
    await asyncio.sleep(0.05)
    assert not served.task.done()
    assert await (await served.connect()).get("/")


@pytest.mark.parametrize("said", ["", "GET / HT", "GET / HTTP/1.1\r\nX: y\r\n"])
async def test_who_shows_no_token_is_sent_away(
    served: Served, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(connections, "TOKEN_SECONDS", 0.3)
    known, unknown, silent = [await served.connect() for _ in range(3)]
    silent.writer.write(said.encode())
    assert await known.get("/token")
    assert await unknown.get("/")
    assert await silent.is_closed()
    assert await unknown.is_closed()
    assert await known.get("/"), "for as long as it likes"
    assert served.connections._without_token == {}


async def test_a_client_that_goes_is_forgotten(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TOKEN_SECONDS", 0.2)
    for _ in range(20):
        client = await served.connect()
        assert await client.get("/")
        client.writer.close()
        await client.writer.wait_closed()
        await asyncio.sleep(0)
    await asyncio.sleep(0.4)
    assert served.connections._without_token == {}
    assert served.runner.server is not None
    assert served.runner.server.connections == []


async def test_no_descriptor_is_no_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept = loop.sock_accept
    refusals = iter([OSError(24, "Too many open files")])

    async def refusing(listening: socket.socket) -> Any:
        for error in refusals:
            raise error
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", refusing)
    first, second = await served.connect(), await served.connect()
    assert await first.get("/")
    assert await second.get("/")


def test_the_pod_s_own_addresses() -> None:
    assert connections._is_own("10.1.2.3", "10.1.2.3")
    assert connections._is_own("127.0.0.1", "127.0.0.1")
    assert not connections._is_own("10.1.2.4", "10.1.2.3")


def test_many_connections_of_the_pod_are_refused_and_told(pod: Pod) -> None:
    held = [socket.create_connection((pod.host, pod.port)) for _ in range(100)]
    try:
        time.sleep(0.5)
        closed = sum(_is_closed(connection) for connection in held)
        assert 100 - connections.OWN <= closed < 100 - connections.OWN + 8  # the pod's own are few
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.1)
    status, text = pod.call("GET", "/metrics")
    assert status == 200
    assert f"paddock_runtime_connections_refused_total {closed}" in str(text)


@pytest.mark.parametrize(
    "headers",
    [{"X-Long": "x" * (connections.FIELD_BYTES + 1)}, {f"X-{n}": "y" for n in range(100)}],
    ids=["long", "many"],
)
def test_heads_are_bounded(pod: Pod, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection(pod.host, pod.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/livez", headers=headers)
        assert connection.getresponse().status == 400
    assert pod.call("GET", "/livez")[0] == 200


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
