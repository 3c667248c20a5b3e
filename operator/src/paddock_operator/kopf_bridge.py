"""The only part that knows kopf: watches in, `Engine.observe` out.

Kopf does what it is good at: watching with bookmarks and reconnects, throttling, signals. Of
its handlers only `on.event` is used, which writes nothing and keeps nothing on the objects.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import kopf

from paddock_operator.cluster.client import Credentials
from paddock_operator.plan.actions import Kind
from paddock_operator.plan.views import SANDBOX_LABEL

Observe = Callable[..., None]

LOGIN_AGAIN_S = 600
"""Kubernetes renews a mounted token at 80 % of its hour; ten minutes is well within the rest."""

log = logging.getLogger(__name__)


def build_registry(observe: Observe) -> kopf.OperatorRegistry:
    """One on.event handler per kind; each does nothing but tell the engine."""
    registry = kopf.OperatorRegistry()
    plurals: dict[Kind, tuple[str, ...]] = {
        "AgentSession": ("paddock.dev", "v1alpha1", "agentsessions"),
        "Sandbox": ("paddock.dev", "v1alpha1", "sandboxes"),
        "SandboxTemplate": ("paddock.dev", "v1alpha1", "sandboxtemplates"),
        "ClusterSandboxTemplate": ("paddock.dev", "v1alpha1", "clustersandboxtemplates"),
        "Pod": ("", "v1", "pods"),
    }
    assert set(plurals) == set(get_args(Kind))
    for kind, resource in plurals.items():
        labels = {SANDBOX_LABEL: kopf.PRESENT} if kind == "Pod" else None
        handler = _handler(kind, observe)
        kopf.on.event(*resource, id=kind.lower(), labels=labels, registry=registry)(handler)
    return registry


def _handler(kind: Kind, observe: Observe) -> Callable[..., Any]:
    async def handle(event: Mapping[str, Any], **_: object) -> None:
        try:
            observe(kind, event["object"], deleted=event["type"] == "DELETED")
        except Exception:  # kopf would swallow it without a word
            log.exception("event not taken in", extra={"kind": kind})

    return handle


def build_settings() -> kopf.OperatorSettings:
    """No peering, no scanning of CRDs and namespaces, no Events by kopf, short timeouts."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    # Handlers only mark keys: there is nothing to wait for when a worker or the process ends.
    settings.queueing.idle_timeout = 1
    settings.queueing.exit_timeout = 0.2
    settings.watching.chunk_size = 500
    settings.watching.connect_timeout = 5
    settings.watching.label_selectors["", "v1", "pods"] = SANDBOX_LABEL
    return settings


async def run(
    observe: Observe, connect: Callable[[], Awaitable[Credentials]], ready: asyncio.Event
) -> None:
    """Watch until cancelled; `ready` is set when kopf has started its watches.

    `connect` is asked again every LOGIN_AGAIN_S, since service account tokens expire.
    """
    registry = build_registry(observe)

    async def login(**_: object) -> kopf.ConnectionInfo:
        found = await connect()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            scheme="Bearer" if found.token else None,
            token=found.token,
            certificate_path=found.certificate_path,
            private_key_path=found.private_key_path,
            expiration=datetime.now(UTC) + timedelta(seconds=LOGIN_AGAIN_S),
        )

    kopf.on.login(registry=registry)(login)
    await kopf.operator(
        registry=registry,
        settings=build_settings(),
        standalone=True,
        clusterwide=True,
        ready_flag=ready,
    )
