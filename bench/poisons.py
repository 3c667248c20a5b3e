"""Objects at which the operator fails for ever, one of each kind.

What the API server would refuse is written into etcd past it, as an operator meets it that is
older than the CRDs.
"""

import asyncio
import base64
import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import aiohttp
from tests.integration.manifests import Manifest, sandbox, session

from paddock_api.names import sandbox_name
from paddock_operator.cluster.client import MERGE_PATCH, KubeApi, path_of
from paddock_operator.plan.views import SANDBOX_LABEL, ObjectView

SPACE, FULL = "poison", "poison-quota"
TEMPLATE = {"kind": "ClusterSandboxTemplate", "name": "python"}
"""The one that is well."""
WELL = 9
"""Sessions and sandboxes that one of each poison makes the operator work on."""
TOLD_S = 30.0
"""Until each has its reason in its status."""
POLL_S = 0.05
GARBAGE: dict[str, Manifest] = {
    "AgentSession": {"spec": {"user": 7, "steps": "all of them"}},
    "Sandbox": {"spec": {"templateRef": ["python"], "lifetime": "long"}},
    "SandboxTemplate": {"spec": {"languages": "python", "limits": {"timeout": -1}}},
}
"""What no version of the operator can read, by kind. The API server then refuses every status."""
WORSE: Manifest = {"spec": {"templateRef": "python"}, "status": {"conditions": "all well"}}
"""Of a session or sandbox: not even whether it has finished can be read."""
EXPECTED = {
    ("AgentSession", SPACE, "missing-template"): "TemplateNotFound",
    ("AgentSession", SPACE, "unreadable-template"): "TemplateInvalid",
    ("AgentSession", SPACE, "sandbox-taken"): "NameTaken",
    ("AgentSession", FULL, "no-quota"): "QuotaExceeded",
    ("Sandbox", SPACE, "pod-taken"): "NameTaken",
}


async def namespace_of(api: KubeApi, name: str) -> None:
    """A namespace in which pods can be created."""
    await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    account = {"metadata": {"name": "default"}}
    await api.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", body=account)


class Poisons:
    """`each` of every kind: put them, check that they are poison, remove them."""

    def __init__(self, api: KubeApi, etcd: str, each: int) -> None:
        self._api = api
        self._etcd = etcd
        self._each = each

    async def prepare(self) -> None:
        """Two namespaces, one of them with a quota of no pods at all."""
        for name in (SPACE, FULL):
            await namespace_of(self._api, name)
        path = f"/api/v1/namespaces/{FULL}/resourcequotas"
        nothing = {"hard": {"pods": "0"}}
        await self._api.request("POST", path, body={"metadata": {"name": "no"}, "spec": nothing})
        # As the controller would, which is not there.
        status = {"status": nothing | {"used": {"pods": "0"}}}
        await self._api.request("PATCH", f"{path}/no/status", body=status, content_type=MERGE_PATCH)

    async def put(self) -> None:
        for number in range(self._each):
            await self._put(f"-{number}")

    async def put_as_many_that_are_well(self, space: str) -> None:
        """In place of `put`: as many sessions that do what they should."""
        for number in range(WELL * self._each):
            await self._create(session(templateRef=TEMPLATE), f"other-{number}", space=space)

    async def check(self) -> None:
        """Raises RuntimeError if one is not refused for its reason."""
        deadline = time.monotonic() + TOLD_S
        wanted = {
            (kind, space, f"{name}-{number}"): reason
            for (kind, space, name), reason in EXPECTED.items()
            for number in range(self._each)
        }
        while (seen := await self._reasons(wanted)) != wanted:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the poison is told as {seen}, wanted {wanted}")
            await asyncio.sleep(POLL_S)

    async def remove(self) -> None:
        """All of it; what the operator makes meanwhile as well."""
        kinds = ("AgentSession", "Sandbox", "SandboxTemplate", "Pod")
        while left := [
            (kind, space)
            for kind in kinds
            for space in (SPACE, FULL)
            if (await self._api.request("GET", path_of(kind, space)))["items"]
        ]:
            for kind, space in left:
                await self._api.request("DELETE", path_of(kind, space))
            await asyncio.sleep(POLL_S)

    async def _put(self, end: str) -> None:
        for kind, content in GARBAGE.items():
            await self._put_into_etcd(kind, f"unreadable{end}", content)
        for kind in ("AgentSession", "Sandbox"):
            await self._put_into_etcd(kind, f"worse{end}", WORSE)
        await self._create(session(templateRef={"name": "none"}), f"missing-template{end}")
        unreadable = {"name": f"unreadable{end}"}
        await self._create(session(templateRef=unreadable), f"unreadable-template{end}")
        await self._create(session(templateRef=TEMPLATE), f"no-quota{end}", space=FULL)
        await self._create(_pod(), f"pod-taken{end}")
        await self._create(sandbox(templateRef=TEMPLATE), f"pod-taken{end}")
        labelled = {SANDBOX_LABEL: "nobody", "app.kubernetes.io/managed-by": "paddock"}
        await self._create(_pod(), f"labelled{end}", labels=labelled)
        await self._put_sandbox_taken(f"sandbox-taken{end}")

    async def _put_sandbox_taken(self, name: str) -> None:
        """A session's uid makes its sandbox's name: suspended, it waits until that is taken."""
        made = await self._create(session(templateRef=TEMPLATE, suspend=True), name)
        await self._create(
            sandbox(templateRef={"name": "none"}), sandbox_name(name, ObjectView(made).uid)
        )
        await self._api.request(
            "PATCH",
            path_of("AgentSession", SPACE, name),
            body={"spec": {"suspend": False}},
            content_type=MERGE_PATCH,
        )

    async def _put_into_etcd(self, kind: str, name: str, content: Manifest) -> None:
        metadata = {
            "name": name,
            "namespace": SPACE,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        obj = {"apiVersion": "paddock.dev/v1alpha1", "kind": kind, "metadata": metadata, **content}
        plural = path_of(kind).rpartition("/")[2]
        pair = {
            "key": base64.b64encode(f"/registry/paddock.dev/{plural}/{SPACE}/{name}".encode()),
            "value": base64.b64encode(json.dumps(obj).encode()),
        }
        body = {field: value.decode() for field, value in pair.items()}
        async with (
            aiohttp.ClientSession(raise_for_status=True) as http,
            http.post(f"{self._etcd}/v3/kv/put", json=body),
        ):
            return

    async def _create(
        self, manifest: Manifest, name: str, *, space: str = SPACE, **meta: Any
    ) -> Manifest:
        body = manifest | {"metadata": {"name": name, **meta}}
        return await self._api.request("POST", path_of(manifest["kind"], space), body=body)

    async def _reasons(self, wanted: dict[tuple[str, str, str], str]) -> dict[Any, str]:
        seen = {}
        for kind, space, name in wanted:
            found = ObjectView(await self._api.request("GET", path_of(kind, space, name)))
            seen[kind, space, name] = str((found.condition("Ready") or {}).get("reason"))
        return seen


def _pod() -> Manifest:
    container = {"name": "foreign", "image": "localhost/foreign:1"}
    return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}
