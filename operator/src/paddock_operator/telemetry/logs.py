"""One JSON object per line on stdout.

Fields: timestamp, severity, message, logger, and what a call adds by `extra`: among others
k8s.namespace.name, paddock.session.uid, trace_id, reason, error.type. The trace id of a session
is its uid without dashes unless its creator sent a trace context, so logs and traces meet
without either knowing of the other.
"""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def configure(level: str) -> None:
    """Send every logger of the process through the JSON formatter."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JsonFormatter(
            "%(message)s %(levelname)s %(name)s",
            rename_fields={"levelname": "severity", "name": "logger"},
            timestamp=True,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Per watch reconnect and per request: only for debugging.
    for chatty in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.getLevelName(level), logging.WARNING))
