"""The installed Deployment out of the way for a while, and what the operator in it was told.

Whoever takes it away starts a child process that puts it back when its standard input ends: so
it comes back however this process ends, SIGKILL included.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.kubeapi import Admin, Json, until

SELECTOR = "app.kubernetes.io/part-of=paddock,app.kubernetes.io/component=operator"
NAMESPACE = os.environ.get("PADDOCK_E2E_NAMESPACE", "paddock-system")
TOKEN_S = 4 * 3600
GONE_S = 60.0


@dataclass(frozen=True)
class Installed:
    """What the chart made."""

    namespace: str
    token: str
    """Of the operator's own ServiceAccount."""
    environment: dict[str, str]
    """Literal variables of the operator's container, but for the port."""


@contextlib.asynccontextmanager
async def out_of_the_way(admin: Admin, kubeconfig: Path) -> AsyncIterator[Installed]:
    """The Deployment at zero replicas, until the block or the process ends."""
    found = await admin.request(
        "GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments?labelSelector={SELECTOR}"
    )
    if len(found["items"]) != 1:
        raise SystemExit(
            f"namespace {NAMESPACE} has {len(found['items'])} Deployments with the labels "
            f"{SELECTOR}: install the chart (`make install`) or set PADDOCK_E2E_NAMESPACE."
        )
    deployment = found["items"][0]
    name, replicas = deployment["metadata"]["name"], deployment["spec"]["replicas"]
    if not replicas:
        raise SystemExit(
            f"deployment {NAMESPACE}/{name} has 0 replicas: somebody else has stopped it. "
            f"`kubectl -n {NAMESPACE} scale deploy/{name} --replicas=1` if nobody has."
        )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.installation", str(kubeconfig), name, str(replicas),
        stdin=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        await admin.patch("deployments", NAMESPACE, name, {"spec": {"replicas": 0}})
        await _until_gone(admin)
        yield await _installed(admin, deployment)
    finally:
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()


async def _installed(admin: Admin, deployment: Json) -> Installed:
    pod = deployment["spec"]["template"]["spec"]
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_S},
    }
    account = f"{pod['serviceAccountName']}/token"
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}"
    answer = await admin.request("POST", path, request)
    environment = {
        entry["name"]: entry["value"]
        for entry in pod["containers"][0]["env"]
        if isinstance(entry.get("value"), str) and entry["name"] != "PADDOCK_HTTP_PORT"
    }
    return Installed(NAMESPACE, answer["status"]["token"], environment)


async def _until_gone(admin: Admin) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={SELECTOR}"

    async def gone() -> bool:
        return not (await admin.request("GET", path))["items"]

    assert await until(gone, GONE_S), "the Deployment's pods do not go"


async def _put_back(kubeconfig: Path, name: str, replicas: int) -> None:
    """In the child: wait for the end of the parent, then scale up again."""
    await asyncio.to_thread(sys.stdin.buffer.read)
    async with Admin(kubeconfig) as admin:
        await admin.patch("deployments", NAMESPACE, name, {"spec": {"replicas": replicas}})


if __name__ == "__main__":
    asyncio.run(_put_back(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
