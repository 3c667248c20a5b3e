"""Content in and out: exact, whole or not at all, and nobody held up by anybody."""

import hashlib
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.files.tools import FILES, delete, get, listed, put, refused
from tests.runtime.pod import Pod, text
from tests.runtime.waiting import eventually

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 17_000, 18_000, 65_536, 262_145, 100 * MIB])
def test_what_is_put_is_what_programs_read_and_what_is_got(pod: Pod, size: int) -> None:
    content = (os.urandom(min(size, MIB)) * (size // MIB + 1))[:size]
    info = put(pod, "new/deep/file.bin", content)
    assert (info["name"], info["href"]) == ("file.bin", "new/deep/file.bin")
    assert (info["type"], info["mode"]) == ("File", "0644")
    digest = hashlib.sha256(content).hexdigest()
    assert text(pod.bash("sha256sum < new/deep/file.bin")) == f"{digest}  -\n"
    answer = get(pod, "new/deep/file.bin")
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digest)
    assert answer.headers["Content-Length"] == str(size)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    head = pod.exchange("HEAD", FILES + "new/deep/file.bin")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "ETag", "Last-Modified"):
        assert head.headers[name] == answer.headers[name]
    assert delete(pod, "new?recursive=true") == 404  # a name with a question mark
    assert delete(pod, "new", "?recursive=true") == 204
    assert refused(get(pod, "new/deep/file.bin")) == (404, "NotFound")


def test_a_put_says_whether_it_was_new_and_keeps_the_mode_asked_for(pod: Pod) -> None:
    path = FILES + "tool"
    assert pod.exchange("PUT", path + "?mode=0755", raw=b"#!/bin/sh\necho ran\n").status == 201
    assert text(pod.bash("./tool; stat -c '%a %U' tool")).startswith("ran\n755 ")
    assert pod.exchange("PUT", path, raw=b"x").status == 200
    assert text(pod.bash("stat -c %a tool")) == "644\n"
    assert refused(pod.exchange("PUT", path + "?mode=4755", raw=b"x")) == (422, "InvalidRequest")
    exclusive = {"If-None-Match": "*"}
    answer = pod.exchange("PUT", path, raw=b"y", headers=exclusive)
    assert refused(answer) == (412, "Exists")
    assert get(pod, "tool").body == b"x"
    delete(pod, "tool")
    assert pod.exchange("PUT", path, raw=b"y", headers=exclusive).status == 201


def test_exclusive_puts_at_once_have_one_winner(pod: Pod) -> None:
    answers = []

    def write(number: int) -> None:
        content = bytes([number]) * MIB
        answer = pod.exchange("PUT", FILES + "mine", raw=content, headers={"If-None-Match": "*"})
        answers.append((answer.status, number))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (winner,) = [number for status, number in answers if status == 201]
    assert sorted(status for status, _ in answers) == [201] + [412] * 5
    assert get(pod, "mine").body == bytes([winner]) * MIB
    delete(pod, "mine")


def test_overwriting_is_all_or_nothing_for_every_reader(pod: Pod) -> None:
    contents = [bytes([letter]) * MIB for letter in b"ab"]
    put(pod, "page", contents[0])
    program = f"""
import os
seen = set()
while not os.path.exists("stop"):
    with open("page", "rb") as file:
        data = file.read()
    seen.add((len(data), bytes(set(data))))
print(sorted(seen) == [({MIB}, b"a"), ({MIB}, b"b")])
"""
    reading = pod.submit(language="python", code=program)
    seen = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(get(pod, "page").body)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        put(pod, "page", contents[number % 2])
    done.set()
    reader.join()
    put(pod, "stop", b"")
    assert text(pod.get(reading["id"], "?wait=30s")) == "True\n"
    assert seen == set(contents)
    pod.bash("rm page stop")


