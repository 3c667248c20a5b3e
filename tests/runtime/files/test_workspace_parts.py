"""Uploads and removal of trees, on a tree of this machine and without the process around them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.files.tools import names, open_descriptors

from paddock_runtime.workspace import removal
from paddock_runtime.workspace.beneath import DIRECTORY, Refused, Root
from paddock_runtime.workspace.file_calls import born_at
from paddock_runtime.workspace.file_operations import delete, expire, look
from paddock_runtime.workspace.removal import remove_tree
from paddock_runtime.workspace.uploads import Uploads


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(str(tmp_path))
    yield made
    made.close()


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def uploads(request: pytest.FixtureRequest, root: Root) -> Uploads:
    return Uploads(root, nameless=request.param)


def begin(uploads: Uploads, path: bytes, content: bytes, *, exclusive: bool = False) -> int:
    fields, descriptor = uploads.create(path, exclusive)
    assert descriptor is not None
    os.write(descriptor, content)
    return int(fields["upload"])


def test_an_upload_is_there_when_it_is_committed(uploads: Uploads, tmp_path: Path) -> None:
    number = begin(uploads, b"a/b/new", b"content")
    assert not (tmp_path / "a" / "b" / "new").exists()
    assert names(tmp_path / "a" / "b") == [] or not uploads._nameless
    fields, _ = uploads.commit(number, 0o640)
    assert fields["created"]
    assert (tmp_path / "a" / "b" / "new").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "a" / "b" / "new").stat().st_mode) == 0o640
    assert names(tmp_path / "a" / "b") == ["new"]


def test_it_replaces_a_file_or_a_link_and_nothing_else(uploads: Uploads, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in (b"link", b"file"):
        fields, _ = uploads.commit(begin(uploads, name, b"new"), 0o644)
        assert not fields["created"]
        assert (tmp_path / "file").read_bytes() == (b"old" if name == b"link" else b"new")
    assert not (tmp_path / "link").is_symlink()
    for name, code in ((b"dir", "IsADirectory"), (b"fifo", "NotAFile")):
        with pytest.raises(Refused, match=code):
            uploads.create(name, False)
    assert sorted(names(tmp_path)) == ["dir", "fifo", "file", "link"]


def test_what_came_into_its_place_meanwhile(uploads: Uploads, tmp_path: Path) -> None:
    numbers = [begin(uploads, name, b"new") for name in (b"dir", b"fifo", b"file")]
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"old")
    for number, code in zip(numbers, ("IsADirectory", "NotAFile"), strict=False):
        with pytest.raises(Refused, match=code):
            uploads.commit(number, 0o644)
    assert not uploads.commit(numbers[2], 0o644)[0]["created"]
    assert sorted(names(tmp_path)) == ["dir", "fifo", "file"]


def test_exclusive_ones_replace_nothing(uploads: Uploads, tmp_path: Path) -> None:
    numbers = [begin(uploads, b"x", content, exclusive=True) for content in (b"1", b"2")]
    uploads.commit(numbers[1], 0o644)
    with pytest.raises(FileExistsError):
        uploads.commit(numbers[0], 0o644)
    with pytest.raises(Refused, match="Exists"):
        uploads.create(b"x", True)
    assert (tmp_path / "x").read_bytes() == b"2"
    assert names(tmp_path) == ["x"]


def test_a_client_of_the_file_server_before_meets_nobody_s_upload(
    uploads: Uploads, root: Root, tmp_path: Path
) -> None:
    of_before = begin(Uploads(root), b"a", b"A")
    begin(uploads, b"b", b"half")
    with pytest.raises(Refused, match="UploadLost"):
        uploads.commit(of_before, 0o644)
    uploads.abort(of_before)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    assert len(uploads._open) == 1


def test_what_is_given_up_leaves_nothing_behind(uploads: Uploads, tmp_path: Path) -> None:
    before = open_descriptors()
    number = begin(uploads, b"d/x", b"half")
    uploads.abort(number)
    uploads.abort(number)
    with pytest.raises(Refused, match="UploadLost"):
        uploads.commit(number, 0o644)
    number = begin(uploads, b"gone/x", b"half")
    for path in (tmp_path / "gone").iterdir():
        path.unlink()
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError):
        uploads.commit(number, 0o644)
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == []
    assert open_descriptors() == before


def finish(steps: object) -> int:
    return sum(1 for _ in steps)  # type: ignore[attr-defined]


def test_a_tree_goes_and_what_its_links_lead_to_stays(root: Root, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    tree = tmp_path / "tree"
    for number in range(250):
        (tree / str(number % 7) / str(number)).mkdir(parents=True)
        (tree / str(number % 7) / str(number) / "f").touch()
    (tree / "link").symlink_to(tmp_path / "kept")
    (tree / "3" / "up").symlink_to("../../kept")
    os.mkfifo(tree / "fifo")
    before = open_descriptors()
    assert finish(delete(root, b"tree", True)) > 100
    assert names(tmp_path) == ["kept"]
    assert (tmp_path / "kept" / "file").exists()
    assert open_descriptors() == before


def test_a_tree_deeper_than_paths_can_say(root: Root, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    here = os.open(tmp_path / "deep", DIRECTORY)
    for _ in range(1500):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    before = open_descriptors()
    most = 0
    for _ in delete(root, b"deep", True):
        most = max(most, open_descriptors() - before)
    assert names(tmp_path) == []
    assert most <= removal.DEEPEST + 2


def test_a_tree_that_does_not_end_is_left_for_the_next_request(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "SECONDS", 0.0)
    (tmp_path / "tree" / "a").mkdir(parents=True)
    with pytest.raises(Refused, match="DeleteUnfinished"):
        finish(delete(root, b"tree", True))
    monkeypatch.undo()
    finish(delete(root, b"tree", True))
    assert names(tmp_path) == []


def test_a_tree_that_is_filled_while_it_goes(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at = removal._some_entries

    def somebody_is_quick(directory: int) -> list[os.DirEntry[str]]:
        found = look_at(directory)
        if not found:
            (tmp_path / "tree" / "late").touch()
        return found

    (tmp_path / "tree" / "a").mkdir(parents=True)
    monkeypatch.setattr(removal, "_some_entries", somebody_is_quick)
    with pytest.raises(Refused, match="NotEmpty"):
        finish(delete(root, b"tree", True))
    assert names(tmp_path / "tree") == ["late"]


def test_a_directory_turned_into_a_link_while_it_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for number in range(3):
        (tmp_path / "tree" / f"d{number}").mkdir(parents=True)
        (tmp_path / "kept" / str(number)).touch()
    parent = os.open(tmp_path, DIRECTORY)
    steps = remove_tree(parent, b"tree")
    next(steps)
    for number in range(3):
        (tmp_path / "tree" / f"d{number}").rmdir()
        (tmp_path / "tree" / f"d{number}").symlink_to(tmp_path / "kept")
    finish(steps)
    os.close(parent)
    assert names(tmp_path) == ["kept"]
    assert len(names(tmp_path / "kept")) == 3


def test_only_the_same_file_expires(root: Root, tmp_path: Path) -> None:
    parent = os.open(tmp_path, DIRECTORY)
    (tmp_path / "f").write_bytes(b"1")
    file, born = look(b"f", parent).file, born_at(parent, b"f")
    assert born > 0, "this file system does not say when a file was made"
    for _ in range(50):  # the inode's number comes back at once
        (tmp_path / "f").unlink()
        (tmp_path / "f").write_bytes(b"2")
        if look(b"f", parent).file == file:
            break
    with pytest.raises(Refused, match="Exists"):
        expire(root, b"f", file, born)
    expire(root, b"f", look(b"f", parent).file, born_at(parent, b"f"))
    assert names(tmp_path) == []
    os.close(parent)
