"""Who may connect, how many at once, and how long without a token.

The port is in the pod's network, which user code shares where it has one, and a connection costs
memory before a token is asked for: up to 256 KiB of headers. So what comes from the pod itself,
port-forwards among it, has a budget of its own and cannot lock the others out.
"""

import asyncio
import socket
from typing import Any

from aiohttp import web

from paddock_runtime.server import logs
from paddock_runtime.server.metrics import Metrics

OWN, OTHERS = 64, 256
"""Connections at once, from the pod itself and from elsewhere. The memory of unfinished heads is
OWN x HEADERS x FIELD_BYTES = 16 MiB where user code sends them."""
HEADERS, FIELD_BYTES = 64, 4096
TOKEN_SECONDS = 10.0
"""After which a connection is closed on which no good token was shown. Probes are long gone, and
who reads /metrics connects again."""
ACCEPT_PAUSE = 0.1
"""Seconds, where the system refuses a descriptor."""


class Connections:
    """Accepts for `server`; `shown_token` lets a connection stay."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._without_token: dict[Any, asyncio.TimerHandle] = {}

    def shown_token(self, request: web.Request) -> None:
        timer = self._without_token.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()

    async def accept(self, server: web.Server, listening: socket.socket) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                connection, (host, _) = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            try:
                await self._take(server, connection, host)
            except OSError:  # it is gone already
                connection.close()
            except Exception as error:  # one connection's; accepting must never end
                logs.error("connections.failed", error=repr(error))
                connection.close()

    async def _take(self, server: web.Server, connection: socket.socket, host: str) -> None:
        loop = asyncio.get_running_loop()
        if _is_full(server, own=_is_own(host, connection.getsockname()[0])):
            self._metrics.connections_refused += 1
            connection.close()
            return
        _, protocol = await loop.connect_accepted_socket(server, connection)
        self._without_token[protocol] = loop.call_later(TOKEN_SECONDS, self._close, protocol)

    def _close(self, protocol: Any) -> None:
        del self._without_token[protocol]
        protocol.force_close()


def _is_own(peer: str, here: str) -> bool:
    return peer == here or peer.startswith("127.")


def _is_full(server: web.Server, own: bool) -> bool:
    open_now = server.connections
    if len(open_now) < min(OWN, OTHERS):
        return False
    alike = 0
    for handler in open_now:
        transport = handler.transport
        if transport is not None and (peer := transport.get_extra_info("peername")):
            here = transport.get_extra_info("sockname")
            alike += _is_own(peer[0], here[0]) == own  # one that was reset at once has no peer
    return alike >= (OWN if own else OTHERS)
