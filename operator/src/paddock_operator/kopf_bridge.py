"""The only part that knows kopf: watches in, `Engine.take_in` out.

Kopf does what it is good at: watching with bookmarks and reconnects, throttling, signals. Of
its handlers only `on.event` is used, which writes nothing and keeps nothing on the objects.

A watch can die without a word: the connection stays open and nothing comes any more. Kopf 1.45
reconnects one that is silent for `inactivity_timeout`, but keeps its bookmarks to itself, so from
outside a quiet watch and a dead one look alike. Hence the API server is asked to end every watch
after WATCH_S, and the sign of life is that end: the last chunk of the response, which nothing
but the server sends. kopf goes on from the last version it saw, so no event is lost by it.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf

from paddock_operator.cluster.client import LIST_CHUNK, Credentials
from paddock_operator.cluster.errors import ClusterError
from paddock_operator.engine.engine import KINDS
from paddock_operator.plan.actions import Kind
from paddock_operator.plan.views import SANDBOX_LABEL

Observe = Callable[..., None]

LOGIN_AGAIN_S = 600
"""Kubernetes renews a mounted token at 80 % of its hour; ten minutes is well within the rest."""
WATCH_S = 30
"""Asked of the API server; costs ten GETs a minute for five kinds."""
INACTIVE_S = 45.0
"""kopf's: a watch without an event, a bookmark or its end for this long is connected anew."""
SILENT_S = 100.0
"""Then /livez fails: two watches one after the other were silent (90 s), or none could be made.
One that kopf healed by connecting anew has ended after 75 s."""

STOP_S = 1.0
"""How long kopf gets to end its watches: they hold nothing that could be lost."""
CLOSE_S = 0.05
"""Connections are gone a few turns of the loop after their session, and that loop ends."""

PLURALS: dict[Kind, tuple[str, str, str]] = {
    "AgentSession": ("paddock.dev", "v1alpha1", "agentsessions"),
    "Sandbox": ("paddock.dev", "v1alpha1", "sandboxes"),
    "SandboxTemplate": ("paddock.dev", "v1alpha1", "sandboxtemplates"),
    "ClusterSandboxTemplate": ("paddock.dev", "v1alpha1", "clustersandboxtemplates"),
    "Pod": ("", "v1", "pods"),
}
assert set(PLURALS) == set(KINDS)