def test_a_reader_keeps_the_version_that_it_began_with(pod: Pod) -> None:
    put(pod, "versions", b"1" * 20 * MIB)
    with pod.stream("GET", FILES + "versions") as answer:
        first = answer.read(MIB)
        put(pod, "versions", b"2" * MIB)
        assert set(first + answer.read()) == {ord("1")}
    assert get(pod, "versions").body == b"2" * MIB
    delete(pod, "versions")


def test_private_files_of_programs_are_readable_and_replaceable(pod: Pod) -> None:
    made = pod.python(
        "import os, tempfile\n"
        "d = tempfile.mkdtemp(dir='.'); os.rename(d, 'private')\n"
        "open(os.open('private/f', os.O_CREAT | os.O_WRONLY, 0o600), 'w').write('secret')"
    )
    assert made["exitCode"] == 0, made
    assert get(pod, "private/f").body == b"secret"
    assert [entry["mode"] for entry in listed(pod, "private")] == ["0600"]
    put(pod, "private/f", b"new")
    assert text(pod.bash("cat private/f; chmod 000 private/f")) == "new"
    assert refused(get(pod, "private/f")) == (403, "PermissionDenied")
    assert delete(pod, "private", "?recursive=true") == 204


def test_ranges_and_conditions(pod: Pod) -> None:
    put(pod, "ranged", bytes(range(100)))
    whole = get(pod, "ranged")
    tag = whole.headers["ETag"]
    for header, first, last in (("bytes=10-19", 10, 20), ("bytes=-5", 95, 100)):
        answer = get(pod, "ranged", {"Range": header})
        assert (answer.status, answer.body) == (206, bytes(range(first, last)))
        assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/100"
        assert answer.headers["Content-Length"] == str(last - first)
    answer = get(pod, "ranged", {"Range": "bytes=100-"})
    assert refused(answer) == (416, "RangeNotSatisfiable")
    assert answer.headers["Content-Range"] == "bytes */100"
    assert get(pod, "ranged", {"If-None-Match": tag}).status == 304
    assert pod.exchange("HEAD", FILES + "ranged", headers={"If-None-Match": tag}).status == 304
    assert get(pod, "ranged", {"Range": "bytes=0-0", "If-Range": tag}).status == 206
    pod.bash("printf x >> ranged")
    assert get(pod, "ranged", {"If-None-Match": tag}).status == 200
    assert get(pod, "ranged", {"Range": "bytes=0-0", "If-Range": tag}).status == 200
    delete(pod, "ranged")


def test_a_file_that_becomes_shorter_while_it_is_read_is_no_whole_answer(pod: Pod) -> None:
    put(pod, "shrinks", bytes(50 * MIB))
    with pod.stream("GET", FILES + "shrinks") as answer:
        answer.read(1000)
        pod.bash("truncate -s 1000000 shrinks")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    assert len(get(pod, "shrinks").body) == 1_000_000
    delete(pod, "shrinks")


def test_a_file_that_grows_while_it_is_read_ends_where_it_was_said(pod: Pod) -> None:
    put(pod, "grows", bytes(20 * MIB))
    with pod.stream("GET", FILES + "grows") as answer:
        answer.read(1000)
        pod.bash("head -c 1000000 /dev/zero >> grows")
        assert len(answer.read()) == 20 * MIB - 1000
    delete(pod, "grows")


@pytest.fixture
def raw(pod: Pod) -> Iterator["RawClient"]:
    client = RawClient(pod)
    yield client
    client.socket.close()


