"""The resolver alone, on a tree of this machine: by openat2 and by walking."""

import fcntl
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.files.tools import open_descriptors

from paddock_runtime import cgroup
from paddock_runtime.workspace import beneath
from paddock_runtime.workspace.beneath import DIRECTORY, PLACE, READ, Refused, Root
from paddock_runtime.workspace.serving import NO_MEMORY_LIMIT, NO_OPENAT2, lacks

SECRET = b"outside"


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    """Of `work`; beside it lies a file that must never be read."""
    work = tmp_path / "work"
    (work / "a" / "b").mkdir(parents=True)
    (work / "a" / "b" / "file").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(SECRET)
    made = Root(str(work), use_openat2=request.param)
    yield made
    made.close()


@pytest.fixture
def work(root: Root, tmp_path: Path) -> Path:
    return tmp_path / "work"


def read(root: Root, path: bytes) -> bytes:
    descriptor = root.open_file(path)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def test_this_machine_has_openat2_and_a_kernel_without_is_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Root(str(tmp_path)).follows_links

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(beneath, "open_beneath", refuse)
    (tmp_path / "file").write_bytes(b"walked")
    assert read(Root(str(tmp_path)), b"file") == b"walked"


def test_a_node_without_openat2_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = cgroup.CgroupFiles({"limit": os.memfd_create("limit")})
    os.write(limited.descriptors["limit"], b"1048576")
    assert list(lacks(limited, str(tmp_path))) == []

    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(beneath, "open_beneath", refused)
    assert list(lacks(limited, str(tmp_path))) == [NO_OPENAT2]
    assert list(lacks(cgroup.CgroupFiles(), str(tmp_path))) == [NO_MEMORY_LIMIT, NO_OPENAT2]
    os.close(limited.descriptors["limit"])


def test_plain_paths(root: Root) -> None:
    assert read(root, b"a/b/file") == b"inside"
    for path, error in ((b"a/none", FileNotFoundError), (b"a/b/file/x", NotADirectoryError)):
        with pytest.raises(error):
            root.open_file(path)
    with pytest.raises(Refused, match="IsADirectory"):
        root.open_file(b"a/b")
    with pytest.raises(OSError, match="too long"):
        root.open_file(b"x" * 256)
    with pytest.raises(NotADirectoryError):
        root.open(b"a/b/file", DIRECTORY)


OUT = {
    "absolute": "/etc/passwd",
    "up": "../secret",
    "up and on": "../../../../../../etc/passwd",
    "to proc": "/proc/self/environ",
    "magic": "/proc/self/root/etc/passwd",
    "a loop": "out",
    "out and in again": "../work/a/b/file",
}


@pytest.mark.parametrize("target", OUT.values(), ids=OUT.keys())
def test_links_that_lead_out(root: Root, work: Path, target: str) -> None:
    (work / "out").symlink_to(target)
    (work / "dir").symlink_to(os.path.dirname(target) or "dir")  # noqa: PTH120
    for path in (b"out", b"dir/" + os.path.basename(target).encode()):  # noqa: PTH119
        with pytest.raises(OSError, match=r"cross-device|symbolic links"):
            root.open_file(path)
        with pytest.raises(OSError, match=r"cross-device|symbolic links"):
            root.open_directory(path + b"/new", make=True)
    assert read(root, b"a/b/file") == b"inside"


def test_links_that_stay_inside(root: Root, work: Path) -> None:
    (work / "link").symlink_to("a/b/file")
    (work / "dir").symlink_to("a/b")
    (work / "a" / "up").symlink_to("../a/b/file")
    for path in (b"link", b"dir/file", b"a/up"):
        if root.follows_links:
            assert read(root, path) == b"inside"
        else:
            with pytest.raises(OSError, match="symbolic links"):
                root.open_file(path)


def test_what_is_no_file_is_not_opened_and_blocks_nobody(root: Root, work: Path) -> None:
    os.mkfifo(work / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(work / "socket"))
    opened = []
    writer = threading.Thread(
        target=lambda: opened.append(os.open(work / "fifo", os.O_WRONLY)), daemon=True
    )
    writer.start()
    for name in (b"fifo", b"socket"):
        with pytest.raises(Refused, match="NotAFile"):
            root.open_file(name)
    time.sleep(0.05)
    assert opened == []  # nobody opened it to read, not even for a moment
    os.close(os.open(work / "fifo", os.O_RDONLY | os.O_NONBLOCK))
    writer.join(5)
    os.close(opened[0])


