"""Head, tail and text of a stream, for any bytes in any pieces."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddock_api.executions import Execution, OutputEncoding
from paddock_api.reasons import ExecutionState
from paddock_runtime.server import answers
from paddock_runtime.server.output import (
    Kept,
    Stored,
    StreamKeeper,
    after_cut,
    before_cut,
    cut,
    wire_form,
)
from paddock_runtime.server.records import End

pieces = st.lists(st.binary(max_size=40), max_size=20)
encodings = st.sampled_from(OutputEncoding)
texts = st.text(alphabet="aü€🎉\n", max_size=80)


def keep(data: list[bytes], limit: int) -> Kept:
    keeper = StreamKeeper(limit // 2, limit - limit // 2)
    for piece in data:
        keeper.add(piece)
    return keeper.take()


@given(pieces, st.integers(1, 60))
def test_what_is_kept_are_the_first_and_the_last_bytes(data: list[bytes], limit: int) -> None:
    whole = b"".join(data)
    kept = keep(data, limit)
    assert kept.total == len(whole)
    assert kept.omitted == max(0, len(whole) - limit)
    assert whole.startswith(kept.head)
    assert whole.endswith(kept.tail)
    if not kept.omitted:
        assert kept.head + kept.tail == whole


@given(pieces, st.integers(1, 60), st.none() | st.integers(0, 80))
def test_counts_are_of_raw_bytes(data: list[bytes], limit: int, max_output: int | None) -> None:
    whole = b"".join(data)
    shown = wire_form(cut(keep(data, limit), max_output))
    assert shown.bytes == len(whole)
    assert 0 <= shown.omitted <= len(whole)
    if max_output is not None:
        assert shown.head == ""
    if shown.omitted == 0:
        assert shown.head + shown.tail == whole.decode(errors="replace")


@given(texts, st.integers(1, 60), st.none() | st.integers(0, 80))
def test_no_character_is_broken_by_a_cut(text: str, limit: int, max_output: int | None) -> None:
    whole = text.encode()
    shown = wire_form(cut(keep([whole], limit), max_output))
    assert "\ufffd" not in shown.head + shown.tail
    assert text.startswith(shown.head)
    assert text.endswith(shown.tail)
    assert shown.omitted == len(whole) - len((shown.head + shown.tail).encode())
    if max_output is not None:
        assert len(shown.tail.encode()) <= max_output
        # At the most the rest of one character is missing from what was asked for.
        assert len(shown.tail.encode()) > min(max_output, len(whole), (limit + 1) // 2) - 4


@given(st.binary(max_size=12))
def test_cuts_take_at_most_three_bytes(data: bytes) -> None:
    assert data.startswith(before_cut(data))
    assert data.endswith(after_cut(data))
    assert len(data) - len(before_cut(data)) <= 3
    assert len(data) - len(after_cut(data)) <= 3


def test_an_unfinished_character_at_the_very_end_is_the_program_s() -> None:
    assert wire_form(cut(Kept(b"a\xe2", b"", 2))).head == "a\ufffd"
    assert wire_form(cut(Kept(b"", b"a\xe2", 2), 2)).tail == "a\ufffd"
    assert wire_form(cut(Kept(b"ab\xe2", b"\x82\xacz", 10))).model_dump() == {
        "head": "ab",
        "tail": "z",
        "bytes": 10,
        "omitted": 7,
        "encoding": "utf-8",
    }


def test_memory_stays_bounded() -> None:
    keeper = StreamKeeper(500, 500)
    for _ in range(1000):
        keeper.add(b"x" * 999)
        assert len(keeper._head) + len(keeper._tail) <= 1000
    kept = keeper.take()
    assert (len(kept.head), len(kept.tail), kept.total) == (500, 500, 999_000)


@given(pieces, st.integers(1, 60), st.none() | st.integers(0, 80), st.integers(1, 3), encodings)
async def test_an_answer_in_pieces_says_the_same(
    data: list[bytes], limit: int, max_output: int | None, thirds: int, encoding: OutputEncoding
) -> None:
    shown = cut(keep(data, limit), max_output)
    end = End(None, shown, shown)  # type: ignore[arg-type]
    facts = Execution(id="x", state=ExecutionState.FINISHED, accepted_at=datetime.now(UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_PIECE", 3 * thirds)
        made = b"".join([part async for part in answers.in_pieces(facts, end, encoding)])
    streams = {"stdout": wire_form(shown, encoding), "stderr": wire_form(shown, encoding)}
    assert Execution.model_validate_json(made) == facts.model_copy(update=streams)


@given(pieces, st.integers(1, 60), st.integers(0, 30), st.integers(0, 60), st.integers(1, 30))
def test_what_is_kept_can_be_read_from_anywhere(
    data: list[bytes], head: int, tail: int, offset: int, size: int
) -> None:
    whole = b"".join(data)
    offset = min(offset, len(whole))
    keeper = StreamKeeper(head, tail)
    for piece in data:
        keeper.add(piece)
    live = keeper.read(offset, size)
    kept = keeper.take()
    assert kept.stored.read(offset, size) == live
    omitted, read = live
    begin = offset + omitted
    assert whole[begin : begin + len(read)] == read
    assert len(read) <= size
    if offset < len(whole):
        assert omitted or read
    if omitted:  # exactly the gap
        assert begin == len(whole) - len(kept.tail)
        assert offset >= len(kept.head)


def test_what_was_dropped_while_it_was_read_is_counted() -> None:
    kept = [b"abcdef"]
    stored = Stored(3, 3, 100, lambda begin, length: kept[0][begin : begin + length])
    assert stored.read(1, 10) == (0, b"bc")
    kept[0] = b""
    assert stored.read(1, 10) == (99, b"")
    assert stored.read(98, 10) == (2, b"")
    assert stored.read(100, 10) == (0, b"")
