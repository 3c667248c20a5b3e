"""Limits on bytes, count and transfers: each refusal beside what still works."""

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Iterator

import pytest
from tests.runtime.files.tools import DIRECTORIES, FILES, delete, get, listed, put, refused
from tests.runtime.pod import Pod, text

MIB = 1 << 20


@pytest.fixture(scope="module")
def limited() -> Iterator[Pod]:
    with Pod(limits={"fileBytes": 4 * MIB, "diskBytes": 10 * MIB}) as made:
        yield made


@pytest.fixture
def tight(limited: Pod) -> Iterator[Pod]:
    """The same for all, empty for each."""
    yield limited
    limited.bash("rm -rf * $TMPDIR/* && sleep 0.6")


def chunked(pod: Pod, path: str, size: int) -> tuple[int, bytes]:
    """Status and answer of a PUT that does not say how much will come."""
    connection = http.client.HTTPConnection(pod.host, pod.port, timeout=20)
    headers = {"Authorization": f"Bearer {pod.token()}", "Transfer-Encoding": "chunked"}
    pieces = (bytes(64 << 10) for _ in range(size // (64 << 10)))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
        connection.request("PUT", FILES + path, pieces, headers, encode_chunked=True)
    try:
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_file_that_is_too_large(tight: Pod) -> None:
    answer = tight.exchange("PUT", FILES + "big", raw=bytes(4 * MIB + 1))
    assert refused(answer) == (413, "FileTooLarge")
    assert str(4 * MIB) in answer.json()["detail"]
    status, said = chunked(tight, "big", 6 * MIB)
    assert (status, b"FileTooLarge" in said) == (413, True)
    assert listed(tight) == []
    put(tight, "big", bytes(4 * MIB))
    assert chunked(tight, "big", 4 * MIB)[0] == 200
    assert delete(tight, "big") == 204


def test_all_files_together(tight: Pod) -> None:
    for number in range(2):
        put(tight, f"part{number}", bytes(4 * MIB))
    answer = tight.exchange("PUT", FILES + "part2", raw=bytes(3 * MIB))
    assert refused(answer) == (507, "DiskFull")
    said = answer.json()["detail"]
    assert f"disk limit of {10 * MIB}" in said
    assert f"{3 * MIB + 4096} more" in said
    assert chunked(tight, "part2", 3 * MIB)[0] == 507
    assert get(tight, "part2").status == 404
    put(tight, "small", bytes(MIB))
    assert delete(tight, "part0") == 204
    put(tight, "part2", bytes(3 * MIB))  # at once: what was deleted counts no more
    tight.bash("rm *")
    put(tight, "part0", bytes(4 * MIB))
    delete(tight, "part0")


def test_what_programs_write_counts_too(tight: Pod) -> None:
    tight.bash("for i in 1 2; do head -c 3M /dev/zero > program$i; done; cp program1 $TMPDIR/x")
    time.sleep(2)  # for so long an earlier look may be believed
    assert refused(tight.exchange("PUT", FILES + "x", raw=bytes(2 * MIB))) == (507, "DiskFull")
    tight.bash("rm $TMPDIR/x")
    put(tight, "x", bytes(2 * MIB))


def test_empty_files_take_room_as_well(tight: Pod) -> None:
    connection = tight.connect()
    made = 0
    while True:
        answer = tight.exchange("PUT", f"{FILES}e/{made}", connection=connection)
        if answer.status != 201:
            break
        made += 1
    assert refused(answer) == (507, "DiskFull")
    assert 2500 <= made <= 10 * MIB // 4096
    answer = tight.exchange("PUT", DIRECTORIES + "e/dir", connection=connection)
    assert refused(answer) == (507, "DiskFull")
    connection.close()
    assert tight.exchange("PUT", DIRECTORIES + "e").status == 507  # nothing is reserved beforehand
    ended = tight.bash("for i in $(seq 3000); do : > f$i; done; sleep 5")
    assert ended["reason"] == "DiskLimit", ended
    assert delete(tight, "e", "?recursive=true") == 204
    tight.bash("sleep 0.6; rm -f f*")
    put(tight, "x", b"x")
    delete(tight, "x")


def test_uploads_that_are_under_way_count_together(tight: Pod) -> None:
    held = []
    for number in range(2):
        connection = socket.create_connection((tight.host, tight.port), timeout=20)
        length = f"Host: x\r\nContent-Length: {4 * MIB}\r\nExpect: 100-continue\r\n\r\n"
        head = f"Authorization: Bearer {tight.token()}\r\n{length}"
        connection.sendall(f"PUT {FILES}held{number} HTTP/1.1\r\n{head}".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # there is room for it
        held.append(connection)
    answer = tight.exchange("PUT", FILES + "third", raw=bytes(3 * MIB))
    assert refused(answer) == (507, "DiskFull")
    for connection in held:
        connection.close()
    while b"file_transfers 0\n" not in tight.exchange("GET", "/metrics").body:
        time.sleep(0.01)
    put(tight, "third", bytes(3 * MIB))
    assert [entry["name"] for entry in listed(tight)] == ["third"]
    delete(tight, "third")


def test_at_most_eight_transfers_at_once(pod: Pod) -> None:
    put(pod, "file", b"x")
    held = []
    for number in range(8):
        connection = socket.create_connection((pod.host, pod.port), timeout=20)
        head = f"Authorization: Bearer {pod.token()}\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
        connection.sendall(f"PUT {FILES}held{number} HTTP/1.1\r\n{head}".encode())
        held.append(connection)
    while b"file_transfers 8\n" not in pod.exchange("GET", "/metrics").body:
        time.sleep(0.01)
    for method in ("GET", "PUT"):
        answer = pod.exchange(method, FILES + "file", raw=b"")
        assert refused(answer) == (429, "TooManyTransfers")
        assert answer.headers["Retry-After"] == "1"
    assert pod.exchange("HEAD", FILES + "file").status == 200  # asking is no transfer
    assert text(pod.bash("echo runs")) == "runs\n"
    for number, connection in enumerate(held):
        connection.sendall(b"%d" % number)
        assert connection.recv(1000).startswith(b"HTTP/1.1 201")
        connection.close()
    assert get(pod, "held7").body == b"7"
    pod.bash("rm held* file")


def test_descriptors_do_not_pile_up(pod: Pod) -> None:
    connection = pod.connect()

    def open_now() -> int:
        return len(os.listdir(f"/proc/{pod.runtime_pid()}/fd"))  # noqa: PTH208

    def once() -> None:
        pod.exchange("PUT", FILES + "fds/x", raw=b"x", connection=connection)
        for path in ("fds/x", "fds", "fds/none", "../x"):
            for method in ("GET", "HEAD"):
                pod.exchange(method, FILES + path, connection=connection)
        pod.exchange("GET", DIRECTORIES + "fds", connection=connection)
        pod.exchange("PUT", FILES + "fds", raw=b"x", connection=connection)
        pod.exchange("DELETE", FILES + "fds?recursive=true", connection=connection)

    once()
    before = open_now()
    for _ in range(30):
        once()
    assert open_now() <= before
    connection.close()
