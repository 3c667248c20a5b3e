"""The body of a context: a forked child that runs one cell after another.

User code shares this process. It could write to the channel and to the results' pipe, or take
the whole loop apart; with that it fools or ends its own context and nothing else. So that
programs it starts do not hold them by accident, all descriptors here close on exec.
"""

import array
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from .display import Results
from .interpreter import Interpreter
from .interrupts import Interrupts
from .python_streams import flush, open_streams


def serve(channel: socket.socket, environment: dict[str, str]) -> NoReturn:
    """Say `{"ready": true}`, then run what comes, until the channel ends.

    The process is confined, in its directory, and has `environment` as its own already. A
    message is any JSON with four descriptors or five: a memfd with JSON `{"code": str}`, stdout,
    stderr, the results' pipe, stdin. The answer is `{"done": exit code, "interrupted": bool}`.
    """
    _connect(None, None, None)
    if sys.stdout is not None:  # somebody may be watching
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    interrupts = Interrupts(channel)
    interpreter = Interpreter(interrupts, environment)
    channel.send(b'{"ready": true}')
    while True:
        interrupts.await_cell()
        message, descriptors = _receive(channel)
        if not message:
            os._exit(0)
        request, stdout, stderr, pipe, *stdin = descriptors
        code = json.loads(os.pread(request, os.fstat(request).st_size, 0))["code"]
        flush(sys.__stdout__)  # of threads that were left: not for this cell
        flush(sys.__stderr__)
        _connect(stdin[0] if stdin else None, stdout, stderr)
        _close([request, stdout, stderr, *stdin])
        results = Results(pipe)
        outcome = interpreter.run(code, results)
        _connect(None, None, None)
        if stdin:
            _forget_stdin(environment)
        results.close()
        said = {"done": outcome.exit_code, "interrupted": outcome.interrupted}
        channel.send(json.dumps(said).encode())


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """socket.recv_fds ignores its flags."""
    descriptors = array.array("i")
    room = socket.CMSG_LEN(5 * descriptors.itemsize)
    message, parts, _, _ = channel.recvmsg(4096, room, socket.MSG_CMSG_CLOEXEC)
    for _, _, data in parts:
        descriptors.frombytes(data)
    return message, list(descriptors)


def _connect(*descriptors: int | None) -> None:
    """Make them 0, 1 and 2. In place of None there is /dev/null, for threads that were left."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number, descriptor in enumerate(descriptors):
        os.dup2(nothing if descriptor is None else descriptor, number)
    if nothing > 2:  # user code may have closed one of them
        os.close(nothing)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        if descriptor > 2:
            os.close(descriptor)


def _forget_stdin(environment: dict[str, str]) -> None:
    """What was read ahead is not the next cell's."""
    try:
        if sys.__stdin__ is not None:
            sys.__stdin__.read()
    except Exception:  # closed, or not text
        open_streams(bool(environment.get("PYTHONUNBUFFERED")))
