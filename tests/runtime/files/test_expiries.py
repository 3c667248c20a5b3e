"""When files are to go, as it is kept over a restart."""

from pathlib import Path

import pytest

from paddock_runtime.server import expiries as expiries_module
from paddock_runtime.server.expiries import Expiries, Expiry
from paddock_runtime.server.problems import ProblemError


def test_expiries_survive_and_half_a_line_does_no_harm(tmp_path: Path) -> None:
    made = Expiries(tmp_path)
    first, second = Expiry(5.5, "1-2", 7), Expiry(6.0, "1-3", 8)
    made.set(b"a\xff\n", first)
    made.set(b"gone", first)
    made.drop(b"gone")
    made.set(b"d/x/y", second)
    made.set(b"dd", second)
    made.moved(b"d", b"e/f")
    with (tmp_path / "expiries.jsonl").open("ab") as note:
        note.write(b'["half", 7.0, "1')
    for _ in range(2):
        made = Expiries(tmp_path)
        assert made.get(b"a\xff\n", "1-2") == first
        assert made.get(b"e/f/x/y", "1-3") == second
        assert made.get(b"e/f/x/y", "another file") is None
        assert len(made) == 3
        assert [path for path, _ in made.due(5.7)] == [b"a\xff\n"]
        assert made.next_at() == 5.5
        made.set(b"a\xff\n", first)


def test_expiries_are_bounded_in_memory_and_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiries_module, "MOST", 3)
    made = Expiries(tmp_path)
    for number in range(3):
        made.set(b"%d" % number, Expiry(1.0, "f", 0))
    with pytest.raises(ProblemError, match="TooManyExpiries"):
        made.refuse_if_full(b"3")
    made.refuse_if_full(b"2")
    for _ in range(5000):
        made.set(b"0", Expiry(2.0, "f", 0))
    assert (tmp_path / "expiries.jsonl").stat().st_size < 50_000
    assert len(Expiries(tmp_path)) == 3
    monkeypatch.setattr(expiries_module, "MOST", 100)
    monkeypatch.setattr(expiries_module, "MOST_BYTES", 10)
    with pytest.raises(ProblemError, match="TooManyExpiries"):
        made.refuse_if_full(b"x" * 8)
