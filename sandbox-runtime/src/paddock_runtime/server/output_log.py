"""Output of executions on the container's stdout, for templates with `logs: true`.

One JSON object a line, so that no program can forge a line of ours. A reader that is slow never
stops the runtime: what it cannot take is dropped, and how much is told.
"""

import codecs
import json
import os
import queue
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

LINE_BYTES = 8192
"""Of output in one line, less where JSON makes more of it than MAX_LINE_BYTES."""
MAX_LINE_BYTES = 16 << 10
"""Where the container runtime cuts lines."""
WAITING_BYTES = 1 << 20
_NAMES = {1: "stdout", 2: "stderr"}
_decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(slots=True)
class _Logged:
    """What became of one execution's output, in bytes."""

    taken: int = 0
    dropped: int = 0
    decoders: dict[int, codecs.IncrementalDecoder] = field(
        default_factory=lambda: {stream: _decoder(errors="replace") for stream in _NAMES}
    )


class OutputLog:
    """Takes `limit` bytes of each execution: a flood would only push out what others said.

    One thread, started with it, does the writing.
    """

    def __init__(self, limit: int, descriptor: int | None = None) -> None:
        self._limit = limit
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._executions: dict[str, _Logged] = {}
        self._put_bytes = self._written_bytes = 0
        """Each changed by one thread only."""
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._write_forever, name="output-log", daemon=True).start()

    def add(self, execution: str, stream: int, data: bytes) -> None:
        """A piece of output as it came; it need not be whole lines."""
        logged = self._executions.setdefault(execution, _Logged())
        room = self._limit - logged.taken
        if self._put_bytes - self._written_bytes > WAITING_BYTES:
            room = 0
        taken = data[:room]
        logged.taken += len(taken)
        logged.dropped += len(data) - len(taken)
        for start in range(0, len(taken), LINE_BYTES):
            text = logged.decoders[stream].decode(taken[start : start + LINE_BYTES])
            self._put_text({"execution": execution, "stream": _NAMES[stream]}, text)

    def end(self, execution: str) -> None:
        """Nothing more comes of it."""
        logged = self._executions.pop(execution, None)
        if logged is not None and logged.dropped:
            self._put(_line({"execution": execution, "droppedBytes": logged.dropped}))

    def _put_text(self, fields: dict[str, object], text: str) -> None:
        data = _line({**fields, "text": text})
        if len(data) < MAX_LINE_BYTES:
            self._put(data)
        else:
            half = len(text) // 2
            self._put_text(fields, text[:half])
            self._put_text(fields, text[half:])

    def _put(self, data: bytes) -> None:
        self._put_bytes += len(data)
        self._lines.put(data)

    def _write_forever(self) -> None:
        while True:
            data = self._lines.get()
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                return  # nobody reads it any more
            self._written_bytes += len(data)


def _line(fields: dict[str, object]) -> bytes:
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}
    return json.dumps(line).encode() + b"\n"