class Watches:
    """When the watch of each kind last gave a sign of life."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard = dict.fromkeys(PLURALS, clock())

    def heard(self, kind: Kind) -> None:
        """The API server has ended a watch of this kind, as it was asked to."""
        self._heard[kind] = self._clock()

    def silent(self) -> str:
        """The kinds that are not heard of any more, with ages; '' if all is well."""
        now = self._clock()
        ages = {kind: now - at for kind, at in self._heard.items()}
        return "; ".join(
            f"the watch of {kind} gave no sign of life for {age:.0f} s"
            for kind, age in ages.items()
            if age > SILENT_S
        )

    def tracing(self) -> aiohttp.TraceConfig:
        """For the session that kopf watches with."""
        kinds = {resource[-1]: kind for kind, resource in PLURALS.items()}

        async def answered(
            _: aiohttp.ClientSession, __: SimpleNamespace, end: aiohttp.TraceRequestEndParams
        ) -> None:
            kind = kinds.get(end.url.name)
            if kind is not None and "watch" in end.url.query and end.response.status == 200:
                end.response.content.on_eof(lambda: self.heard(kind))

        config = aiohttp.TraceConfig()
        config.on_request_end.append(answered)
        return config


def build_registry(observe: Observe) -> kopf.OperatorRegistry:
    """One on.event handler per kind; each does nothing but tell the engine."""
    registry = kopf.OperatorRegistry()
    for kind, resource in PLURALS.items():
        labels = {SANDBOX_LABEL: kopf.PRESENT} if kind == "Pod" else None
        handler = _handler(kind, observe)
        kopf.on.event(*resource, id=kind.lower(), labels=labels, registry=registry)(handler)
    return registry


def _handler(kind: Kind, observe: Observe) -> Callable[..., Any]:
    async def handle(event: Mapping[str, Any], **_: object) -> None:
        observe(kind, event["object"], deleted=event["type"] == "DELETED")

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
    settings.watching.chunk_size = LIST_CHUNK
    settings.watching.connect_timeout = 5
    settings.watching.server_timeout = WATCH_S
    settings.watching.inactivity_timeout = INACTIVE_S
    settings.watching.label_selectors["", "v1", "pods"] = SANDBOX_LABEL
    return settings


class WatchesEnded(ClusterError):
    """Kopf gave up, for example because a CRD was deleted. A new process lists and watches anew."""

    reason = "WatchesEnded"


async def run(
    observe: Observe,
    connect: Callable[[], Awaitable[Credentials]],
    ready: asyncio.Event,
    watches: Watches,
) -> None:
    """Watch until cancelled; `ready` is set when kopf has started its watches.

    `connect` is asked again every LOGIN_AGAIN_S, since service account tokens expire. Raises
    WatchesEnded. Kopf runs in a thread with a loop of its own, because it takes the signals of the
    main one, and cancels every task of its loop when it ends, ours included.
    """
    here = asyncio.get_running_loop()
    ended: asyncio.Future[str] = here.create_future()
    there: list[asyncio.Task[None]] = []

    def over(why: str) -> None:
        if not ended.done():
            ended.set_result(why)

    def in_the_thread() -> None:
        try:
            asyncio.run(_watch(here, observe, connect, ready, watches, there, over))
        except BaseException as error:
            why = f"{type(error).__name__}: {error}"
            with contextlib.suppress(RuntimeError):  # our loop may be over first
                here.call_soon_threadsafe(over, why)

    thread = threading.Thread(target=in_the_thread, name="kopf", daemon=True)
    thread.start()
    try:
        raise WatchesEnded(f"the watches ended ({await ended}).")
    finally:
        ended.cancel()
        for task in there:
            with contextlib.suppress(RuntimeError):  # its loop is closed already
                task.get_loop().call_soon_threadsafe(task.cancel)
        await asyncio.to_thread(thread.join, STOP_S)


async def _watch(
    main: asyncio.AbstractEventLoop,
    observe: Observe,
    connect: Callable[[], Awaitable[Credentials]],
    ready: asyncio.Event,
    watches: Watches,
    there: list[asyncio.Task[None]],
    over: Callable[[str], None],
) -> None:
    current = asyncio.current_task()
    assert current is not None
    there.append(current)

    def tell(kind: Kind, obj: Mapping[str, Any], *, deleted: bool) -> None:
        main.call_soon_threadsafe(functools.partial(observe, kind, obj, deleted=deleted))

    # It warns that it cannot take the signals, which is what the thread is for.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    registry = build_registry(tell)
    sessions: list[aiohttp.ClientSession] = []
    sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
    started = asyncio.Event()

    def connection(address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setblocking(False)
        sockets.add(made)
        return made

    async def tell_when_started() -> None:
        await started.wait()
        main.call_soon_threadsafe(ready.set)

    async def login(**_: object) -> kopf.AiohttpSession:
        asked = asyncio.run_coroutine_threadsafe(_ask(connect), main)
        info = _connection(await asyncio.wrap_future(asked))
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=info.as_ssl_context(), socket_factory=connection
            ),
            headers=info.as_http_headers(),
            trace_configs=[watches.tracing()],
        )
        sessions[:] = [*(old for old in sessions if not old.closed), session]
        return kopf.AiohttpSession(
            server=info.server,
            aiohttp_session=session,
            expiration=datetime.now(UTC) + timedelta(seconds=LOGIN_AGAIN_S),
        )

    kopf.on.login(registry=registry)(login)
    teller = asyncio.create_task(tell_when_started())
    tasks: Collection[asyncio.Task[None]] = ()
    try:
        # Not kopf.operator(): when one of these fails, it waits for the others, which may then
        # ask for new credentials for ever.
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=build_settings(),
            standalone=True,
            clusterwide=True,
            ready_flag=started,
        )
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # Told before cleaning up, which a task of kopf's may keep from ending.
        causes = [task.exception() for task in done if not task.cancelled()]
        main.call_soon_threadsafe(over, "; ".join(f"{type(c).__name__}: {c}" for c in causes))
    finally:
        for task in (teller, *tasks):
            task.cancel()
        await asyncio.wait((teller, *tasks), timeout=STOP_S / 2)
        for session in sessions:
            await session.close()
        for made in sockets:
            # TLS would wait for a goodbye, from a silent peer for half a minute.
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(CLOSE_S)


async def _ask(connect: Callable[[], Awaitable[Credentials]]) -> Credentials:
    return await connect()


def _connection(found: Credentials) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=found.server,
        ca_path=found.ca_path,
        scheme="Bearer" if found.token else None,
        token=found.token,
        certificate_path=found.certificate_path,
        private_key_path=found.private_key_path,
    )
