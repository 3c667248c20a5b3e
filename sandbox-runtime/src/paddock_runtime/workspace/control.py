"""The workspace's end of the control socket."""

import os
import socket
import struct
import time

from ..protocol import SOCKET_NAME
from .settings import Settings

FIRST_DELAY, LONGEST_DELAY = 0.005, 0.1


def connect(settings: Settings) -> socket.socket:
    """Wait for the runtime's listener, for as long as it takes, and connect to it."""
    path = os.path.join(settings.control_dir, SOCKET_NAME)  # noqa: PTH118
    delay = FIRST_DELAY
    while True:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            control.connect(path)
            if settings.runtime_uid is None or peer_uid(control) == settings.runtime_uid:
                return control
        except OSError:
            pass
        control.close()
        time.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY)


def peer_uid(control: socket.socket) -> int:
    credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
