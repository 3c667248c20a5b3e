"""One execution while it runs: its pipes, its clocks and why it was asked to end."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from paddock_api.reasons import ExecutionReason as Reason
from paddock_runtime.server.output import Kept, StreamKeeper

_CHUNK = 65536
_DRAIN = 1 << 20
"""What is read at the most after the end: a pipe holds 64 KiB unless somebody enlarged it."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Milliseconds and bytes; None is unlimited."""

    timeout_ms: int
    output_bytes: int
    output_idle_timeout_ms: int | None = None
    output_kill_bytes: int | None = None


class Run:
    """Reads both streams always, so the program never waits for us.

    `ask_end` is called once, with a reason and a sentence, when a limit of ours is reached.
    """

    def __init__(self, limits: RunLimits, ask_end: Callable[[Reason, str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._ask_end = ask_end
        self._streams = (StreamKeeper(limits.output_bytes), StreamKeeper(limits.output_bytes))
        self._reading: dict[int, StreamKeeper] = {}
        """By the read end of the pipe; a stream that came to its end is not in it any more."""
        self.write_ends: list[int] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._last_output = self.started = self._loop.time()
        self.oom_kills = 0
        """The workspace's counter when it started."""

    def start(self) -> None:
        """Make the pipes and start the clocks. The caller passes `write_ends` on.

        Raises OSError; `finish` is to be called all the same.
        """
        for keeper in self._streams:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            self._reading[read_end] = keeper
            self.write_ends.append(write_end)
            os.set_blocking(read_end, False)
            # The pipe is ours and user code has another uid: without this, opening /dev/stdout
            # is refused to it.
            os.fchmod(write_end, 0o622)
            self._loop.add_reader(read_end, self._read, read_end, keeper)
        self._last_output = self.started = self._loop.time()
        timeout = self._limits.timeout_ms / 1000
        self._timers.append(self._loop.call_later(timeout, self._wall_timeout))
        if self._limits.output_idle_timeout_ms is not None:
            self._watch_idle()

    def handed_over(self) -> None:
        """Our copies of the write ends go, so that the readers can see the end."""
        for descriptor in self.write_ends:
            os.close(descriptor)
        self.write_ends.clear()

    def finish(self) -> tuple[Kept, Kept]:
        """Take what is still in the pipes and close them, whoever else holds them."""
        for timer in self._timers:
            timer.cancel()
        self.handed_over()
        for read_end, keeper in self._reading.items():
            self._loop.remove_reader(read_end)
            with contextlib.suppress(OSError):
                for _ in range(_DRAIN // _CHUNK):
                    data = os.read(read_end, _CHUNK)
                    if not data:
                        break
                    keeper.add(data)
            os.close(read_end)
        self._reading.clear()
        stdout, stderr = self._streams
        return stdout.take(), stderr.take()

    def _read(self, read_end: int, keeper: StreamKeeper) -> None:
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
        keeper.add(data)
        self._last_output = self._loop.time()
        kill_bytes = self._limits.output_kill_bytes
        if kill_bytes is not None and sum(stream.total for stream in self._streams) > kill_bytes:
            self._ask_end(Reason.OUTPUT_LIMIT, f"it wrote more than {kill_bytes} bytes")

    def _wall_timeout(self) -> None:
        self._ask_end(
            Reason.WALL_TIMEOUT, f"it ran longer than its timeout of {self._limits.timeout_ms} ms"
        )

    def _watch_idle(self) -> None:
        """One timer that moves on, instead of one for each piece of output."""
        limit_ms = self._limits.output_idle_timeout_ms
        if limit_ms is None:
            return
        due = self._last_output + limit_ms / 1000
        if self._loop.time() >= due:
            self._ask_end(Reason.OUTPUT_IDLE_TIMEOUT, f"it wrote nothing for {limit_ms} ms")
        else:
            self._timers[1:] = [self._loop.call_at(due, self._watch_idle)]
