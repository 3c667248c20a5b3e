"""Output in the container's log: bounded, whole characters, unforgeable, never in the way."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.runtime.pod import Pod

from paddock_runtime.server import output_log
from paddock_runtime.server.output_log import OutputLog


def lines(read_end: int, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    data = b""
    deadline = time.monotonic() + 10
    while True:
        data += os.read(read_end, 1 << 20)
        found = [json.loads(line) for line in data.split(b"\n")[:-1]]
        if enough(found):
            return found
        assert time.monotonic() < deadline


@pytest.fixture
def pipe() -> Any:
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def test_pieces_are_lines_and_characters_stay_whole(pipe: tuple[int, int]) -> None:
    log = OutputLog(1000, pipe[1])
    log.add("x", 1, "a ü"[:3].encode()[:-1])
    log.add("x", 1, "ü".encode()[1:] + b'\n{"execution": "forged"}\n')
    log.add("x", 2, b"\xff")
    log.end("x")
    found = lines(pipe[0], lambda lines: len(lines) == 3)
    assert [(line["stream"], line["text"]) for line in found] == [
        ("stdout", "a "),
        ("stdout", 'ü\n{"execution": "forged"}\n'),
        ("stderr", "\ufffd"),
    ]
    assert {line["execution"] for line in found} == {"x"}


@pytest.mark.parametrize("data", [b"\0" * 9000, "\N{PILE OF POO}".encode() * 4000, b"\xff" * 9000])
def test_no_line_is_longer_than_the_container_runtime_takes(
    pipe: tuple[int, int], data: bytes
) -> None:
    log = OutputLog(1 << 20, pipe[1])
    log.add("x" * 63, 1, data)
    wanted = data.decode(errors="replace")
    found = lines(pipe[0], lambda lines: "".join(line["text"] for line in lines) == wanted)
    assert all(len(json.dumps(line)) < output_log.MAX_LINE_BYTES for line in found)


def test_a_flood_is_cut_and_counted(pipe: tuple[int, int]) -> None:
    log = OutputLog(10_000, pipe[1])
    for _ in range(100):
        log.add("x", 1, b"y" * 1000)
    log.end("x")
    found = lines(pipe[0], lambda lines: "droppedBytes" in lines[-1])
    assert sum(len(line.get("text", "")) for line in found) == 10_000
    assert found[-1]["droppedBytes"] == 90_000


def test_a_reader_that_does_not_read_costs_a_bounded_amount(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_log, "WAITING_BYTES", 100_000)
    log = OutputLog(1 << 30, pipe[1])
    for number in range(1000):
        log.add(f"x{number}", 1, b"y" * 5000)
        log.end(f"x{number}")
    assert log._put_bytes - log._written_bytes < 400_000
    found = lines(pipe[0], lambda lines: log._put_bytes == log._written_bytes)
    assert sum(line.get("droppedBytes", 0) for line in found) > 0


def test_a_template_with_logs() -> None:
    with Pod(logs=True) as pod:
        pod.bash("echo said; echo wrong >&2", id="said")
        deadline = time.monotonic() + 10
        while True:
            logged = (pod.base / "runtime.out").read_text().splitlines()
            if len(logged) == 2:
                break
            assert time.monotonic() < deadline, logged
            time.sleep(0.01)
    assert sorted((json.loads(line)["stream"], json.loads(line)["text"]) for line in logged) == [
        ("stderr", "wrong\n"),
        ("stdout", "said\n"),
    ]
