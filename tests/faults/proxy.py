"""An HTTP proxy between an operator and the API server that injects faults.

It listens on loopback without TLS and forwards with the caller's own credentials, so RBAC is
real. Every request is parsed, counted and shown to the rules; watches are relayed event by
event (watching.py).
"""

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web
from tests.faults.faults import Answer, Armed, Hangup, Kill, Late, Rule, Stale
from tests.faults.requests import Request, parse
from tests.faults.watching import Relay

Json = dict[str, Any]
_HOP = frozenset(
    {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "te"}
)


class Proxy:
    """One per harness; `arm` changes what goes wrong, the counters only ever grow."""

    def __init__(
        self,
        upstream: str,
        tls: ssl.SSLContext | None,
        kill: Callable[[], Awaitable[None]],
    ) -> None:
        self._upstream = upstream.rstrip("/")
        self._tls = tls
        self._kill = kill
        self._armed = Armed((), random.Random(0))
        self._snapshot: dict[str, Json] = {}
        self._lists: dict[str, str] = {}
        self._relays: set[Relay] = set()
        self.injected: Counter[str] = Counter()
        self.writes: Counter[tuple[str, str]] = Counter()
        """Answered by the API server with success, by verb and resource, Events and Leases too."""
        self.log: list[str] = []
        """Every mutating request and what became of it, the newest last."""

    async def start(self) -> str:
        """Listen; returns the URL."""
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def close(self) -> None:
        self.cut_watches()
        await self._runner.cleanup()
        await self._client.close()

    def arm(self, *rules: Rule, seed: int = 0) -> None:
        """These rules instead of those before; none: everything passes."""
        self._armed = Armed(rules, random.Random(seed))
        for relay in self._relays:
            relay.armed = self._armed

    def cut_watches(self) -> int:
        """End all watches that are open; returns how many there were."""
        for relay in list(self._relays):
            relay.cut()
        self.injected["watch cut"] += len(self._relays)
        return len(self._relays)

    @property
    def watches(self) -> frozenset[str]:
        """Resources that are watched now."""
        return frozenset(relay.watch.resource for relay in self._relays)

    def written(self) -> int:
        """Writes that sessions cost: Events and Leases apart."""
        return sum(
            count
            for (verb, resource), count in self.writes.items()
            if Request(verb, resource).counted
        )

    async def snapshot(self) -> None:
        """Remember what every list that was asked for so far says now, for `Stale`."""
        for path, credentials in list(self._lists.items()):
            async with self._client.get(
                self._upstream + path, headers={"Authorization": credentials}, ssl=self._ssl
            ) as response:
                self._snapshot[path] = await response.json()

    @property
    def _ssl(self) -> ssl.SSLContext | bool:
        return self._tls or True

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        request = parse(incoming.method, incoming.path, incoming.query)
        if request.verb == "list" and "continue" not in incoming.query:
            self._lists[incoming.path_qs] = incoming.headers.get("Authorization", "")
        rule = self._armed.on_request(request)
        if rule is not None and isinstance(rule.fault, Stale):
            if (old := self._old(request, incoming.path_qs)) is not None:
                self.injected[rule.name] += 1
                return old
            rule = None
        if rule is not None:
            self.injected[rule.name] += 1
        fault = rule.fault if rule else None
        match fault:
            case Answer():
                self._note(request, f"{fault.status} by the proxy")
                return _answer(fault)
            case Kill(done=False):
                self._note(request, "operator killed before it")
                await self._kill()
                return _hang_up(incoming)
            case Hangup(done=False):
                self._note(request, "hung up before it")
                return _hang_up(incoming)
            case Late():
                await asyncio.sleep(fault.seconds)
        if request.verb == "watch":
            return await self._watch(incoming, request)
        answer = await self._forward(incoming, request)
        if isinstance(fault, Kill):
            self._note(request, "operator killed after it")
            await self._kill()
            return _hang_up(incoming)
        if isinstance(fault, Hangup):
            self._note(request, "hung up after it")
            return _hang_up(incoming)
        return answer

    async def _forward(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        try:
            async with self._client.request(
                incoming.method,
                self._upstream + incoming.path_qs,
                headers=_end_to_end(incoming.headers),
                data=await incoming.read() or None,
                ssl=self._ssl,
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError):
            return _hang_up(incoming)
        if request.mutating:
            self._note(request, str(response.status))
            if response.status < 300:
                self.writes[request.verb, request.resource] += 1
        headers = _end_to_end(response.headers)
        if "Content-Encoding" in response.headers:
            headers["Content-Encoding"] = response.headers["Content-Encoding"]
        return web.Response(status=response.status, body=body, headers=headers)

    async def _watch(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        headers = _end_to_end(incoming.headers) | {"Accept-Encoding": "identity"}
        try:
            async with self._client.get(
                self._upstream + incoming.path_qs, headers=headers, ssl=self._ssl
            ) as response:
                answer = web.StreamResponse(
                    status=response.status, headers=_end_to_end(response.headers)
                )
                await answer.prepare(incoming)
                relay = Relay(request, self._armed, self.injected)
                self._relays.add(relay)
                try:
                    await relay.run(response.content, answer.write)
                finally:
                    self._relays.discard(relay)
        except (aiohttp.ClientError, OSError):
            return _hang_up(incoming)
        return _hang_up(incoming, answer)

    def _old(self, request: Request, path: str) -> web.Response | None:
        """A list or an object from the snapshot; None if the snapshot has nothing of the kind."""
        if path in self._snapshot:
            return web.json_response(self._snapshot[path])
        if request.verb != "get" or "/" in request.resource:
            return None
        kinds = [
            (known, content)
            for known, content in self._snapshot.items()
            if parse("GET", known.partition("?")[0], {}).resource == request.resource
        ]
        for _, content in kinds:
            for item in content.get("items") or ():
                metadata = item["metadata"]
                if (metadata.get("namespace", ""), metadata["name"]) == (
                    request.namespace,
                    request.name,
                ):
                    kind = str(content["kind"]).removesuffix("List")
                    return web.json_response(
                        {"apiVersion": content["apiVersion"], "kind": kind} | item
                    )
        return _answer(Answer(404, "NotFound", f"{request} is not there yet")) if kinds else None

    def _note(self, request: Request, became: str) -> None:
        if request.mutating:
            self.log.append(f"{request}: {became}")


def _end_to_end(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP}


def _answer(fault: Answer) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": fault.message,
        "reason": fault.reason,
        "code": fault.status,
        "details": fault.details,
    }
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.Response(
        status=fault.status,
        body=json.dumps(body).encode(),
        content_type="application/json",
        headers=headers,
    )


def _hang_up(incoming: web.Request, answer: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection under the caller; whatever is returned goes nowhere."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return answer or web.Response(status=500)
