"""A directory with more names than there is memory: each is charged, none is kept."""

import os
import tracemalloc
from pathlib import Path

from paddock_runtime.workspace.disk import ENTRY_BYTES, DiskMeter

NAMES = 20_000


def fill(directory: Path, count: int) -> None:
    """One file of 8 KiB under so many long names."""
    directory.mkdir()
    first = directory / "first"
    first.write_bytes(bytes(8192))
    for number in range(count - 1):
        os.link(first, directory / f"{number:0200}")


def walked(meter: DiskMeter) -> int:
    while not meter.step():
        pass
    return meter.bytes


def test_every_name_counts_and_content_once(tmp_path: Path) -> None:
    fill(tmp_path / "links", 100)
    directory = (tmp_path / "links").stat().st_blocks * 512
    assert walked(DiskMeter((str(tmp_path),))) - directory == 8192 + 99 * ENTRY_BYTES


def test_a_walk_takes_no_memory_for_a_name(tmp_path: Path) -> None:
    fill(tmp_path / "links", NAMES)
    meter = DiskMeter((str(tmp_path),))
    tracemalloc.start()
    try:
        walked(meter)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_walk_takes_no_memory_for_a_directory(tmp_path: Path) -> None:
    """However long its path is."""
    place = tmp_path / ("x" * 200) / ("y" * 200) / ("z" * 200)
    place.mkdir(parents=True)
    for number in range(2000):
        (place / f"{number:0200}").mkdir()
    deepest = tmp_path / "deep"
    for number in range(500):
        deepest = deepest / f"{number % 10}"
    deepest.mkdir(parents=True)
    meter = DiskMeter((str(tmp_path),))
    tracemalloc.start()
    try:
        assert walked(meter) >= 2504 * ENTRY_BYTES
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_walk_over_links_stops_as_any(tmp_path: Path) -> None:
    fill(tmp_path / "links", NAMES)
    meter = DiskMeter((str(tmp_path),))
    assert not meter.step(), f"{NAMES} names in one slice"
