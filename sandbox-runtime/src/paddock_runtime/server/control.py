"""The runtime's end of the control socket: one listener, one connection, then a new listener."""

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from paddock_runtime import protocol
from paddock_runtime.cgroup import CgroupFiles
from paddock_runtime.server import logs
from paddock_runtime.server.workspace_messages import decode

LISTEN_PAUSE = 1.0
"""Seconds."""


class Listener(Protocol):
    """Whom the link tells."""

    def workspace_connected(self) -> None: ...
    def workspace_said(self, message: protocol.FromWorkspace) -> None: ...
    def file_server_started(self, descriptor: int) -> None: ...
    def workspace_lost(self) -> None: ...


class WorkspaceLink:
    """Accepts the workspace's fork server; messages go to the listener, in order.

    The path is unlinked as soon as one peer is accepted, because user code runs as the same
    user. It may still be alive when the next fork server is waited for (the runtime restarted,
    or gave the old one up), so a peer must also come from an address in the directory of the
    socket, where Landlock lets user code bind nothing. `evidence` holds the cgroup descriptors
    of the last fork server and is readable in `workspace_lost`, and only just then.
    """

    def __init__(self, directory: Path, expected_uid: int | None, listener: Listener) -> None:
        self._path = directory / protocol.SOCKET_NAME
        self._expected_uid = expected_uid
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._accepting: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._greeted = False
        self._refused = False
        self._again: asyncio.TimerHandle | None = None
        self._outbox: deque[tuple[protocol.Message, list[int]]] = deque()
        self.evidence = CgroupFiles()
        self.hello: protocol.Hello | None = None
        self.connections = 0

    @property
    def connected(self) -> bool:
        return self._greeted

    def listen(self) -> None:
        """Make the socket for the next fork server, now or when its place is free: the workspace
        can write there as well, and a runtime that ended of that could not tell any end."""
        self._again = None
        accepting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._path.unlink(missing_ok=True)
            accepting.bind(str(self._path))
            self._path.chmod(0o666)
            accepting.listen(1)
        except OSError as error:
            accepting.close()
            logs.error("control.unusable", error=str(error))
            self._again = self._loop.call_later(LISTEN_PAUSE, self.listen)
            return
        accepting.setblocking(False)
        self._refused = False
        self._accepting = accepting
        self._loop.add_reader(accepting, self._accept)

    def send(self, message: protocol.Message, descriptors: Sequence[int] = ()) -> None:
        """Send or queue, in order; the descriptors stay the caller's. Silent when lost.

        Raises OSError if there is no descriptor left for a copy; then nothing is sent.
        """
        if self._peer is None:
            return
        self._outbox.append((message, _copies(descriptors)))
        self._flush()

    def drop(self) -> None:
        """End the connection: the fork server dies of it and takes everything along."""
        if self._peer is not None:
            self._lost()

    def close(self) -> None:
        """End for good: no listener, no connection, nobody is told."""
        if self._again is not None:
            self._again.cancel()
        self._stop_accepting()
        self._close_peer()

    def _accept(self) -> None:
        if self._accepting is None:
            return
        try:
            peer, address = self._accepting.accept()
        except OSError:
            return
        if not self._is_fork_server(peer_uid(peer), address):
            peer.close()
            return
        self._stop_accepting()
        peer.setblocking(False)
        self._peer = peer
        self.connections += 1
        self._loop.add_reader(peer, self._read)

    def _is_fork_server(self, uid: int, address: str | bytes | None) -> bool:
        if isinstance(address, str):  # bytes are an abstract name, which anybody can take
            directory, _, name = address.rpartition("/")
            right_place = directory == str(self._path.parent)
            right_user = self._expected_uid in (None, uid)
            if right_place and right_user and name.startswith(protocol.PEER_NAME):
                return True
        if not self._refused:  # once for each listener: whoever tries may try all the time
            logs.warning("control.refused", uid=uid, address=str(address))
        self._refused = True
        return False

    def _read(self) -> None:
        if self._peer is None:
            return
        try:
            received = protocol.receive(self._peer, decode)
        except BlockingIOError:
            return
        except (OSError, protocol.ProtocolError) as error:
            logs.error("control.broken", error=str(error))
            received = None
        if received is None:
            self._lost()
            return
        self._take(*received)

    def _take(self, message: protocol.FromWorkspace, descriptors: list[int]) -> None:
        if isinstance(message, protocol.Hello) and not self._greeted:
            self._greet(message, descriptors)
            return
        if isinstance(message, protocol.FileServer) and self._greeted and len(descriptors) == 1:
            self._listener.file_server_started(descriptors[0])
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if self._greeted:
            self._listener.workspace_said(message)

    def _greet(self, hello: protocol.Hello, descriptors: list[int]) -> None:
        self._close_evidence()
        kept: dict[str, int] = {}
        for name, descriptor in zip_longest(hello.descriptors[: len(descriptors)], descriptors):
            if name and name not in kept and stat.S_ISREG(os.fstat(descriptor).st_mode):
                kept[name] = descriptor
            else:
                os.close(descriptor)
        self.evidence = CgroupFiles(kept)
        self.hello = hello
        self._greeted = True
        self._listener.workspace_connected()

    def _flush(self) -> None:
        while self._outbox and self._peer is not None:
            message, descriptors = self._outbox[0]
            try:
                protocol.send(self._peer, message, descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._peer, self._flush)
                return
            except OSError:
                # Most often the peer is gone, which the reader sees as well.
                self._loop.call_soon(self.drop)
                return
            self._outbox.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        if self._peer is not None:
            self._loop.remove_writer(self._peer)

    def _lost(self) -> None:
        self._close_peer()
        try:
            self._listener.workspace_lost()
        finally:
            self.listen()

    def _close_peer(self) -> None:
        self._greeted = False
        if self._peer is None:
            return
        self._loop.remove_reader(self._peer)
        self._loop.remove_writer(self._peer)
        self._peer.close()
        self._peer = None
        for _, descriptors in self._outbox:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outbox.clear()

    def _stop_accepting(self) -> None:
        if self._accepting is None:
            return
        self._loop.remove_reader(self._accepting)
        self._accepting.close()
        self._accepting = None
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _close_evidence(self) -> None:
        for descriptor in self.evidence.descriptors.values():
            os.close(descriptor)
        self.evidence = CgroupFiles()


def _copies(descriptors: Sequence[int]) -> list[int]:
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(os.dup(descriptor))
    except OSError:
        for copy in copies:
            os.close(copy)
        raise
    return copies


def peer_uid(peer: socket.socket) -> int:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
