"""The whole workspace is user code's: what the runtime hears from it may be anything."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.pod import Pod
from tests.runtime.waiting import eventually


class Hostile:
    """Speaks the control protocol in the fork server's place."""

    def __init__(self, pod: Pod) -> None:
        self._control = pod.base / "control"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(self._control / f"workspace-{os.urandom(4).hex()}"))
        before = connections(pod)
        eventually(self._connects, "a runtime that listens")
        eventually(lambda: connections(pod) > before, "accepted")

    def _connects(self) -> bool:
        try:
            self.socket.connect(str(self._control / "control.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def say(self, message: bytes | dict[str, Any], descriptors: int = 0) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        memory = os.memfd_create("x")
        socket.send_fds(self.socket, [data], [memory] * descriptors)
        os.close(memory)


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    made = Pod()
    made.uid = os.getuid()
    made.start_runtime()
    try:
        eventually(lambda: answers(made), "a runtime")
        yield made
    finally:
        made.__exit__()


@pytest.fixture
def hostile(pod: Pod) -> Iterator[Hostile]:
    made = Hostile(pod)
    made.say({"type": "Hello"})
    pod.wait_ready()
    yield made
    made.socket.close()
    eventually(lambda: not pod.is_ready(), "the end of it")


def connections(pod: Pod) -> int:
    """Of workspaces, so far."""
    metrics = str(pod.call("GET", "/metrics")[1])
    return int(metrics.partition("\npaddock_runtime_workspace_connections ")[2].split()[0])


def descriptors(pod: Pod) -> int:
    return sum(1 for _ in Path(f"/proc/{pod.runtime_pid()}/fd").iterdir())


WRONG = {
    "a status as text": {"status": "x"},
    "a status that wait4 never gives": {"status": 1 << 40},
    "a message that is none": {"message": 5},
    "a reason that is none": {"kill_reason": []},
    "an endless duration": {"duration_ms": 10**400},
    "an id that is none": {"id": []},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_no_end_is_lost_by_one_that_makes_no_sense(
    pod: Pod, hostile: Hostile, wrong: dict[str, Any]
) -> None:
    running = pod.submit(language="bash", code="true")
    hostile.say({"type": "Ended", "id": running["id"], "status": 0, "duration_ms": 1, **wrong})
    ended = pod.get(running["id"], "?wait=20s")
    assert (ended["state"], ended["reason"]) == ("Finished", "WorkspaceLost")


def test_one_that_makes_sense_is_believed(pod: Pod, hostile: Hostile) -> None:
    running = pod.submit(language="bash", code="true")
    hostile.say({"type": "Ended", "id": running["id"], "status": 0, "duration_ms": 1})
    assert pod.get(running["id"], "?wait=20s")["reason"] == "Exited"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "Hello", "descriptors": 5},
        {"type": "Hello", "descriptors": ["oom", "oom", "peak"]},
        b'{"type":"Hello","capabilities":' + b"[" * 60_000,
        {"type": "Start"},
        {"type": []},
    ],
    ids=str,
)
def test_descriptors_that_nobody_asked_for_are_closed(
    pod: Pod, message: bytes | dict[str, Any]
) -> None:
    pod.call("GET", "/livez")
    before = descriptors(pod)
    for _ in range(10):
        hostile = Hostile(pod)
        hostile.say(message, descriptors=8)
        hostile.socket.close()
    eventually(lambda: descriptors(pod) <= before + 3, "closed")  # oom and peak are kept


def test_file_servers_that_are_no_sockets_are_closed(pod: Pod, hostile: Hostile) -> None:
    before = descriptors(pod)
    for _ in range(30):
        hostile.say({"type": "FileServer"}, descriptors=1)
    eventually(lambda: descriptors(pod) <= before + 2, "closed")
    assert pod.is_ready()


def test_who_takes_the_place_of_the_socket_stops_neither_the_runtime_nor_its_restart(
    pod: Pod,
) -> None:
    ended = pod.submit(language="bash", code="true")
    place = pod.base / "control" / "control.sock"
    hostile = Hostile(pod)
    hostile.say({"type": "Hello"})
    hostile.say({"type": "Ended", "id": ended["id"], "status": 0, "duration_ms": 1})
    assert pod.get(ended["id"], "?wait=20s")["reason"] == "Exited"
    place.mkdir()
    hostile.socket.close()
    eventually(lambda: not pod.is_ready(), "the end of it")
    pod.crash_runtime()
    eventually(lambda: answers(pod), "a runtime without a workspace")
    assert pod.get(ended["id"])["reason"] == "Exited"
    place.rmdir()
    again = Hostile(pod)
    again.say({"type": "Hello"})
    pod.wait_ready()
    again.socket.close()


def answers(pod: Pod) -> bool:
    try:
        return pod.call("GET", "/livez")[0] == 200
    except OSError:
        return False
