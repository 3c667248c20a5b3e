"""What code in a context showed, from lines that it may have written itself."""

import json

from hypothesis import given
from hypothesis import strategies as st

from paddock_runtime.server.output import Kept, StreamKeeper
from paddock_runtime.server.results import ERROR_CHARACTERS, read_results


def line(**item: object) -> bytes:
    return json.dumps(item).encode() + b"\n"


def whole(data: bytes) -> Kept:
    return Kept(data, b"", len(data))


ERROR = line(type="error", name="ValueError", value="x" * 9000, traceback=["a", "b"])


def test_items_in_order_and_the_error() -> None:
    shown = line(type="display", data={"text/html": "<b>"}, omitted={"image/png": 5})
    value = line(type="result", data={"text/plain": "3"})
    results, error = read_results(whole(shown + value + ERROR))
    assert [(item.kind, item.data, item.omitted) for item in results] == [
        ("display", {"text/html": "<b>"}, {"image/png": 5}),
        ("result", {"text/plain": "3"}, {}),
    ]
    assert error is not None
    assert (error.name, len(error.value)) == ("ValueError", ERROR_CHARACTERS)


def test_the_error_is_found_behind_a_flood() -> None:
    keeper = StreamKeeper(1000, 20_000)
    for number in range(2000):
        keeper.add(line(type="display", data={"text/plain": str(number)}))
    keeper.add(ERROR)
    results, error = read_results(keeper.take())
    assert results[0].data == {"text/plain": "0"}
    assert results[-1].data == {"text/plain": "1999"}
    assert error is not None


JUNK = [
    b"", b"1", b"null", b"[]", b'"x"', b"{", b"\xff", b"[" * 10_000,
    line(type="result"), line(type="result", data=3), line(type="result", data={"a": 1}),
    line(type="else", data={}), line(type=3, data={}), line(data={}), line(type="error"),
    line(type="error", name=3, value="", traceback=[]),
    line(type="error", name="x", value="", traceback={"a": 1}),
    line(type="error", name="x", value="", traceback=[1]),
    line(type="result", data={"text/plain": "x"}, omitted={"a": "b"}),
]  # fmt: skip


@given(st.lists(st.sampled_from(JUNK) | st.binary(max_size=50), max_size=8))
def test_what_is_not_in_form_is_dropped(lines: list[bytes]) -> None:
    good = line(type="result", data={"text/plain": "3"})
    clean = [item.replace(b"\n", b"") for item in lines]
    data = b"\n".join([*clean, good])
    results, _ = read_results(whole(data))
    assert results[-1].data == {"text/plain": "3"}
