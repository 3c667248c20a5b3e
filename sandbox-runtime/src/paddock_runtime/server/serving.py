"""Puts the sandbox behind its HTTP port and runs it until it ends."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from paddock_api.executions import Execution, ExecutionRequest
from paddock_api.messages import Configure, SandboxSettings
from paddock_runtime.server import logs
from paddock_runtime.server.app import make_app
from paddock_runtime.server.auth import Verifier, read_keys
from paddock_runtime.server.connections import FIELD_BYTES, HEADERS, Connections
from paddock_runtime.server.lifetime import TERMINATED
from paddock_runtime.server.sandbox import Places, Sandbox

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
KEEP_ALIVE = 300
"""Seconds that an idle connection is kept: the operator asks again and again."""


def run(listening: socket.socket) -> None:
    """Raises ValueError, KeyError or OSError where the environment is unusable."""
    asyncio.run(_serve(listening, os.environ))


async def _serve(listening: socket.socket, environ: Mapping[str, str]) -> None:
    settings = SandboxSettings.model_validate_json(environ["PADDOCK_SETTINGS"])
    keys = read_keys(environ.get("PADDOCK_VERIFY_KEYS", ""))
    sandbox = Sandbox(settings, _places(environ))
    sandbox.start()
    loop = asyncio.get_running_loop()
    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, sandbox.over, TERMINATED)
    for message in (Configure, ExecutionRequest, Execution):  # so that the first one is not slower
        message.model_rebuild()
    connections = Connections(sandbox.metrics)
    app = make_app(sandbox, Verifier(keys, settings.sandbox_uid), connections)
    logging.basicConfig(level=logging.WARNING, handlers=[logs.LibraryHandler()], force=True)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=1.0,
        keepalive_timeout=KEEP_ALIVE,
        handler_cancellation=True,  # so that a client that has gone is noticed
        auto_decompress=False,  # 300 KB of gzip are 300 MB
        max_headers=HEADERS,
        max_field_size=FIELD_BYTES,
    )
    await runner.setup()
    assert runner.server is not None
    accepting = asyncio.create_task(connections.accept(runner.server, listening))
    logs.info("runtime.listening", sandbox=settings.sandbox_uid)
    reason = await sandbox.ending
    await sandbox.end(reason)
    accepting.cancel()
    listening.close()
    await runner.cleanup()
    sandbox.close()
    # The loop, when it closes, gives them back their default: one more SIGTERM would then make a
    # failure of an end that is complete.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    logs.info("runtime.ended", reason=reason)


def _places(environ: Mapping[str, str]) -> Places:
    uid = environ.get("PADDOCK_WORKSPACE_UID")
    return Places(
        control=Path(environ.get("PADDOCK_CONTROL_DIR", "/run/paddock")),
        journal=Path(environ.get("PADDOCK_JOURNAL_DIR", "/var/lib/paddock")),
        termination_log=Path(environ.get("PADDOCK_TERMINATION_LOG", "/dev/termination-log")),
        workspace_uid=int(uid) if uid else None,
    )
