"""A fork server of a few lines, run as a program: only what a context's child sees of the real one.

Argument: the descriptor of a SEQPACKET socket. `{"env", "cwd"}` with a channel forks a context
and answers its pid; `{"wait": pid}` answers its wait status.
"""

import json
import os
import socket
import sys

from paddock_runtime.workspace import python_main
from paddock_runtime.workspace.context_main import serve
from paddock_runtime.workspace.preload import STANDARD, preload


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    base = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    preload(STANDARD.split())
    python_main.settle(base, "/")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
        if not message:
            return
        request = json.loads(message)
        if "wait" in request:
            answer = os.waitpid(request["wait"], 0)[1]
        else:
            channel = socket.socket(fileno=descriptors[0])
            channel.set_inheritable(False)  # as that of a socketpair() is
            answer = os.fork()
            if answer == 0:
                control.close()
                context(channel, request)
            channel.close()
        control.send(json.dumps(answer).encode())


def context(channel: socket.socket, request: dict) -> None:
    os.setsid()
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    python_main.rehearse()
    environment = {**os.environ, **request["env"]}
    python_main.prepare_main(environment)
    serve(channel, environment)


main()
