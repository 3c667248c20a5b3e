"""Ranges, validators and conditions, against what RFC 9110 says. Pure."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddock_runtime.server.file_headers import etag, exclusive, mode_in, part_of
from paddock_runtime.server.problems import ProblemError


def sized(size: int, **changed: int) -> os.stat_result:
    times = {"st_mtime_ns": 1_700_000_000_000_000_000, "st_ctime_ns": 5, **changed}
    return os.stat_result((0o100644, 7, 3, 1, 0, 0, size, 0, 0, 0), times)


@given(
    size=st.integers(0, 40),
    first=st.none() | st.integers(0, 45),
    last=st.none() | st.integers(0, 45),
)
def test_a_range_has_the_bytes_that_a_slice_has(
    size: int, first: int | None, last: int | None
) -> None:
    content = bytes(range(size))
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    if first is None and last is None:
        expected = content
    elif first is None:
        expected = content[-last:] if last else b""
    else:
        expected = content[first : None if last is None else last + 1]
    if not expected and asked != "bytes=-":
        with pytest.raises(ProblemError) as caught:
            part_of(sized(size), {"Range": asked})
        assert caught.value.status == 416
        assert caught.value.headers["Content-Range"] == f"bytes */{size}"
        return
    part = part_of(sized(size), {"Range": asked})
    assert content[part.start : part.start + part.length] == expected
    if asked != "bytes=-":
        assert part.status == 206
        end = part.start + part.length - 1
        assert part.headers["Content-Range"] == f"bytes {part.start}-{end}/{size}"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,3-4", "lines=0-1", "bytes", "bytes=a-b", "bytes=-1-2", "bytes=١-٢"]
)
def test_a_range_that_is_none_of_ours_is_left_alone(asked: str) -> None:
    part = part_of(sized(10), {"Range": asked})
    assert (part.status, part.start, part.length) == (200, 0, 10)


def test_a_range_of_another_version_is_left_alone() -> None:
    found = sized(10)
    same = {"Range": "bytes=1-2", "If-Range": etag(found)}
    assert part_of(found, same).status == 206
    assert part_of(sized(10, st_ctime_ns=6), same).status == 200
    assert part_of(found, {"Range": "bytes=1-2"}, whole=True).status == 200


def test_what_a_client_has_already_is_not_sent() -> None:
    tag = etag(sized(10))
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        assert part_of(sized(10), {"If-None-Match": condition}).status == 304
    assert part_of(sized(10), {"If-None-Match": '"other"'}).status == 200


def test_the_etag_changes_with_every_change_and_with_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    tags = [etag(file.stat())]
    os.utime(file, ns=(0, 0))
    file.read_bytes()
    tags.append(etag(file.stat()))
    file.write_bytes(b"two")
    os.utime(file, ns=(0, 0))  # as a program might, to look unchanged
    tags.append(etag(file.stat()))
    (tmp_path / "b").write_bytes(b"two")
    tags.append(etag((tmp_path / "b").stat()))
    assert len(set(tags)) == 4
    assert etag(file.stat()) == tags[2]


@pytest.mark.parametrize("when", [-(10**18), 0, 10**22])
def test_times_that_a_program_made_up_can_be_said(when: int) -> None:
    assert part_of(sized(1, st_mtime_ns=when), {}).headers["Last-Modified"].endswith("GMT")


def test_conditions_of_a_put_are_kept_or_refused() -> None:
    assert not exclusive({})
    assert exclusive({"If-None-Match": "*"})
    refused = {"If-None-Match": '"tag"', "If-Match": '"tag"', "Content-Encoding": "gzip"}
    for name, value in refused.items():
        with pytest.raises(ProblemError, match=name):
            exclusive({name: value})


def test_modes() -> None:
    for text, mode in ((None, 0o644), ("0755", 0o755), ("600", 0o600)):
        assert mode_in(text) == mode
    for text in ("", "4755", "0o644", "rwx", "888", "٦٤٤"):
        with pytest.raises(ProblemError, match="mode: "):
            mode_in(text)