class RawClient:
    """Sends the beginning of a PUT and then what it likes."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.socket = socket.create_connection((pod.host, pod.port), timeout=20)

    def begin(self, path: str, *headers: str) -> None:
        lines = [f"PUT {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.pod.token()}"]
        self.socket.sendall("\r\n".join([*lines, *headers, "", ""]).encode())

    def answer(self) -> bytes:
        return self.socket.recv(65536)


def wait_for_transfers(pod: Pod, count: int) -> None:
    """Until so many are under way."""
    line = f"paddock_runtime_file_transfers {count}\n".encode()
    eventually(lambda: line in pod.exchange("GET", "/metrics").body, f"{count} transfers")


@pytest.mark.parametrize("ending", ["close", "reset", "short chunks"])
def test_an_uploader_that_vanishes_changes_nothing(pod: Pod, raw: RawClient, ending: str) -> None:
    put(pod, "kept", b"old")
    chunked = ending == "short chunks"
    raw.begin(FILES + "kept", "Transfer-Encoding: chunked" if chunked else "Content-Length: 99999")
    raw.socket.sendall(b"5\r\nhalf \r\n" if chunked else b"half " * 1000)
    wait_for_transfers(pod, 1)
    if ending == "reset":
        linger = b"\1\0\0\0\0\0\0\0"
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    raw.socket.close()
    wait_for_transfers(pod, 0)
    assert get(pod, "kept").body == b"old"
    assert text(pod.bash("ls -A | grep paddock; echo none")) == "none\n"
    delete(pod, "kept")


def test_a_slow_uploader_holds_up_nobody(pod: Pod, raw: RawClient) -> None:
    raw.begin(FILES + "slow", "Content-Length: 10")
    for letter in b"0123456789":
        assert refused(get(pod, "slow")) == (404, "NotFound")
        put(pod, "quick", b"x")
        raw.socket.sendall(bytes([letter]))
    assert raw.answer().startswith(b"HTTP/1.1 201")
    assert get(pod, "slow").body == b"0123456789"
    pod.bash("rm slow quick")


def test_a_body_without_a_length(pod: Pod, raw: RawClient) -> None:
    raw.begin(FILES + "chunked", "Transfer-Encoding: chunked")
    raw.socket.sendall(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    assert raw.answer().startswith(b"HTTP/1.1 201")
    assert get(pod, "chunked").body == b"abcdefg"
    delete(pod, "chunked")


def test_a_body_is_asked_for_only_when_it_is_wanted(pod: Pod, raw: RawClient) -> None:
    raw.begin(FILES + "../x", "Content-Length: 5", "Expect: 100-continue")
    assert raw.answer().startswith(b"HTTP/1.1 422")
    wanted = RawClient(pod)
    wanted.begin(FILES + "wanted", "Content-Length: 5", "Expect: 100-continue")
    assert wanted.answer() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wanted.socket.sendall(b"hello")
    assert wanted.answer().startswith(b"HTTP/1.1 201")
    wanted.socket.close()
    assert get(pod, "wanted").body == b"hello"
    delete(pod, "wanted")


def test_what_a_put_cannot_keep_is_refused(pod: Pod) -> None:
    for name, value in (("Content-Encoding", "gzip"), ("If-Match", '"x"'), ("Content-Range", "x")):
        answer = pod.exchange("PUT", FILES + "odd", raw=b"x", headers={name: value})
        assert refused(answer) == (422, "InvalidRequest")
        assert name in answer.json()["detail"]
    assert get(pod, "odd").status == 404


def resident(pod: Pod) -> int:
    """Bytes of the runtime's memory."""
    return int(Path(f"/proc/{pod.runtime_pid()}/statm").read_text().split()[1]) * 4096


def test_a_reader_that_takes_nothing_costs_no_memory(pod: Pod) -> None:
    put(pod, "large", bytes(100 * MIB))
    before = resident(pod)
    with pod.stream("GET", FILES + "large") as answer:
        answer.read(1)
        time.sleep(0.5)
        assert resident(pod) - before < 8 * MIB
    wait_for_transfers(pod, 0)
    delete(pod, "large")


def test_without_a_token_nothing_is_said(pod: Pod) -> None:
    put(pod, "secret", b"x")
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert pod.exchange(method, FILES + "secret", token="x", raw=b"y").status == 401
    for request in ("GET /v1/directories", "PUT /v1/directories/d", "POST /v1/move"):
        assert pod.exchange(*request.split(), token="x").status == 401
    assert get(pod, "secret").body == b"x"
    delete(pod, "secret")
