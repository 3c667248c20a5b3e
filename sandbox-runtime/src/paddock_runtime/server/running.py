"""One execution while it runs: its pipes, its clocks and why it was asked to end."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from paddock_api.reasons import ExecutionReason as Reason
from paddock_runtime.server.output import Kept, Piece, StreamKeeper
from paddock_runtime.server.results import ERROR_BYTES, RESULT_BYTES
from paddock_runtime.server.stdin import StdinPipe

_CHUNK = 65536
_DRAIN = 1 << 20
"""What is read at the most after the end: a pipe holds 64 KiB unless somebody enlarged it."""
STDOUT, STDERR, RESULTS = range(3)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Milliseconds and bytes; None is unlimited."""

    timeout_ms: int | None
    output_bytes: int
    output_idle_timeout_ms: int | None = None
    output_kill_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Watcher:
    """Whom a run tells: `ask_end` once, with a reason and a sentence, when a limit of ours is
    reached; `printed` each piece of stdout (0) and stderr (1)."""

    ask_end: Callable[[Reason, str], None]
    printed: Callable[[int, bytes], None]


class Run:
    """Reads all streams always, so the program never waits for us."""

    def __init__(self, limits: RunLimits, watcher: Watcher) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._watcher = watcher
        self._streams = [_keeper(limits.output_bytes), _keeper(limits.output_bytes)]
        self._reading: dict[int, int] = {}
        """Stream by the read end of its pipe; one that came to its end is not in it any more."""
        self.child_ends: list[int] = []
        """The program's ends of the pipes: stdout, stderr, then results and stdin if wanted."""
        self.stdin: StdinPipe | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last_output = self.started = self._loop.time()
        self.oom_kills = 0
        """The workspace's counter when it started."""

    def start(self, *, results: bool = False, stdin: bool = False) -> None:
        """Make the pipes and start the clocks. The caller passes `child_ends` on.

        Raises OSError; `finish` is to be called all the same.
        """
        if results:
            self._streams.append(StreamKeeper(RESULT_BYTES - ERROR_BYTES, ERROR_BYTES))
        for stream in range(len(self._streams)):
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            self._reading[read_end] = stream
            self.child_ends.append(write_end)
            os.set_blocking(read_end, False)
            # The pipe is ours and user code has another uid: without this, opening /dev/stdout
            # is refused to it.
            os.fchmod(write_end, 0o622)
            self._loop.add_reader(read_end, self._read, read_end, stream)
        if stdin:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            self.child_ends.append(read_end)
            self.stdin = StdinPipe(write_end)
            os.fchmod(read_end, 0o644)
        self._last_output = self.started = self._loop.time()
        if self._limits.timeout_ms is not None:
            timeout = self._limits.timeout_ms / 1000
            self._timers["wall"] = self._loop.call_later(timeout, self._wall_timeout)
        if self._limits.output_idle_timeout_ms is not None:
            self._watch_idle()

    def handed_over(self) -> None:
        """Our copies of the program's ends go, so that both sides can see the end."""
        for descriptor in self.child_ends:
            os.close(descriptor)
        self.child_ends.clear()

    def read(self, stream: int, offset: int, size: int) -> Piece:
        """What is kept of stdout or stderr so far."""
        return self._streams[stream].read(offset, size)

    def kept(self) -> list[Kept]:
        """What all streams have so far."""
        return [stream.kept() for stream in self._streams]

    def finish(self) -> list[Kept]:
        """Take what is still in the pipes and close them, whoever else holds them."""
        for timer in self._timers.values():
            timer.cancel()
        self.handed_over()
        if self.stdin is not None:
            self.stdin.end()
        for read_end, stream in self._reading.items():
            self._loop.remove_reader(read_end)
            with contextlib.suppress(OSError):
                for _ in range(_DRAIN // _CHUNK):
                    data = os.read(read_end, _CHUNK)
                    if not data:
                        break
                    self._take(stream, data)
            os.close(read_end)
        self._reading.clear()
        return [stream.take() for stream in self._streams]

    def _read(self, read_end: int, stream: int) -> None:
        try:
            data = os.read(read_end, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(read_end)
            del self._reading[read_end]
            os.close(read_end)
            return
        self._take(stream, data)
        self._last_output = self._loop.time()
        kill_bytes = self._limits.output_kill_bytes
        if kill_bytes is not None and self._printed > kill_bytes:
            self._watcher.ask_end(Reason.OUTPUT_LIMIT, f"it wrote more than {kill_bytes} bytes")

    def _take(self, stream: int, data: bytes) -> None:
        self._streams[stream].add(data)
        if stream != RESULTS:
            self._watcher.printed(stream, data)

    @property
    def _printed(self) -> int:
        return self._streams[STDOUT].total + self._streams[STDERR].total

    def _wall_timeout(self) -> None:
        self._watcher.ask_end(
            Reason.WALL_TIMEOUT, f"it ran longer than its timeout of {self._limits.timeout_ms} ms"
        )

    def _watch_idle(self) -> None:
        """One timer that moves on, instead of one for each piece of output."""
        limit_ms = self._limits.output_idle_timeout_ms
        if limit_ms is None:
            return
        due = self._last_output + limit_ms / 1000
        if self._loop.time() >= due:
            self._watcher.ask_end(Reason.OUTPUT_IDLE_TIMEOUT, f"it wrote nothing for {limit_ms} ms")
        else:
            self._timers["idle"] = self._loop.call_at(due, self._watch_idle)


def _keeper(limit: int) -> StreamKeeper:
    return StreamKeeper(limit // 2, limit - limit // 2)
