"""The runtime's link, in this process, to a file server that is slow, wrong or gone."""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.files.tools import open_descriptors

from paddock_api.messages import Limits
from paddock_runtime import file_protocol as wire
from paddock_runtime.server import file_link
from paddock_runtime.server.file_link import FileLink
from paddock_runtime.server.files import Files
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.problems import ProblemError

ENTRY = asdict(wire.Entry("x", "File", 1, 0o644, 5, "1-2"))


class FakeServer:
    """The other end of a link; says what it is told to say."""

    def __init__(self, connect: Callable[[int], None]) -> None:
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.setblocking(False)
        connect(theirs.detach())

    async def asked(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        asked: dict[str, Any] = json.loads(await loop.sock_recv(self.end, wire.MAX_MESSAGE))
        return asked

    def say(self, data: bytes | dict[str, Any], descriptors: list[int] | None = None) -> None:
        text = data if isinstance(data, bytes) else json.dumps(data).encode()
        socket.send_fds(self.end, [text], descriptors or [])

    def say_with_a_descriptor(self, data: bytes | dict[str, Any]) -> None:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.say(data, [descriptor])
        os.close(descriptor)


@pytest.fixture
async def link() -> AsyncIterator[FileLink]:
    made = FileLink()
    yield made
    made.lost()


Serve = Callable[[FileLink | Files], FakeServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    made: list[FakeServer] = []

    def make(whom: FileLink | Files) -> FakeServer:
        made.append(FakeServer(whom.connect))
        return made[-1]

    yield make
    for server in made:
        server.end.close()


async def creating(
    link: FileLink, server: FakeServer
) -> tuple[asyncio.Task[tuple[wire.Answer, int]], dict[str, Any]]:
    """Somebody who waits for a new file's descriptor, and the answer that would give him one."""
    asking = asyncio.create_task(link.open(b"x", lambda n: wire.Create(n, "x", False)))
    return asking, {"number": (await server.asked())["number"], "upload": 9}


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0.005)


async def test_nobody_is_there(link: FileLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_link, "CONNECT_PATIENCE", 0.02)
    with pytest.raises(ProblemError) as caught:
        await link.ask(b"", wire.Measure)
    assert (caught.value.status, caught.value.problem.code) == (503, "FileServerNotReady")
    assert "repeated" in caught.value.problem.detail
    assert caught.value.headers["Retry-After"] == "1"


async def test_one_that_comes_in_a_moment_is_waited_for(link: FileLink, serve: Serve) -> None:
    asking = asyncio.create_task(link.ask(b"", wire.Measure))
    await settled()
    server = serve(link)
    server.say({"number": (await server.asked())["number"], "size": 7})
    assert (await asking).size == 7


async def test_answers_find_their_requests_in_any_order(link: FileLink, serve: Serve) -> None:
    server = serve(link)
    asking = [asyncio.create_task(link.ask(b"", wire.Measure)) for _ in range(20)]
    numbers = [(await server.asked())["number"] for _ in range(20)]
    for number in reversed(numbers):
        server.say({"number": number, "size": number * 10})
    sizes = [answer.size for answer in await asyncio.gather(*asking)]
    assert sizes == [number * 10 for number in numbers]


async def test_more_than_fit_at_once_wait_for_their_turn(link: FileLink, serve: Serve) -> None:
    server = serve(link)
    asking = [
        asyncio.create_task(link.ask(b"", wire.Measure)) for _ in range(file_link.IN_FLIGHT + 5)
    ]
    first = [await server.asked() for _ in range(file_link.IN_FLIGHT)]
    await settled()
    with pytest.raises(BlockingIOError):
        server.end.recv(100)
    for asked in first:
        server.say({"number": asked["number"]})
    for _ in range(5):
        server.say({"number": (await server.asked())["number"]})
    assert len(await asyncio.gather(*asking)) == file_link.IN_FLIGHT + 5


async def test_the_longest_paths_fit_a_message(link: FileLink, serve: Serve) -> None:
    server = serve(link)
    longest = wire.wire(b"\xff" * 4095)
    moving = asyncio.create_task(link.ask(b"", lambda n: wire.Move(n, longest, longest, True)))
    asked = await server.asked()
    assert (asked["source"], asked["target"]) == (longest, longest)
    server.say({"number": asked["number"]})
    await moving


WRONG = {
    "not JSON": b"\xff",
    "not an object": b"[]",
    "no number": {"size": 1},
    "a number as text": {"number": "1"},
    "an unknown error": {"number": 1, "error": "Trust me"},
    "a type that is none": {"number": 1, "entry": {**ENTRY, "type": "Door"}},
    "a size that is none": {"number": 1, "entry": {**ENTRY, "size": "1"}},
    "too deep": b"[" * 60_000,
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG.keys())
async def test_what_makes_no_sense_ends_the_connection(
    link: FileLink, serve: Serve, said: bytes | dict[str, Any]
) -> None:
    server = serve(link)
    before = open_descriptors()
    asking = asyncio.create_task(link.ask(b"", wire.Measure))
    await server.asked()
    server.say_with_a_descriptor(said)
    with pytest.raises(ProblemError, match="repeated"):
        await asking
    assert not link.connected
    assert open_descriptors() == before - 1
    server = serve(link)  # and the next one is as good as any
    asking = asyncio.create_task(link.ask(b"", wire.Measure))
    server.say({"number": (await server.asked())["number"], "size": 7})
    assert (await asking).size == 7


async def test_its_death_tells_whoever_waits(link: FileLink, serve: Serve) -> None:
    server = serve(link)
    asking = [asyncio.create_task(link.ask(b"", wire.Measure)) for _ in range(3)]
    await server.asked()
    server.end.close()
    for task in asking:
        with pytest.raises(ProblemError, match="repeated"):
            await task


async def test_one_that_hangs(
    link: FileLink, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_link, "PATIENCE", 0.05)
    server = serve(link)
    before = open_descriptors()
    asking, answer = await creating(link, server)
    with pytest.raises(ProblemError, match="FileServerBusy"):
        await asking
    server.say_with_a_descriptor(answer)
    assert await server.asked() == {"do": "Abort", "upload": 9}
    await settled()
    assert open_descriptors() == before


async def test_an_answer_in_the_moment_of_giving_up_leaves_nothing_open(
    link: FileLink, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_link, "PATIENCE", 0.05)
    server = serve(link)
    before = open_descriptors()
    asking, answer = await creating(link, server)
    server.say_with_a_descriptor(answer)
    time.sleep(0.1)  # noqa: ASYNC251 - both are due in the next turn of the loop
    with pytest.raises(ProblemError, match="FileServerBusy"):
        await asking
    assert await server.asked() == {"do": "Abort", "upload": 9}
    assert open_descriptors() == before


async def test_a_client_that_goes_before_its_answer_leaves_nothing_open(
    link: FileLink, serve: Serve
) -> None:
    server = serve(link)
    before = open_descriptors()
    for turns in range(4):  # cancelled before, with and after the arrival of the answer
        asking, answer = await creating(link, server)
        server.say_with_a_descriptor(answer)
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        try:
            _, descriptor = await asking
        except asyncio.CancelledError:
            assert await server.asked() == {"do": "Abort", "upload": 9}
        else:
            os.close(descriptor)
        await settled()
        assert open_descriptors() == before


async def test_a_descriptor_that_is_no_socket_is_not_taken(link: FileLink, tmp_path: Path) -> None:
    for made in (socket.socket(), socket.socket(socket.AF_UNIX)):
        link.connect(made.detach())
        assert not link.connected


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Files]:
    made = Files(Limits(disk_bytes=1 << 20), tmp_path, Metrics())
    yield made
    made.close()


