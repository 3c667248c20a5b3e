"""A TCP proxy in front of the API server that can fall silent: connections stay, bytes stop."""

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on (TLS stays end to end); two threads per connection."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._flows, self._end = threading.Event(), threading.Event()
        self._flows.set()
        self._open: set[socket.socket] = set()
        self._silent: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Proxy":
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        # accept() returns on shutdown, on close alone it does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(timeout=10)

    def kubeconfig(self, source: Path, target: Path) -> Path:
        """The same kubeconfig by way of this proxy."""
        config = json.loads(source.read_text())
        config["clusters"][0]["cluster"]["server"] = self.url
        target.write_text(json.dumps(config))
        return target

    def silence(self) -> None:
        """From now on no byte passes; connections, also new ones, stay open."""
        self._flows.clear()

    def silence_those_open(self) -> None:
        """No byte passes on connections that are there; new ones are as always."""
        self._silent.update(self._open)

    def pass_on(self) -> None:
        """All bytes pass, those held back first."""
        self._silent.clear()
        self._flows.set()

    def cut(self) -> None:
        """End every connection, both ends at once."""
        self._silent.clear()
        self._flows.set()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._end.is_set():
            try:
                here, _ = self._listener.accept()
                there = socket.create_connection((self._target.hostname, self._target.port))
            except OSError:
                return
            self._open |= {here, there}
            for ends in ((here, there), (there, here)):
                self._start(self._copy, *ends)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while not self._flows.wait(0.1) or source in self._silent:
                    time.sleep(0.02)
                target.sendall(data)
        except OSError:
            pass
        finally:
            # Each of the two threads closes the end that it reads, and wakes the other.
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
            self._open.discard(source)
            source.close()
