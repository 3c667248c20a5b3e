"""A node for an API server without one: a kubelet that says Running, and a runtime per pod.

Every pod of our sandboxes gets an address of its own in 127.77.0.0/16 with an HTTP server on the
runtime's port (`fake_runtime.py`). Pods are never deleted here.
"""

import asyncio
import contextlib
import errno
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web
from tests.integration.fake_runtime import FakeRuntimes

from paddock_api.messages import RUNTIME_PORT
from paddock_operator.cluster.client import MERGE_PATCH, KubeApi, path_of
from paddock_operator.plan.views import SANDBOX_LABEL, PodView

LARGEST_EVENT = 1 << 21
GOODBYE_S = 0.1


class FakeNode:
    """The kubelet, at work while `run` is."""

    def __init__(self, api: KubeApi, runtimes: FakeRuntimes) -> None:
        self._api = api
        self.runtimes = runtimes
        self._addresses = _addresses()
        self._sites: dict[str, tuple[str, web.TCPSite]] = {}
        self._runner = web.AppRunner(runtimes.app, access_log=None, shutdown_timeout=GOODBYE_S)

    async def run(self) -> None:
        """The kubelet, until cancelled. Raises when the API server refuses or ends the watch."""
        await self._runner.setup()
        try:
            async for event in self._pods():
                pod = PodView(event["object"])
                if event["type"] == "DELETED":
                    await self._stop(pod)
                elif pod.uid not in self._sites and pod.owner is not None and pod.owner.ours:
                    await self._start(pod)
        finally:
            self.runtimes.end_all()  # nobody waits any more
            await self._runner.cleanup()

    async def _pods(self) -> AsyncIterator[dict[str, Any]]:
        """Without a version the watch begins with everything that is there."""
        found = await self._api.credentials()
        tls = ssl.create_default_context(cafile=found.ca_path)
        assert found.certificate_path is not None
        tls.load_cert_chain(found.certificate_path, found.private_key_path)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls),
                timeout=aiohttp.ClientTimeout(),
                read_bufsize=LARGEST_EVENT,
            ) as session,
            session.get(
                found.server + path_of("Pod"),
                params={"watch": "1", "labelSelector": SANDBOX_LABEL},
                raise_for_status=True,
            ) as watch,
        ):
            async for line in watch.content:
                yield json.loads(line)
        raise RuntimeError("the watch of pods has ended")

    async def _start(self, pod: PodView) -> None:
        ip, site = await self._listen()
        self._sites[pod.uid] = ip, site
        self.runtimes.add(ip, pod)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        statuses = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for container in pod.spec["containers"]
        ]
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": now,
            "containerStatuses": statuses,
        }
        await self._api.request(
            "PATCH",
            path_of("Pod", pod.namespace, pod.name, "status"),
            body={"metadata": {"uid": pod.uid}, "status": status},
            content_type=MERGE_PATCH,
        )

    async def _listen(self) -> tuple[str, web.TCPSite]:
        """On the next address that no other test run has."""
        for ip in self._addresses:
            site = web.TCPSite(self._runner, ip, RUNTIME_PORT)
            try:
                await site.start()
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return ip, site
        raise RuntimeError("127.77.0.0/16 has no free address")

    async def _stop(self, pod: PodView) -> None:
        if pod.uid in self._sites:
            ip, site = self._sites.pop(pod.uid)
            await site.stop()
            self.runtimes.remove(ip)


@asynccontextmanager
async def fake_node(api: KubeApi, *, endless: bool = False) -> AsyncIterator[FakeRuntimes]:
    """A node at work. `endless`: programs run until `end_all`. Raises what stopped it early."""
    node = FakeNode(api, FakeRuntimes(endless=endless))
    work = asyncio.create_task(node.run())
    try:
        yield node.runtimes
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


def _addresses() -> Iterator[str]:
    return (f"127.77.{high}.{low}" for high, low in itertools.product(range(256), range(1, 255)))
