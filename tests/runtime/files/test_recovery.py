"""What happens to files and requests when a process dies; and what counts as use."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.runtime.files.tools import DIRECTORIES, FILES, delete, get, listed, put, refused
from tests.runtime.pod import AS_ROOT, Pod, text
from tests.runtime.waiting import PATIENCE, eventually


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def file_server(pod: Pod) -> int:
    """Its pid, as this test sees it."""
    for child in children(pod.fork_server()):
        if Path(f"/proc/{child}/comm").read_text() == "paddock-files\n":
            return child
    raise AssertionError("there is no file server")


def wait_for_another(pod: Pod, count: int) -> None:
    line = f"file_server_connections {count}\n".encode()
    eventually(lambda: line in pod.exchange("GET", "/metrics").body, "a new file server")


def start_put(pod: Pod, path: str, sent: bytes, length: int) -> socket.socket:
    connection = socket.create_connection((pod.host, pod.port), timeout=20)
    head = f"Authorization: Bearer {pod.token()}\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(f"PUT {FILES}{path} HTTP/1.1\r\n{head}".encode() + sent)
    while b"file_transfers 1\n" not in pod.exchange("GET", "/metrics").body:
        time.sleep(0.005)
    return connection


def test_another_file_server_takes_over() -> None:
    with Pod() as pod:
        put(pod, "kept", bytes(50 << 20))
        running = pod.submit(language="bash", code="sleep 2; echo undisturbed")
        for count in range(2, 5):
            half = start_put(pod, "new", b"12", 4)
            with half, pod.stream("GET", FILES + "kept") as answer:
                answer.read(1000)
                os.kill(file_server(pod), signal.SIGKILL)
                wait_for_another(pod, count)
                # A descriptor that was passed on needs nobody any more.
                assert len(answer.read()) == (50 << 20) - 1000
                half.sendall(b"34")
                said = half.recv(2000)
                assert said.startswith(b"HTTP/1.1 503"), said
                assert b"repeated" in said
            assert [entry["name"] for entry in listed(pod)] == ["kept"]
            put(pod, f"round{count}", b"x")
            delete(pod, f"round{count}")
        assert text(pod.get(running["id"], "?wait=10s")) == "undisturbed\n"
        assert len(children(pod.fork_server())) <= 2


def test_requests_in_flight_when_it_dies_are_told_or_done() -> None:
    with Pod() as pod:
        put(pod, "x", b"x")
        statuses: set[int] = set()
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                statuses.add(get(pod, "x").status)

        with ThreadPoolExecutor(3) as clients:
            asking = [clients.submit(ask) for _ in range(3)]
            try:
                for count in range(2, 5):
                    time.sleep(1.1)  # one that lived for less is restarted after a pause
                    os.kill(file_server(pod), signal.SIGKILL)
                    wait_for_another(pod, count)
            finally:
                over.set()
        for each in asking:
            each.result()
        assert 200 in statuses
        assert statuses <= {200, 503}


def test_one_that_hangs_holds_up_files_and_nothing_else() -> None:
    with Pod() as pod:
        put(pod, "x", b"x")
        server = file_server(pod)
        os.kill(server, signal.SIGSTOP)
        waiting = threading.Thread(target=lambda: get(pod, "x"))
        waiting.start()
        time.sleep(0.1)
        assert text(pod.bash("cat x")) == "x"
        assert pod.exchange("GET", "/readyz").status == 200
        os.kill(server, signal.SIGCONT)
        waiting.join(5)
        assert not waiting.is_alive()
        assert get(pod, "x").body == b"x"


def test_files_survive_every_other_death() -> None:
    with Pod() as pod:
        put(pod, "kept", b"x")
        half = start_put(pod, "half", b"12", 4)
        pod.kill_fork_server()
        line = b"workspace_connections 2\n"
        eventually(lambda: line in pod.exchange("GET", "/metrics").body, "a new workspace")
        half.sendall(b"34")
        assert half.recv(2000).startswith(b"HTTP/1.1 503")
        half.close()
        assert get(pod, "kept").body == b"x"
        half = start_put(pod, "half", b"12", 4)
        pod.crash_runtime()
        half.close()
        pod.wait_ready()
        assert get(pod, "kept").body == b"x"
        assert [entry["name"] for entry in listed(pod)] == ["kept"]
        assert text(pod.bash("ls -A")) == "kept\n"


def test_nothing_is_left_of_it_when_the_sandbox_ends() -> None:
    with Pod() as pod:
        put(pod, "x", b"x")
        half = start_put(pod, "half", b"12", 4)
        assert pod.terminate() == (0, 0)
        half.close()
        if AS_ROOT:
            assert pod.user_processes() == []
        assert sorted(path.name for path in pod.work.iterdir()) == ["x"]


def test_before_the_workspace_is_there_files_are_told_to_wait() -> None:
    pod = Pod()
    try:
        pod.start_runtime()
        for _ in range(300):
            try:
                answer = get(pod, "x")
            except OSError:
                time.sleep(0.02)
                continue
            break
        assert refused(answer) == (503, "FileServerNotReady")
        pod.start_workspace()
        pod.wait_ready()
        put(pod, "x", b"x")
    finally:
        pod.__exit__()


def ended_by_idleness(pod: Pod) -> bool:
    assert pod.runtime is not None
    return pod.runtime.poll() is not None


@pytest.mark.parametrize("use", ["put", "get", "mkdir", "delete", "move"])
def test_reading_writing_and_changing_is_use(use: str) -> None:
    with Pod() as pod:
        put(pod, "x", b"x")
        pod.configure(idleTimeoutMs=2000)
        end = time.monotonic() + 4
        number = 0
        while time.monotonic() < end:
            number += 1
            if use == "put":
                put(pod, f"n{number}", b"")
            elif use == "get":
                assert get(pod, "x").status == 200
            elif use == "mkdir":
                pod.exchange("PUT", DIRECTORIES + f"d{number}")
            elif use == "delete":
                (pod.work / f"n{number}").touch()
                assert delete(pod, f"n{number}") == 204
            else:
                names = ("x", "y") if number % 2 else ("y", "x")
                body = {"source": names[0], "target": names[1]}
                assert pod.exchange("POST", "/v1/move", body).status == 200
            time.sleep(0.2)
        assert not ended_by_idleness(pod)


def test_asking_what_is_there_is_no_use() -> None:
    with Pod() as pod:
        put(pod, "x", b"x")
        pod.configure(idleTimeoutMs=900)
        deadline = time.monotonic() + 5
        while not ended_by_idleness(pod) and time.monotonic() < deadline:
            try:
                pod.exchange("HEAD", FILES + "x")
                pod.exchange("GET", "/v1/directories")
            except OSError:
                time.sleep(0.05)
            time.sleep(0.05)
        assert ended_by_idleness(pod)


def test_a_long_transfer_is_use_however_slow() -> None:
    with Pod() as pod:
        pod.configure(idleTimeoutMs=1500)
        half = start_put(pod, "slow", b"1", 2)
        time.sleep(3)
        half.sendall(b"2")
        assert half.recv(1000).startswith(b"HTTP/1.1 201")
        half.close()
        assert get(pod, "slow").body == b"12"


def test_an_ending_sandbox_takes_no_files() -> None:
    with Pod() as pod:
        put(pod, "x", b"x")
        pod.submit(
            language="python",
            code="import signal, time\n"
            "for n in range(1, 65):\n"
            "    try: signal.signal(n, signal.SIG_IGN)\n"
            "    except (OSError, ValueError): pass\n"
            "open('deaf', 'w')\n"
            "while True: time.sleep(1)",
        )
        while not (pod.work / "deaf").exists():
            time.sleep(0.01)
        pod.end()
        statuses = set()
        try:
            while True:
                statuses.add(pod.exchange("PUT", FILES + "late", raw=b"x").status)
        except OSError:
            pass
        assert statuses <= {200, 201, 503}
        assert pod.runtime is not None
        assert pod.runtime.wait(PATIENCE) == 0
