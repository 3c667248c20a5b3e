"""Nobody but the fork server of a workspace whose old user code is dead can be the workspace.

User code has the same user id as the fork server, so only what Landlock refuses it tells the two
apart. The attacks run while the fork server is stopped, which gives them all the time they want.
"""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from tests.runtime.pod import AS_ROOT, Pod, text
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.skipif(not AS_ROOT, reason="needs a user and PID namespace of its own")

ATTACK = """
import json, os, socket, sys, time
control, work = {control!r}, os.getcwd()
addresses = [
    None,
    "\\0" + control + "/workspace-1",
    control + "/workspace-1",
    control + "/../work/workspace-1",
    work + "/workspace-2",
    "workspace-3",
]
print("ready", flush=True)
open("attacking", "w").close()
hello = json.dumps({{"type": "Hello", "descriptors": [], "capabilities": {{}}}}).encode()
said, until = set(), time.monotonic() + 20
while time.monotonic() < until:
    for address in addresses:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as intruder:
            intruder.settimeout(0.3)
            try:
                if address is not None:
                    if not address.startswith("\\0") and os.path.exists(address):
                        os.unlink(address)
                    intruder.bind(address)
            except OSError as error:
                said.add(f"bind {{error.errno}}")
                continue
            try:
                intruder.connect(control + "/control.sock")
            except OSError:
                continue
            try:
                intruder.send(hello)
                got = intruder.recv(65536)
            except OSError as error:
                got = str(error).encode()
            with open("seen", "ab") as file:
                file.write(repr((address, got)).encode() + b"\\n")
"""


def in_control(pod: Pod) -> Path:
    return pod.base / "control" / "control.sock"


def wait_for(path: Path) -> None:
    eventually(path.exists, str(path))


def connected(intruder: socket.socket, path: Path) -> bool:
    """False while the socket is there and nobody listens yet."""
    with contextlib.suppress(ConnectionRefusedError):
        intruder.connect(str(path))
        return True
    return False


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("how", ["the runtime restarted", "the runtime gave it up"])
def test_user_code_of_the_old_workspace_cannot_be_the_new_one(how: str) -> None:
    with Pod() as pod:
        code = ATTACK.format(control=str(pod.base / "control"))
        attack = pod.submit(language="python", code=code, timeoutMs=25_000)
        wait_for(pod.work / "attacking")
        assert not lines(pod.work / "seen"), "there was something to connect to"
        old = pod.fork_server()
        os.kill(old, signal.SIGSTOP)
        if how == "the runtime restarted":
            pod.kill_runtime()
            pod.start_runtime()
        else:
            pod.call("DELETE", f"/v1/executions/{attack['id']}")
        for _ in range(1000):
            if len(lines(pod.work / "seen")) >= 12:
                break
            time.sleep(0.01)
        seen = lines(pod.work / "seen")
        assert len(seen) >= 12, "the attack never reached the socket"
        assert not [line for line in seen if "Start" in line]
        assert pod.call("GET", "/readyz")[1]["code"] == "WorkspaceNotReady"
        waiting = pod.submit(language="bash", code="echo genuine", stdin="secret")
        time.sleep(0.5)
        assert pod.get(waiting["id"])["state"] == "Pending"
        os.kill(old, signal.SIGCONT)
        ended = pod.get(waiting["id"], "?wait=20s")
        assert (ended["reason"], text(ended)) == ("Exited", "genuine\n")
        assert not [line for line in lines(pod.work / "seen") if "Start" in line]
        refused = [line for line in lines(pod.base / "runtime.log") if "control.refused" in line]
        assert len(refused) == 1, "told once, however often it is tried"
        assert pod.get(attack["id"])["reason"] in ("RuntimeRestarted", "Cancelled")
        assert not list((pod.base / "control").iterdir())


def test_user_code_cannot_put_anything_where_the_containers_meet(pod: Pod) -> None:
    program = f"""
import os, socket
control = {str(pod.base / "control")!r}
for attempt in (
    lambda: socket.socket(socket.AF_UNIX).bind(control + "/workspace-9"),
    lambda: socket.socket(socket.AF_UNIX).bind(control + "/control.sock"),
    lambda: open(control + "/over", "w"),
    lambda: os.symlink("/tmp", control + "/workspace-9"),
    lambda: os.mkdir(control + "/x"),
):
    try:
        attempt()
        print("done")
    except OSError as error:
        print(error.errno)
"""
    assert text(pod.python(program)) == "13\n" * 5


def test_nobody_else_can_be_the_workspace(pod: Pod) -> None:
    assert not list((pod.base / "control").iterdir())
    with Pod() as other:
        os.kill(other.fork_server(), signal.SIGSTOP)
        other.kill_runtime()
        other.start_runtime()
        wait_for(in_control(other))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as intruder:
            intruder.settimeout(2)
            intruder.bind(str(other.base / "control" / "workspace-9"))
            # as root, which is not the workspace's user
            eventually(lambda: connected(intruder, in_control(other)), "somebody who listens")
            assert intruder.recv(10) == b""
        assert in_control(other).exists()
        assert "control.refused" in (other.base / "runtime.log").read_text()
        os.kill(other.fork_server(), signal.SIGCONT)
        other.wait_ready()
