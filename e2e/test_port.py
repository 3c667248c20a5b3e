"""Who shares the pod's network, as user code does where its template lets it, and the port."""

import subprocess

from e2e import runtime_pod
from e2e.installation import Paddock
from e2e.kube import Kube
from tests.runtime.box import Template, text

from paddock_runtime.server.connections import OWN

HOLD = """
import socket, sys, time
held = [socket.create_connection(("127.0.0.1", 8090)) for _ in range(150)]
time.sleep(0.5)
def lives(connection):
    connection.setblocking(False)
    try: return bool(connection.recv(1))
    except BlockingIOError: return True
    except OSError: return False
print(sum(map(lives, held)), flush=True)
sys.stdin.read()
"""


def test_the_pod_itself_cannot_take_the_port_from_others(
    kube: Kube, paddock: Paddock, shared_namespace: str
) -> None:
    """By kubectl exec, which nothing confines: code of a session could not even make a socket."""
    with runtime_pod.running(kube, shared_namespace, "port", Template("port")) as pod:
        command = [*kube.kubectl.command, "exec", "-i", "port", "-n", shared_namespace]
        held = subprocess.Popen(
            [*command, "-c", "workspace", "--", "python3", "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert held.stdout is not None
            assert int(held.stdout.readline()) == OWN
            assert pod.is_ready()
            assert pod.python("print(1)")["exitCode"] == 0
            refused = pod.python("import socket; socket.create_connection(('127.0.0.1', 8090))")
            assert "Error" in text(refused, "stderr")
        finally:
            held.communicate(timeout=20)
