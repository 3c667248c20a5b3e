"""/metrics, /livez and /readyz on one port."""

from collections.abc import Callable

from aiohttp import web

from paddock_operator.telemetry import metrics

Check = Callable[[], tuple[bool, str]]
"""Whether it is well, and a sentence that says in what state it is, or why it is not."""


class HealthServer:
    """Serves until closed. `alive` and `ready` may be replaced as the process goes on."""

    def __init__(self, alive: Check, ready: Check) -> None:
        self.alive = alive
        self.ready = ready
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> int:
        """Listen on all addresses; returns the port.

        Port 0 takes a free one on loopback: each address would get a port of its own.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, None if port else "127.0.0.1", port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=metrics.exposition(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self.alive())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self.ready())


def _answer(state: tuple[bool, str]) -> web.Response:
    well, text = state
    return web.Response(text=text, status=200 if well else 503)
