"""`python3 -I -m paddock_runtime.server`: the trusted container's one process.

The port listens before the heavy imports, so that a client's first connection waits a moment
instead of being refused.
"""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path


def _listen() -> socket.socket:
    port = int(os.environ.get("PADDOCK_PORT", "8090"))
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("0.0.0.0", port))  # noqa: S104 - the pod's network is the boundary
    listening.listen(128)
    return listening


async def _serve(listening: socket.socket) -> None:
    from aiohttp import web

    from paddock_api.messages import SandboxSettings
    from paddock_runtime.server import logs
    from paddock_runtime.server.app import make_app
    from paddock_runtime.server.auth import Verifier, read_keys
    from paddock_runtime.server.lifetime import TERMINATED
    from paddock_runtime.server.sandbox import Places, Sandbox

    environ = os.environ
    settings = SandboxSettings.model_validate_json(environ["PADDOCK_SETTINGS"])
    keys = read_keys(environ.get("PADDOCK_VERIFY_KEYS", ""))
    uid = environ.get("PADDOCK_WORKSPACE_UID")
    places = Places(
        control=Path(environ.get("PADDOCK_CONTROL_DIR", "/run/paddock")),
        journal=Path(environ.get("PADDOCK_JOURNAL_DIR", "/var/lib/paddock")),
        termination_log=Path(environ.get("PADDOCK_TERMINATION_LOG", "/dev/termination-log")),
        workspace_uid=int(uid) if uid else None,
    )
    sandbox = Sandbox(settings, places)
    sandbox.start()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, sandbox.over, TERMINATED)
    loop.add_signal_handler(signal.SIGINT, sandbox.over, TERMINATED)
    app = make_app(sandbox, Verifier(keys, settings.sandbox_uid))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=300)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    logs.info("runtime.listening", sandbox=settings.sandbox_uid)
    reason = await sandbox.ending
    await sandbox.end(reason)
    await runner.cleanup()
    sandbox.close()
    logs.info("runtime.ended", reason=reason)


def main() -> int:
    listening = _listen()
    try:
        asyncio.run(_serve(listening))
    except (ValueError, KeyError, OSError) as error:
        sys.stderr.write(f"paddock runtime cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
