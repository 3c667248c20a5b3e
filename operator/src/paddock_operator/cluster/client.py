"""The narrow waist to the Kubernetes API: JSON in, JSON out, typed errors.

One adapter on `kubernetes.aio` for transport, TLS and credentials. Bodies stay dictionaries:
decoding into the generated models costs five times the request (docs/performance.md).
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from paddock_operator.cluster.clock import ServerClock
from paddock_operator.cluster.errors import (
    ClusterError,
    NotFound,
    Overloaded,
    Unreachable,
    from_response,
)
from paddock_operator.plan.actions import Key

Json = dict[str, Any]

REQUEST_TIMEOUT_S = 15.0
LIST_CHUNK = 50
"""Objects per page: a session may hold 192 KiB of inputs, and 500 of these took 335 MiB to read."""
CONNECTIONS = 64
"""HTTP/1.1 requests in flight at once; the API server's default seats are 600."""

MERGE_PATCH = "application/merge-patch+json"

_PATHS = {
    "AgentSession": ("/apis/paddock.dev/v1alpha1", "agentsessions", True),
    "Sandbox": ("/apis/paddock.dev/v1alpha1", "sandboxes", True),
    "SandboxTemplate": ("/apis/paddock.dev/v1alpha1", "sandboxtemplates", True),
    "ClusterSandboxTemplate": ("/apis/paddock.dev/v1alpha1", "clustersandboxtemplates", False),
    "Pod": ("/api/v1", "pods", True),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims", True),
    "Event": ("/api/v1", "events", True),
    "Secret": ("/api/v1", "secrets", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
}


def path_of(kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The URL path of a collection or an object."""
    base, plural, namespaced = _PATHS[kind]
    middle = f"/namespaces/{quote(namespace)}" if namespaced and namespace else ""
    end = f"/{quote(name)}" if name else ""
    return f"{base}{middle}/{plural}{end}" + (f"/{subresource}" if subresource else "")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How another client connects to the same API server as the same identity."""

    server: str
    ca_path: str | None
    token: str | None
    certificate_path: str | None
    private_key_path: str | None


class Api(Protocol):
    """What the rest of the operator needs of a cluster; tests put faults in between."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """One request. Raises a ClusterError for everything but success."""
        ...


async def get(api: Api, key: Key) -> Json:
    """Read one object; NotFound if it is not there."""
    return await api.request("GET", path_of(key.kind, key.namespace, key.name))


async def is_there(api: Api, key: Key, uid: str) -> bool:
    """Whether the object of this name is the one with this uid."""
    try:
        obj = await get(api, key)
    except NotFound:
        return False
    return bool((obj.get("metadata") or {}).get("uid") == uid)


async def pages(api: Api, kind: str, *, labels: str = "") -> AsyncIterator[tuple[list[Json], str]]:
    """Every object of a kind in all namespaces, a page at a time, each with the resourceVersion
    of the snapshot. apiVersion and kind, which list items lack, are filled in."""
    query = {"limit": str(LIST_CHUNK)}
    if labels:
        query["labelSelector"] = labels
    while True:
        page = await api.request("GET", path_of(kind), query=query)
        metadata = page.get("metadata") or {}
        items = [
            item | {"apiVersion": page.get("apiVersion"), "kind": kind}
            for item in page.get("items") or ()
        ]
        yield items, str(metadata.get("resourceVersion") or "")
        if not metadata.get("continue"):
            return
        query = query | {"continue": str(metadata["continue"])}


class KubeApi:
    """The real API server."""

    def __init__(self, configuration: Configuration) -> None:
        configuration.connection_pool_maxsize = CONNECTIONS
        # None is no retry. 0 is one without end: the client counts down past it.
        configuration.retries = None
        self.configuration = configuration
        self.clock = ServerClock()
        self._client = ApiClient(configuration)

    @classmethod
    async def connect(cls, kubeconfig: str | None) -> "KubeApi":
        """By kubeconfig file, or by the pod's own service account."""
        configuration = Configuration()
        if kubeconfig:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, client_configuration=configuration
            )
        else:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(configuration)

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def credentials(self) -> Credentials:
        """For kopf's connections; the token is the newest that the kubelet has mounted."""
        configuration = self.configuration
        bearer = (await self.headers()).get("authorization")
        return Credentials(
            configuration.host,
            configuration.ssl_ca_cert,
            bearer.split(" ", 1)[1] if bearer else None,
            configuration.cert_file,
            configuration.key_file,
        )

    async def headers(self) -> dict[str, str]:
        """Credentials as HTTP headers (tokens are read again when they are renewed)."""
        headers: dict[str, str] = {}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """See Api."""
        url = self.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": content_type}
        headers |= await self.headers()
        try:
            response = await self._client.call_api(
                method, url, headers, body=body, _request_timeout=REQUEST_TIMEOUT_S
            )
            raw = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from error
        try:
            answer = json.loads(raw) if raw else {}
        except ValueError as error:
            raise Overloaded(f"{method} {path}: HTTP {response.status} without JSON") from error
        if 200 <= response.status < 300:
            self.clock.heard(response.headers.get("Date"))
            return answer
        raise from_response(response.status, answer, creating=method == "POST")


async def server_minor(api: Api) -> int:
    """Kubernetes minor version of the API server (36 for 1.36); raises ClusterError."""
    version = await api.request("GET", "/version")
    digits = "".join(c for c in str(version.get("minor", "")) if c.isdigit())
    if not digits:
        raise ClusterError(f"/version names no minor version: {version}")
    return int(digits)
