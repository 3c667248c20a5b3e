"""The journal gives back what was written, whatever happened to the process."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddock_runtime.server import journal as module
from paddock_runtime.server.journal import Journal


def records(directory: Path) -> list[dict[str, Any]]:
    journal = Journal(directory)
    try:
        return [record for record, _ in journal.records()]
    finally:
        journal.close()


def test_lines_and_outputs_are_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    first = journal.write({"type": "a", "text": "ü\n"})
    second = journal.write({"type": "b"}, [b"out", b"", b"put"])
    assert journal.read(first) == {"type": "a", "text": "ü\n"}
    record = journal.read(second)
    assert journal.read_output(record["at"], 3, 3) == b"put"
    journal.close()
    again = Journal(tmp_path)
    assert [line for _, line in again.records()] == [first, second]
    third = again.write({"type": "c"}, [b"more"])
    assert again.read_output(again.read(third)["at"], 0, 4) == b"more"
    assert again.read_output(record["at"], 0, 6) == b"output"
    again.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=8), st.integers(0, 400))
def test_a_torn_end_costs_only_what_was_torn(texts: list[str], keep: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        journal = Journal(directory)
        lines = [journal.write({"text": text}) for text in texts]
        journal.close()
        file = directory / "journal.jsonl"
        whole = file.read_bytes()
        file.write_bytes(whole[:keep])
        expected = [
            {"text": text}
            for text, line in zip(texts, lines, strict=True)
            if line.offset + line.length <= keep
        ]
        assert records(directory) == expected
        more = Journal(directory)
        more.write({"text": "after"})
        more.close()
        assert records(directory) == [*expected, {"text": "after"}]


def test_old_outputs_go_and_their_ends_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(module, "SEGMENTS", 2)
    journal = Journal(tmp_path)
    lines = [journal.write({"number": number}, [b"x" * 600]) for number in range(6)]
    read = [journal.read(line) for line in lines]
    kept = [journal.read_output(record["at"], 0, 600) is not None for record in read]
    assert kept == [False, False, False, False, True, True]
    assert len(list(tmp_path.glob("output-*.bin"))) == 2
    journal.close()


def test_a_full_disk_is_an_error_and_leaves_no_half_line() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm")
    import resource

    with tempfile.TemporaryDirectory() as name:
        journal = Journal(Path(name))
        journal.write({"type": "a"})
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                journal.write({"type": "b"})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        journal.write({"type": "c"})
        journal.close()
        assert records(Path(name)) == [{"type": "a"}, {"type": "c"}]
