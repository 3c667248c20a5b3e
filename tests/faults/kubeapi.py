"""The administrator's direct way to the API server: what the harness and the observer use.

It goes past the proxy, and shares no code with the operator.
"""

import asyncio
import base64
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Json = dict[str, Any]

_GROUPS = {
    "deployments": "/apis/apps/v1",
    "agentsessions": "/apis/paddock.dev/v1alpha1",
    "sandboxes": "/apis/paddock.dev/v1alpha1",
    "sandboxtemplates": "/apis/paddock.dev/v1alpha1",
    "leases": "/apis/coordination.k8s.io/v1",
    "validatingwebhookconfigurations": "/apis/admissionregistration.k8s.io/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
}


class Refused(Exception):
    """An answer that is not success; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Admin:
    """Requests as JSON. `async with Admin(kubeconfig)`."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        named = {entry["name"]: entry["context"] for entry in config["contexts"]}
        context = named[config["current-context"]]
        (cluster,) = [c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"]]
        (user,) = [u["user"] for u in config["users"] if u["name"] == context["user"]]
        self.server = str(cluster["server"]).rstrip("/")
        self._authority = _pem(cluster, "certificate-authority")
        self.tls = ssl.create_default_context(cadata=self._authority)
        if _pem(user, "client-certificate"):
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(f"{_pem(user, 'client-certificate')}\n{_pem(user, 'client-key')}")
                file.flush()
                self.tls.load_cert_chain(file.name)
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}

    def tls_without_identity(self) -> ssl.SSLContext:
        """Trusts the same authority and presents no certificate: for somebody else's requests."""
        return ssl.create_default_context(cadata=self._authority)

    async def __aenter__(self) -> "Admin":
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=20),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(
        self, method: str, path: str, body: Json | None = None, content_type: str | None = None
    ) -> Json:
        """One request; raises Refused."""
        headers = {"Content-Type": content_type or "application/json"}
        async with self._session.request(
            method,
            self.server + path,
            data=json.dumps(body) if body is not None else None,
            headers=headers,
        ) as response:
            text = await response.text()
            if response.status >= 300:
                raise Refused(response.status, text)  # a kind that is not served: no JSON
            answer: Json = json.loads(text or "{}")
            return answer

    async def create(self, resource: str, namespace: str, manifest: Json) -> Json:
        return await self.request("POST", path_of(resource, namespace), manifest)

    async def get(self, resource: str, namespace: str, name: str) -> Json | None:
        try:
            return await self.request("GET", path_of(resource, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def list(self, resource: str, namespace: str = "") -> Json:
        return await self.request("GET", path_of(resource, namespace))

    async def patch(self, resource: str, namespace: str, name: str, patch: Json) -> Json:
        path = path_of(resource, namespace, name)
        return await self.request("PATCH", path, patch, "application/merge-patch+json")

    async def delete(
        self, resource: str, namespace: str, name: str, options: Json | None = None
    ) -> None:
        """Gone already is success."""
        try:
            await self.request("DELETE", path_of(resource, namespace, name), options)
        except Refused as refused:
            if refused.status != 404:
                raise

    async def watch(self, resource: str, version: str) -> AsyncIterator[Json]:
        """Events after a version until the connection ends; raises Refused, as for 410."""
        query = f"?watch=true&resourceVersion={version}&allowWatchBookmarks=true"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self._session.get(
            self.server + path_of(resource) + query, timeout=timeout
        ) as response:
            if response.status >= 300:
                raise Refused(response.status, f"watch of {resource}")
            rest = b""
            async for chunk in response.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    event: Json = json.loads(line)
                    if event["type"] == "ERROR":
                        raise Refused(int(event["object"]["code"]), event["object"]["message"])
                    yield event

    async def ready(self, ip: str, port: int) -> bool:
        """Whether the runtime at this address says that it is ready."""
        try:
            async with self._session.get(
                f"http://{ip}:{port}/readyz", timeout=aiohttp.ClientTimeout(total=2)
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def until_service_account(self, namespace: str) -> None:
        """Pods can be created in a namespace as soon as it has its default account."""

        async def there() -> bool:
            return await self.get("serviceaccounts", namespace, "default") is not None

        assert await until(there, 30), f"namespace {namespace} has no default ServiceAccount"


async def until(
    look: Callable[[], Awaitable[bool] | bool], timeout: float, every: float = 0.05
) -> bool:
    """Poll; False if it did not come about."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        seen = look()
        if seen if isinstance(seen, bool) else await seen:
            return True
        await asyncio.sleep(every)
    return False


def path_of(resource: str, namespace: str = "", name: str = "") -> str:
    """URL path of a collection or an object; subresources as `pods/NAME/eviction` in `name`."""
    base = _GROUPS.get(resource, "/api/v1")
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{base}{middle}/{resource}" + (f"/{name}" if name else "")


def _pem(entry: Json, name: str) -> str:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return Path(entry[name]).read_text() if name in entry else ""
