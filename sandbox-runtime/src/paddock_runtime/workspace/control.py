"""The workspace's end of the control socket."""

import contextlib
import os
import socket
import struct
import time

from ..protocol import OVER_NAME, PEER_NAME, SOCKET_NAME
from .settings import Settings

FIRST_DELAY, LONGEST_DELAY = 0.005, 0.1


def connect(settings: Settings) -> socket.socket | None:
    """Wait for the runtime's listener, for as long as it takes, and connect to it.

    None: the runtime has left word that the sandbox is over.
    """
    delay = FIRST_DELAY
    while not os.path.exists(f"{settings.control_dir}/{OVER_NAME}"):  # noqa: PTH110
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _connect(control, settings.control_dir)
            if settings.runtime_uid is None or peer_uid(control) == settings.runtime_uid:
                return control
        except OSError:
            pass
        control.close()
        time.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY)
    return None


def _connect(control: socket.socket, directory: str) -> None:
    """From an address that user code cannot have; the kernel tells it to the runtime."""
    own = f"{directory}/{PEER_NAME}{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(own)  # noqa: PTH108
    control.bind(own)
    try:
        control.connect(f"{directory}/{SOCKET_NAME}")
    finally:
        os.unlink(own)  # noqa: PTH108


def peer_uid(control: socket.socket) -> int:
    credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