def test_a_directory_is_made_with_its_parents_once(root: Root, work: Path) -> None:
    for expected in (True, False):
        descriptor, made = root.open_directory(b"x/y/z", make=True)
        os.close(descriptor)
        assert made is expected
    assert (work / "x" / "y" / "z").is_dir()
    with pytest.raises(NotADirectoryError):
        root.open_directory(b"a/b/file/z", make=True)
    (work / "dangling").symlink_to("nothing")
    with pytest.raises(OSError, match=r"No such file|symbolic links"):
        root.open_directory(b"dangling/z", make=True)
    assert not (work / "nothing").exists()


def test_nothing_stays_open(root: Root, work: Path) -> None:
    (work / "out").symlink_to("/etc")
    before = open_descriptors()
    for _ in range(3):
        read(root, b"a/b/file")
        for path in (b"out/passwd", b"a/none/x", b"a/b", b"x" * 300):
            with pytest.raises((OSError, Refused)):
                root.open_file(path)
            with pytest.raises((OSError, Refused)):
                os.close(root.open_directory(path + b"/" + b"y" * 300, make=True)[0])
    assert open_descriptors() == before


def test_a_link_swapped_while_it_is_walked_never_leads_out(root: Root, work: Path) -> None:
    """A thread turns a directory into a link that leads out, and back, as fast as it can."""
    real, spot, new = work / "real", work / "spot", work / "new"
    real.mkdir()
    (real / "secret").write_bytes(b"mine")
    spot.symlink_to("real")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for target in ("..", "real"):
                new.symlink_to(target)
                new.rename(spot)
            spot.unlink()
            real.rename(spot)
            spot.rename(real)
            spot.symlink_to("real")

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = {"read": 0, "refused": 0}
    deadline = time.monotonic() + 60
    while (seen["read"] < 20 or seen["refused"] < 200) and time.monotonic() < deadline:
        try:
            assert read(root, b"spot/secret") == b"mine"
            seen["read"] += 1
        except OSError:
            seen["refused"] += 1
    over.set()
    swapping.join()
    assert seen["read"] >= 20
    assert seen["refused"] >= 200


names = st.sampled_from(["a", "b", "c"])
inner = st.lists(names, min_size=1, max_size=3).map("/".join)
targets = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), max_size=4).map("/".join)
trees = st.lists(
    st.tuples(inner, st.sampled_from(["file", "dir", "link"]), targets, st.booleans()), max_size=8
)


@given(tree=trees, path=inner, use_openat2=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_tree_of_links(
    tree: list[tuple[str, str, str, bool]], path: str, use_openat2: bool
) -> None:
    """What is opened is what the path names, and inside; plain paths are never refused."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place) / "work"
        work.mkdir()
        for name in ("a", "b", "c"):
            (Path(place) / name).write_bytes(SECRET)
        for where, kind, target, absolute in tree:
            _grow(work / where, kind, f"{place}/{target}" if absolute else target)
        root = Root(str(work), use_openat2=use_openat2)
        plain = not any(parent.is_symlink() for parent in _chain(work, path))
        try:
            descriptor = root.open(path.encode(), PLACE)
        except OSError:
            assert not (plain and (work / path).exists())
        else:
            found = os.fstat(descriptor)
            os.close(descriptor)
            assert os.path.samestat(found, (work / path).stat())
            assert (work / path).resolve().is_relative_to(work.resolve())
        try:
            assert read(root, path.encode()) != SECRET
        except (OSError, Refused):
            pass
        finally:
            root.close()


def _grow(path: Path, kind: str, target: str) -> None:
    """Unless it would be made through a link."""
    try:
        if path.is_symlink() or any(part.is_symlink() for part in path.parents):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.write_bytes(b"inside")
        elif kind == "dir":
            path.mkdir()
        else:
            path.symlink_to(target)
    except OSError:
        return


def _chain(work: Path, path: str) -> list[Path]:
    parts = path.split("/")
    return [work.joinpath(*parts[: end + 1]) for end in range(len(parts))]


def test_a_lease_is_not_waited_for(root: Root, work: Path) -> None:
    """A program that holds a lease on its file would hold up who opens it for 45 s."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    held = os.open(work / "a" / "b" / "file", os.O_RDWR)
    try:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with pytest.raises(BlockingIOError):
            root.open(b"a/b/file", READ)
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        assert read(root, b"a/b/file") == b"inside"
    finally:
        os.close(held)
        signal.signal(signal.SIGIO, before)
