"""`python3 -I -m paddock_runtime.server`: the trusted container's one process.

The port listens before anything else is imported, so that a client's first connection waits a
moment instead of being refused.
"""

import gc
import os
import signal
import socket
import sys


def main() -> int:
    """Exit code: 0 after a deliberate end, 1 with a sentence on stderr for unusable settings."""
    # As PID 1 we would be deaf to it until there is a handler; nothing runs yet.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        listening = _listen()
        gc.disable()
        # aiohttp loads all CA certificates when it is imported: 80 ms of CPU and 1.7 MB, of no use
        # to a process that never speaks TLS.
        os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull
        from paddock_runtime.server.serving import run

        gc.freeze()
        gc.enable()
        run(listening)
    except (ValueError, KeyError, OSError) as error:
        sys.stderr.write(f"paddock runtime cannot start: {error}\n")
        return 1
    return 0


def _listen() -> socket.socket:
    port = int(os.environ.get("PADDOCK_PORT", "8090"))
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by every connection: a peer that is gone without a word is noticed in half a minute,
    # also by one that has nothing to send to it.
    for option, value in (
        (socket.TCP_KEEPIDLE, 15),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, 30_000),
    ):
        listening.setsockopt(socket.IPPROTO_TCP, option, value)
    listening.bind(("0.0.0.0", port))  # noqa: S104 - the pod's network is the boundary
    listening.listen(128)
    return listening


if __name__ == "__main__":
    sys.exit(main())