async def test_only_regular_files_in_the_right_mode_are_taken(
    files: Files, serve: Serve, tmp_path: Path
) -> None:
    server = serve(files)
    (tmp_path / "file").write_bytes(b"content")
    os.mkfifo(tmp_path / "fifo")
    wrong = [
        os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK),
        os.open("/dev/zero", os.O_RDONLY),
        os.open(tmp_path, os.O_RDONLY),
        os.open(tmp_path / "file", os.O_WRONLY),
        os.open(tmp_path / "file", os.O_RDWR),
        os.open(tmp_path / "file", os.O_PATH),
        None,
    ]
    before = open_descriptors()
    for descriptor in wrong:
        asking = asyncio.create_task(files.open(b"file"))
        asked = await server.asked()
        server.say({"number": asked["number"]}, [] if descriptor is None else [descriptor])
        with pytest.raises(ProblemError, match="FileServerBusy"):
            await asking
    assert open_descriptors() == before
    right = os.open(tmp_path / "file", os.O_RDONLY)
    asking = asyncio.create_task(files.open(b"file"))
    server.say({"number": (await server.asked())["number"]}, [right])
    content = await asking
    assert await content.read(100, 0) == b"content"
    content.close()


async def test_a_listing_is_bounded_and_checked(files: Files, serve: Serve) -> None:
    server = serve(files)
    listings = [
        b"not json",
        json.dumps([{**ENTRY, "name": "\u4e00"}]).encode(),
        json.dumps([{**ENTRY, "mode": None}]).encode(),
        b" " * (wire.LISTING_BYTES + 1),
        b"[" + b",".join([b"{}"] * 600_000) + b"]",
    ]
    for data in (*listings, json.dumps([ENTRY]).encode()):
        memory = os.memfd_create("x")
        os.write(memory, data)
        asking = asyncio.create_task(files.list(b"", b"", 10))
        server.say({"number": (await server.asked())["number"]}, [memory])
        os.close(memory)
        if data in listings:
            with pytest.raises(ProblemError, match="FileServerBusy") as caught:
                await asking
            assert len(caught.value.problem.detail) < 2000
        else:
            assert [entry.name for entry in (await asking).entries] == ["x"]
