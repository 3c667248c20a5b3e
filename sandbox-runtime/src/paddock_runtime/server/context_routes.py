"""Contexts over HTTP."""

import signal

from aiohttp import web

from paddock_api.contexts import ContextList, ContextRequest
from paddock_runtime.server.http import Bodies, answer
from paddock_runtime.server.problems import ProblemError, refuse_nul
from paddock_runtime.server.sandbox import Sandbox


class ContextRoutes:
    def __init__(self, sandbox: Sandbox, bodies: Bodies) -> None:
        self._sandbox = sandbox
        self._contexts = sandbox.contexts
        self._bodies = bodies

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/contexts", self.create)
        router.add_get("/v1/contexts", self.list, allow_head=False)
        router.add_get("/v1/contexts/{id}", self.get, allow_head=False)
        router.add_delete("/v1/contexts/{id}", self.delete)
        router.add_post("/v1/contexts/{id}/interrupt", self.interrupt)
        router.add_post("/v1/contexts/{id}/restart", self.restart)

    async def create(self, request: web.Request) -> web.Response:
        wanted = await self._bodies.message(request, ContextRequest)
        self._sandbox.refuse_if_ending()
        if wanted.language not in self._sandbox.settings.languages:
            raise ProblemError(
                422,
                "LanguageNotOffered",
                f"language: {wanted.language!r} is not offered by the template, which has "
                f"{', '.join(self._sandbox.settings.languages)}",
            )
        refuse_nul({"env": [pair.value for pair in wanted.env], "cwd": [wanted.cwd or ""]})
        entry, new = await self._contexts.create(wanted)
        self._sandbox.used()
        return answer(entry.view(), 201 if new else 200)

    async def list(self, request: web.Request) -> web.Response:
        return answer(ContextList(contexts=self._contexts.all()))

    async def get(self, request: web.Request) -> web.Response:
        return answer(self._contexts.get(request.match_info["id"]).view())

    async def interrupt(self, request: web.Request) -> web.Response:
        """KeyboardInterrupt in what runs, which may catch it. Nothing where nothing runs."""
        entry = self._contexts.get(request.match_info["id"])
        running = self._sandbox.executions.dispatcher.running_in(entry.id)
        if running is not None:
            self._sandbox.executions.dispatcher.signal(running, signal.SIGINT)
        return answer(entry.view())

    async def restart(self, request: web.Request) -> web.Response:
        self._sandbox.refuse_if_ending()
        entry = await self._contexts.restart(request.match_info["id"])
        self._sandbox.used()
        return answer(entry.view())

    async def delete(self, request: web.Request) -> web.Response:
        await self._contexts.delete(request.match_info["id"])
        self._sandbox.used()
        return web.Response(status=204)
