"""Parse settings, put the parts together, run until told to stop."""

import asyncio
import contextlib
import importlib.metadata
import logging
import signal
import sys
import time
import uuid
from collections.abc import Coroutine
from typing import Any

from paddock_operator import kopf_bridge
from paddock_operator.cluster.client import Api, KubeApi, server_minor
from paddock_operator.cluster.crash import CrashingApi
from paddock_operator.cluster.errors import ClusterError
from paddock_operator.cluster.lease import Elector, Fenced, Timing
from paddock_operator.cluster.recorder import Recorder
from paddock_operator.cluster.signing import load_or_create
from paddock_operator.engine.build import build
from paddock_operator.plan.pods import PodSettings
from paddock_operator.runtime_client.client import RuntimeClient
from paddock_operator.runtime_client.tokens import TokenIssuer
from paddock_operator.settings import Settings, SettingsError, from_env
from paddock_operator.telemetry import logs, metrics, tracing
from paddock_operator.telemetry.http import HealthServer
from paddock_operator.telemetry.sessions import Export

RESTART_RULES_MINOR = 35
"""Kubernetes 1.35 has `restartPolicyRules` on by default; before, the pod would be refused."""

EXPORT_S = 1.0
"""For the last spans on the way out."""
PRIME_S = 300.0
"""A leader that cannot list for so long gives way: another replica may have better luck."""

log = logging.getLogger("paddock_operator")


def main() -> None:
    """Entry point of the image."""
    try:
        settings = from_env()
    except SettingsError as error:
        sys.exit(f"paddock-operator: {error}")
    logs.configure(settings.log_level)
    metrics.BUILD_INFO.labels(importlib.metadata.version("paddock-operator")).set(1)
    try:
        asyncio.run(run(settings))
    except (ClusterError, OSError) as error:
        log.error(
            "cannot go on",
            extra={"error.type": type(error).__name__, "error.message": str(error)},
        )
        sys.exit(1)


async def run(settings: Settings) -> None:
    """One life of the operator: stands by, leads, returns after SIGTERM.

    Raises when a part of it fails, LeaseLost when another process may lead from now on. All work
    has stopped by then; the lease is given back last.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    async with contextlib.AsyncExitStack() as closing:
        kube = await KubeApi.connect(settings.kubeconfig)
        closing.push_async_callback(kube.close)
        elector = Elector(
            kube,
            settings.namespace,
            f"{settings.instance}_{settings.pod_uid or uuid.uuid4()}",
            Timing(settings.lease_duration_s),
        )
        health = HealthServer(
            alive=lambda: (True, "ok"),
            ready=lambda: (True, f"ok: standby, {elector.holder or 'nobody'} leads"),
        )
        closing.push_async_callback(health.close)
        port = await health.start(settings.http_port)
        log.info("started", extra={"http_port": port, "runtime_image": settings.runtime_image})
        closing.push_async_callback(elector.release)
        await _until(stop, elector.acquire())
        if not stop.is_set():
            await _until(stop, elector.hold(), _lead(settings, kube, elector, health, stop))
    log.info("stopped")


async def _lead(
    settings: Settings, kube: KubeApi, elector: Elector, health: HealthServer, stop: asyncio.Event
) -> None:
    """All the work, until cancelled or told to stop."""
    async with contextlib.AsyncExitStack() as closing:
        api: Api = Fenced(kube, elector.leads)
        if settings.crash_after_write is not None:
            api = CrashingApi(api, settings.crash_after_write)
        watching = asyncio.Event()
        health.ready = lambda: (False, "leader, nothing listed yet")
        keys = await load_or_create(api, settings.namespace)
        runtime = RuntimeClient(TokenIssuer(keys.current, kube.clock.now))
        closing.push_async_callback(runtime.close)
        recorder = Recorder(api, settings.instance)
        parts = build(
            api,
            runtime,
            recorder,
            PodSettings(
                runtime_image=settings.runtime_image,
                verify_keys=keys.verify_keys,
                restart_rules=await server_minor(api) >= RESTART_RULES_MINOR,
                image_pull_policy=settings.image_pull_policy,
            ),
            uid_base=settings.sandbox_uid_base,
            workers=settings.workers,
            now=kube.clock.now,
            export=_exporter(closing),
        )
        closing.push_async_callback(parts.close)
        until = time.monotonic() + PRIME_S
        health.alive = lambda: (time.monotonic() < until, f"nothing listed within {PRIME_S:.0f} s")
        await parts.engine.prime()
        watches = kopf_bridge.Watches()
        health.alive = lambda: _well(watches.silent(), "ok: leader")
        health.ready = lambda: _well("" if watching.is_set() else "not watching yet", "ok: leader")
        watch = kopf_bridge.run(parts.engine.take_in, kube.credentials, watching, watches)
        await _until(stop, parts.engine.run(), recorder.run(), watch)


def _well(why_not: str, well: str) -> tuple[bool, str]:
    return (False, why_not) if why_not else (True, well)


def _exporter(closing: contextlib.AsyncExitStack) -> Export | None:
    """The trace exporter, imported only where OTLP is configured: it costs 15 MiB."""
    if not tracing.enabled():
        return None
    from paddock_operator.telemetry.otlp import SpanExporter

    exporter = SpanExporter()

    async def close() -> None:
        # It waits for its collector, which the lease must not.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(exporter.close), EXPORT_S)

    closing.push_async_callback(close)
    return exporter.export


def _stop_on_signals(stop: asyncio.Event) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)


async def _until(stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Run all of it until `stop` is set or the first part ends; what that raised raises here."""
    tasks = [asyncio.create_task(part) for part in (*work, _wait(stop))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


if __name__ == "__main__":
    main()
