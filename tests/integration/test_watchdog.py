"""A watch that dies without a word: kopf connects anew, and if that does not help, /livez fails."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Kubectl
from tests.integration.control_plane import ControlPlane
from tests.integration.proxy import Proxy

from paddock_operator import kopf_bridge
from paddock_operator.cluster.client import KubeApi

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]

WATCH_S, INACTIVE_S, SILENT_S = 2, 3.0, 7.0


@pytest.fixture
def proxy(apiserver: ControlPlane) -> Iterator[Proxy]:
    with Proxy(apiserver.url) as made:
        yield made


@pytest.fixture(autouse=True)
def quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same proportions as in earnest; credentials are renewed between watches too."""
    monkeypatch.setattr(kopf_bridge, "LOGIN_AGAIN_S", 4)
    monkeypatch.setattr(kopf_bridge, "WATCH_S", WATCH_S)
    monkeypatch.setattr(kopf_bridge, "INACTIVE_S", INACTIVE_S)
    monkeypatch.setattr(kopf_bridge, "SILENT_S", SILENT_S)


class Bridge:
    """The watches at work, and the names that they told of."""

    def __init__(self) -> None:
        self.watches = kopf_bridge.Watches()
        self.told: list[str] = []

    def observe(self, _: str, obj: Mapping[str, Any], *, deleted: bool) -> None:
        self.told.append(obj["metadata"]["name"])

    async def until(self, silent: bool, within: float) -> None:
        async with asyncio.timeout(within):
            while True:
                if bool(self.watches.silent()) is silent:
                    return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def watching(kubeconfig: Path, proxy: Proxy | None = None) -> AsyncIterator[Bridge]:
    api = await KubeApi.connect(str(kubeconfig))
    bridge, ready = Bridge(), asyncio.Event()
    work = kopf_bridge.run(bridge.observe, api.credentials, ready, bridge.watches)
    task = asyncio.create_task(work)
    try:
        async with asyncio.timeout(20):
            await ready.wait()
        yield bridge
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()
        if proxy is not None:
            # TLS says goodbye for half a minute to a peer that was silent.
            proxy.cut()
            await asyncio.sleep(0.2)


def template(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "SandboxTemplate",
        "metadata": {"name": name},
        "spec": {"languages": ["python"]},
    }


async def test_quiet_watches_are_alive_and_lose_no_event(
    apiserver: ControlPlane, kubectl: Kubectl, namespace: str
) -> None:
    """Nothing happens for three lives of a watch; then something between two of them."""
    async with watching(apiserver.kubeconfig) as bridge:
        for number in range(8):
            await asyncio.sleep(SILENT_S * 1.5 / 8)
            assert bridge.watches.silent() == ""
            name = f"quiet-{number}"
            await asyncio.to_thread(
                kubectl, "create", "-f", "-", namespace=namespace, stdin=template(name)
            )
        await asyncio.sleep(0.5)
        assert [name for name in bridge.told if name.startswith("quiet")] == [
            f"quiet-{number}" for number in range(8)
        ]


async def test_kopf_replaces_connections_that_are_silent(
    apiserver: ControlPlane, proxy: Proxy, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    config = proxy.kubeconfig(apiserver.kubeconfig, tmp_path / "behind.kubeconfig")
    async with watching(config, proxy) as bridge:
        await asyncio.sleep(0.5)
        proxy.silence_those_open()
        await asyncio.to_thread(
            kubectl, "create", "-f", "-", namespace=namespace, stdin=template("missed")
        )
        async with asyncio.timeout(SILENT_S):
            while "missed" not in bridge.told:
                assert bridge.watches.silent() == ""
                await asyncio.sleep(0.05)


async def test_watches_that_stay_silent_are_named_with_their_age(
    apiserver: ControlPlane, proxy: Proxy, tmp_path: Path
) -> None:
    config = proxy.kubeconfig(apiserver.kubeconfig, tmp_path / "behind.kubeconfig")
    async with watching(config, proxy) as bridge:
        await asyncio.sleep(0.5)
        proxy.silence()
        await bridge.until(silent=True, within=SILENT_S + WATCH_S)
        await asyncio.sleep(WATCH_S)
        said = bridge.watches.silent()
        for kind in kopf_bridge.PLURALS:
            assert f"the watch of {kind} gave no sign of life for " in said
        proxy.pass_on()
        await bridge.until(silent=False, within=INACTIVE_S + WATCH_S + 5)
