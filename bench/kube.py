"""The little of Kubernetes that measuring needs: create, delete, and a watch with timestamps."""

import asyncio
import base64
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Json = Mapping[str, Any]
TIMEOUT_S = 120.0


class Kube:
    """One kubeconfig's cluster; requests and watches use connections of their own."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: str) -> AsyncIterator["Kube"]:
        """By the client certificate that the local cluster's kubeconfig holds."""
        config = yaml.safe_load(Path(kubeconfig).read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=ca)
        with tempfile.NamedTemporaryFile() as both:
            both.write(base64.b64decode(user["client-certificate-data"]))
            both.write(base64.b64decode(user["client-key-data"]))
            both.flush()
            context.load_cert_chain(both.name)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 21) as session:
            yield cls(cluster["server"], session)

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """One request; raises RuntimeError with the server's sentence."""
        async with self._session.request(method, self._server + path, json=body) as response:
            answer = await response.json()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.get('message')}")
            return answer  # type: ignore[no-any-return]

    async def time_until(
        self, collection: str, body: Json, reached: Callable[[Json], bool]
    ) -> tuple[float, Json]:
        """Create an object and return the seconds until a watch shows it as `reached`."""
        name = body["metadata"]["name"]
        url = f"{self._server}{collection}?watch=1&fieldSelector=metadata.name={name}"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with self._session.get(url, timeout=timeout) as watch:
            begun = time.perf_counter()
            await self.call("POST", collection, body)
            async for line in watch.content:
                event = json.loads(line)
                if reached(event["object"]):
                    return time.perf_counter() - begun, event["object"]
        raise RuntimeError(f"{name} was not reached in {TIMEOUT_S:.0f} s")

    async def gone(self, path: str) -> None:
        """Delete an object and wait until it is no more."""
        try:
            await self.call("DELETE", path)
            for _ in range(600):
                await self.call("GET", path)
                await asyncio.sleep(0.05)
        except RuntimeError:
            return


def condition(obj: Json, kind: str) -> bool:
    """Whether a condition is True."""
    return any(
        entry["type"] == kind and entry["status"] == "True"
        for entry in obj.get("status", {}).get("conditions", ())
    )
