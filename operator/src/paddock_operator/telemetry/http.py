"""/metrics, /livez and /readyz on one port."""

from collections.abc import Callable

from aiohttp import web

from paddock_operator.telemetry import metrics


class HealthServer:
    """Serves until closed. `alive` and `ready` answer '' or the sentence that says why not."""

    def __init__(self, alive: Callable[[], str], ready: Callable[[], str]) -> None:
        self._checks = {"/livez": alive, "/readyz": ready}
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> int:
        """Listen on all addresses; returns the port.

        Port 0 takes a free one on loopback: each address would get a port of its own.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        for path in self._checks:
            app.router.add_get(path, self._check)
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

    async def _check(self, request: web.Request) -> web.Response:
        why_not = self._checks[request.path]()
        return web.Response(text=why_not or "ok", status=503 if why_not else 200)
