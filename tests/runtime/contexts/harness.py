"""Contexts without a pod: a small fork server as a process, and a client for each context."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds for anything that takes milliseconds."""


@dataclass
class Cell:
    """What came of one cell. `end` is None if the context died under it."""

    stdout: str
    stderr: str
    items: list[dict[str, Any]]
    end: dict[str, Any] | None

    @property
    def code(self) -> int | None:
        return None if self.end is None else self.end["done"]

    @property
    def results(self) -> list[dict[str, Any]]:
        return [item["data"] for item in self.items if item["type"] == "result"]

    @property
    def displays(self) -> list[dict[str, Any]]:
        return [item["data"] for item in self.items if item["type"] == "display"]

    @property
    def text(self) -> str | None:
        """The last expression's value as text."""
        return self.results[0]["text/plain"] if self.results else None

    @property
    def error(self) -> dict[str, Any] | None:
        found = [item for item in self.items if item["type"] == "error"]
        assert len(found) <= 1
        assert not found or self.items[-1] is found[0]
        return found[0] if found else None


@dataclass
class Reader:
    """Reads a pipe to its end in a thread; `data` is what has come so far."""

    descriptor: int
    data: bytes = b""
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while piece := os.read(self.descriptor, 1 << 16):
            self.data += piece
        os.close(self.descriptor)
        self.ended.set()

    def all(self) -> bytes:
        assert self.ended.wait(PATIENCE), "someone still holds the pipe"
        return self.data


class Running:
    """A cell that was sent."""

    def __init__(self, context: "Context", code: str, stdin: bytes | None) -> None:
        self._context = context
        pipes = [os.pipe() for _ in range(3)]
        request = memory(json.dumps({"code": code}).encode())
        descriptors = [request, *(writer for _, writer in pipes)]
        if stdin is not None:
            descriptors.append(memory(stdin))
        self.stdout, self.stderr, self.results = (Reader(reader) for reader, _ in pipes)
        socket.send_fds(context.channel, [b'{"id": "cell"}'], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def printed(self, text: str) -> None:
        """Wait until it has printed that."""
        self.until(lambda: text.encode() in self.stdout.data)

    def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < give_up, (self.stdout.data, self.stderr.data)
            time.sleep(0.002)

    def end(self, *, pipes_end: bool = True) -> Cell:
        """How it ended. With `pipes_end` nobody may hold its pipes then."""
        end = self._context.receive()
        readers = (self.stdout, self.stderr, self.results)
        stdout, stderr, results = (reader.all() if pipes_end else reader.data for reader in readers)
        items = [json.loads(line) for line in results.splitlines() if line]
        assert end is None or set(end) == {"done", "interrupted"}
        return Cell(stdout.decode(), stderr.decode(), items, end)


class Context:
    """A client of one context."""

    def __init__(self, forks: "Forks", channel: socket.socket, pid: int) -> None:
        self._forks = forks
        self.channel = channel
        self.pid = pid

    def receive(self) -> dict[str, Any] | None:
        ready, _, _ = select.select([self.channel], [], [], PATIENCE)
        assert ready, "no answer"
        message = self.channel.recv(4096)
        assert len(message) < 200
        return json.loads(message) if message else None

    def start(self, code: str, stdin: bytes | None = None) -> Running:
        return Running(self, code, stdin)

    def run(self, code: str, stdin: bytes | None = None) -> Cell:
        return self.start(code, stdin).end()

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def close(self) -> int:
        """End the channel; the status of its process, which then ends."""
        self.channel.close()
        return self.status()

    def status(self) -> int:
        return self._forks.ask({"wait": self.pid})


class Forks:
    """The fork server."""

    def __init__(self, python: str = sys.executable) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = Path(__file__).with_name("forking.py")
        source = Path(__file__).parents[3] / "sandbox-runtime" / "src"
        self.process = subprocess.Popen(
            [python, str(program), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={"PYTHONPATH": str(source), "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
        )
        theirs.close()

    def ask(self, request: dict[str, Any], descriptors: tuple[int, ...] = ()) -> int:
        socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
        return int(json.loads(self._control.recv(4096)))

    def stop(self) -> None:
        self._control.close()
        self.process.wait(PATIENCE)

    @contextlib.contextmanager
    def context(self, directory: Path | None = None, **env: str) -> Iterator[Context]:
        with tempfile.TemporaryDirectory() as place:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            request = {"env": env, "cwd": str(directory or place)}
            pid = self.ask(request, (theirs.fileno(),))
            theirs.close()
            context = Context(self, ours, pid)
            try:
                assert context.receive() == {"ready": True}
                yield context
            finally:
                ours.close()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


def memory(data: bytes) -> int:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC)
    os.pwrite(descriptor, data, 0)
    return descriptor
