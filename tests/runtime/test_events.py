"""Events of an execution: whoever follows, however often interrupted, gets every kept byte once."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.inside import FakeWorkspace, request, started

from paddock_api.executions import OutputEncoding
from paddock_runtime import protocol
from paddock_runtime.server import events
from paddock_runtime.server.events import Follower, Position, read_position
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.sandbox import Sandbox

Event = tuple[str, str, dict[str, Any]]


def parse(data: bytes) -> Event:
    """(id, event, data) of one event."""
    fields = dict(line.split(": ", 1) for line in data.decode().rstrip("\n").split("\n"))
    return fields["id"], fields["event"], json.loads(fields["data"])


def drain(sandbox: Sandbox, last: str | None, encoding: OutputEncoding, limit: int) -> list[Event]:
    """What a client with this Last-Event-ID is told now, at most `limit` events."""
    entry = sandbox.executions.get("x")
    told = []
    with Follower(sandbox.executions, entry, encoding, read_position(last)) as follower:
        while len(told) < limit and not follower.over and (event := follower.due()):
            told.append(parse(event))
    assert not entry.changes
    return told


outputs = st.tuples(st.sampled_from([0, 1]), st.binary(max_size=30) | st.just("ü€🎉".encode()))
steps = st.lists(outputs | st.integers(1, 4), max_size=25)


@settings(max_examples=150, deadline=None)
@given(
    steps, st.sampled_from(OutputEncoding), st.integers(4, 80), st.integers(4, 16), st.booleans()
)
async def test_every_byte_is_told_once_or_counted(
    script: list[Any], encoding: OutputEncoding, kept: int, piece: int, restart: bool
) -> None:
    """A script of outputs and of clients that come back for so many events."""
    written = [b"", b""]
    told: list[Event] = []

    def come_back(sandbox: Sandbox, count: int) -> None:
        told.extend(drain(sandbox, told[-1][0] if told else None, encoding, count))

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "PIECE_BYTES", piece)
        with started(Path(name), outputBytes=kept) as sandbox:
            FakeWorkspace(sandbox)
            entry, _ = sandbox.executions.accept(request())
            for step in script:
                if isinstance(step, int):
                    come_back(sandbox, step)
                elif entry.run is not None:
                    written[step[0]] += step[1]
                    entry.run._take(*step)
            sandbox.workspace_said(protocol.Ended("x", 0, 1))
            come_back(sandbox, 1 if restart else 1000)
            if not restart:
                check(told, written, encoding)
        if restart:
            with started(Path(name), outputBytes=kept) as again:
                while not told[-1][0].endswith("-end"):
                    come_back(again, 2)
            check(told, written, encoding)


def check(told: list[Event], written: list[bytes], encoding: OutputEncoding) -> None:
    assert [event for _, event, _ in told].count("started") == 1
    assert (told[0][1], told[-1][1]) == ("started", "exited")
    sequence = [data["seq"] for _, _, data in told]
    assert sequence == sorted(set(sequence))
    for name, whole in zip(("stdout", "stderr"), written, strict=True):
        position = 0
        for identity, event, data in told:
            if event != name:
                continue
            position += data["omitted"]
            assert data["offset"] == position
            following = int(identity.split("-")[name == "stderr"])
            piece = whole[position:following]
            if encoding is OutputEncoding.BASE64:
                import base64

                assert base64.b64decode(data["text"]) == piece
            else:
                assert data["text"] == piece.decode(errors="replace")
            position = following
        assert position == len(whole)
        shown = told[-1][2]["execution"][name]
        assert (shown["bytes"], shown["head"], shown["tail"]) == (len(whole), "", "")


@given(st.text(alphabet="aü€🎉", max_size=60), st.lists(st.integers(1, 9), max_size=30))
async def test_no_character_is_broken_between_events(text: str, cuts: list[int]) -> None:
    whole = text.encode()
    told: list[Event] = []
    with tempfile.TemporaryDirectory() as name, started(Path(name)) as sandbox:
        FakeWorkspace(sandbox)
        entry, _ = sandbox.executions.accept(request())
        for cut in [*cuts, len(whole)]:
            assert entry.run is not None
            entry.run._take(0, whole[:cut])
            whole = whole[cut:]
            told += drain(sandbox, told[-1][0] if told else None, OutputEncoding.UTF8, 1000)
        sandbox.workspace_said(protocol.Ended("x", 0, 1))
    assert "".join(data["text"] for _, event, data in told if event == "stdout") == text


@pytest.mark.parametrize("junk", ["x", "1", "1-", "-1", "1-2-", "1-2-x", "-1-2", "1-2-end-", "٣-1"])
def test_an_id_that_is_none_of_ours_is_refused(junk: str) -> None:
    with pytest.raises(ProblemError, match="Last-Event-ID"):
        read_position(junk)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.booleans())
def test_positions_come_back(first: int, second: int, exited: bool) -> None:
    position = Position(True, (first, second), exited)
    assert read_position(str(position)) == position
    assert read_position(None) == read_position("") == Position()
