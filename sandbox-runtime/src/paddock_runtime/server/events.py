"""The events of one execution: `started stdout stderr exited`, by server-sent events.

Nothing is queued for a client. What it has got is two numbers, how far it is in stdout and in
stderr, and they are the id of each event: whoever comes back with one goes on exactly there, on
a running execution, an ended one, or after a restart of the runtime. Who is slower than the
program finds bytes of the middle gone, as any answer does, and is told how many. Events of the
two streams come in the order in which they were read, but to one who is late first all of stdout.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from paddock_api.executions import (
    Execution,
    ExitedEvent,
    OutputEncoding,
    OutputEvent,
    StartedEvent,
)
from paddock_api.messages import Message
from paddock_api.reasons import ExecutionState as State
from paddock_runtime.server.executions import Executions
from paddock_runtime.server.output import Piece, after_cut, before_cut, encoded
from paddock_runtime.server.problems import ProblemError, invalid
from paddock_runtime.server.records import Entry

PIECE_BYTES = 32 << 10
"""Of output in one event: a client that does not read costs at most a few of them."""
KEEP_ALIVE = 5.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection and a
client that is gone is noticed."""
KEEP_ALIVE_LINE = b": keep-alive\n\n"
OPENING = b"retry: 1000\n\n"
_NAMES = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Position:
    """What a client has: whether `started`, bytes of stdout and stderr, whether `exited`."""

    started: bool = False
    offsets: tuple[int, int] = (0, 0)
    exited: bool = False

    def __str__(self) -> str:
        return f"{self.offsets[0]}-{self.offsets[1]}" + ("-end" if self.exited else "")

    @property
    def seq(self) -> int:
        return sum(self.offsets) + self.exited

    def refuse_beyond(self, stdout: int, stderr: int, state: State) -> None:
        """Raises 422 for one that no event of an execution with so much output can have had: who
        went on there would miss what comes and not be told."""
        ended = state is State.FINISHED
        if self.offsets[0] > stdout or self.offsets[1] > stderr or (self.exited and not ended):
            raise ProblemError(
                422,
                "EventNotThere",
                f"Last-Event-ID: {self} is beyond what the execution has written ({stdout} bytes "
                f"of stdout, {stderr} of stderr); leave it out to begin at the beginning",
            )

    def behind(self, stream: int, offset: int) -> "Position":
        first, second = self.offsets
        return replace(self, offsets=(offset, second) if stream == 0 else (first, offset))


def read_position(last_event_id: str | None) -> Position:
    """From the header Last-Event-ID. Raises 422."""
    if not last_event_id:
        return Position()
    first, _, rest = last_event_id.partition("-")
    second, dash, end = rest.partition("-")
    numbers = (first, second)
    if not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in numbers) or (
        dash and end != "end"
    ):
        raise invalid(
            f"Last-Event-ID: {last_event_id[:40]!r} is not the id of an event of an execution, "
            "such as 12-0; leave it out to begin at the beginning"
        )
    return Position(True, (int(first), int(second)), bool(dash))


class Follower:
    """One client's way through the events of one execution."""

    def __init__(
        self, executions: Executions, entry: Entry, encoding: OutputEncoding, position: Position
    ) -> None:
        self._executions = executions
        self._entry = entry
        self._encoding = encoding
        self._position = position
        self._changed = asyncio.Event()
        self._read: Callable[[int, int, int], Piece] | None = None
        self._ended = False

    def __enter__(self) -> "Follower":
        if self._entry.changes is None:
            self._entry.changes = set()
        self._entry.changes.add(self._changed)
        return self

    def __exit__(self, *_: object) -> None:
        if self._entry.changes is not None:
            self._entry.changes.discard(self._changed)

    @property
    def over(self) -> bool:
        return self._position.exited

    def due(self) -> bytes:
        """The next event that can be told now; empty if there is none."""
        self._changed.clear()
        state = self._entry.state
        if state is State.PENDING:
            return b""
        if not self._position.started:
            self._position = replace(self._position, started=True)
            return self._event("started", StartedEvent(execution=self._shown()))
        if self._read is None or (state is State.FINISHED and not self._ended):
            self._read = self._executions.read_output(self._entry)
            self._ended = state is State.FINISHED
        event = self._output(0) or self._output(1)
        if event or not self._ended:
            return event
        self._position = replace(self._position, exited=True)
        self._executions.collected(self._entry)
        return self._event("exited", ExitedEvent(seq=self._position.seq, execution=self._shown()))

    async def more(self) -> bool:
        """Wait until something may be due; False when it was silent for KEEP_ALIVE."""
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _output(self, stream: int) -> bytes:
        read = self._read
        if read is None:
            return b""
        omitted, data = read(stream, self._position.offsets[stream], PIECE_BYTES)
        if omitted and self._encoding is OutputEncoding.UTF8:
            whole, data = data, after_cut(data)
            omitted += len(whole) - len(data)
        begin = self._position.offsets[stream] + omitted
        if self._encoding is OutputEncoding.UTF8:
            text = before_cut(data)
            if len(text) < len(data):  # the rest of a character comes with the next piece, or never
                gap, rest = read(stream, begin + len(data), 1)
                data = data if gap or (self._ended and not rest) else text
        if not data and not (omitted and self._ended):
            return b""
        self._position = self._position.behind(stream, begin + len(data))
        event = OutputEvent(
            seq=self._position.seq,
            offset=begin,
            text=encoded(data, self._encoding),
            encoding=self._encoding,
            omitted=omitted,
        )
        return self._event(_NAMES[stream], event)

    def _shown(self) -> Execution:
        """With counts of its output and, small as they are, its results; without the text."""
        return self._executions.view(self._entry, 0)

    def _event(self, name: str, data: Message) -> bytes:
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (
            str(self._position).encode(),
            name.encode(),
            data.to_json(),
        )
