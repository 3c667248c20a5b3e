"""Who waits for an execution or follows it, and what happens when nobody does any more."""

import asyncio
import contextlib
from collections.abc import Iterator

from paddock_api.executions import OnDisconnect
from paddock_api.reasons import ExecutionState as State
from paddock_runtime.server.dispatcher import Dispatcher
from paddock_runtime.server.records import Entry

ABANDONED_SECONDS = 5.0
"""A client that lost its connection gets so long to come back before its execution, if it asked
for that (onDisconnect: Cancel), is cancelled."""


@contextlib.contextmanager
def attending(entry: Entry, dispatcher: Dispatcher) -> Iterator[None]:
    """While a client waits. It has gone if this ends by cancellation or a broken connection."""
    entry.attending += 1
    if entry.abandoned is not None:
        entry.abandoned.cancel()
        entry.abandoned = None
    gone = True
    try:
        yield
        gone = False
    except Exception as error:
        gone = isinstance(error, ConnectionError)
        raise
    finally:
        entry.attending -= 1
        if gone and not entry.attending and _minds(entry):
            loop = asyncio.get_running_loop()
            entry.abandoned = loop.call_later(ABANDONED_SECONDS, _abandon, entry, dispatcher)


def _minds(entry: Entry) -> bool:
    return entry.on_disconnect is OnDisconnect.CANCEL and entry.state is not State.FINISHED


def _abandon(entry: Entry, dispatcher: Dispatcher) -> None:
    entry.abandoned = None
    dispatcher.cancel(entry, "the client that waited for it has gone")
