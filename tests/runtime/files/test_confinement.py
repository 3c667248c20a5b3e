"""What the kernel keeps the file server from, whatever a bug in it might try."""

import ctypes
import errno
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paddock_runtime.confinement import ConfinementPolicy, Prepared, landlock, prepare
from paddock_runtime.confinement.files import confine_file_server
from paddock_runtime.workspace.beneath import Root
from paddock_runtime.workspace.file_operations import delete, list_directory, move
from paddock_runtime.workspace.uploads import Uploads

UID = 64_999
ABIS = range(1, landlock.abi() + 1) if landlock.abi() else []


def attempt(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def run_confined(places: Path, prepared: Prepared, work: Callable[[], dict[str, str]]) -> Any:
    """What `work` returns in a confined process, as another user where we are root."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(UID)
                os.setuid(UID)
            os.chdir("/")
            confine_file_server(prepared, str(places / "work"), str(places / "tmp"))
            os.write(write_end, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(1)
    os.close(write_end)
    with open(read_end, "rb") as answer:  # noqa: PTH123
        data = answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(data)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_bytes(b"content")
        for path in (tmp_path / name, tmp_path / name / "old"):
            path.chmod(0o777)
            if os.getuid() == 0:
                os.chown(path, UID, UID)
    return tmp_path


def only_landlock(abi: int) -> Prepared:
    return Prepared(ruleset=None, abi=abi, program=None, oom_score=False)


@pytest.mark.parametrize("abi", ABIS)
def test_only_the_workspace_is_within_reach(places: Path, abi: int) -> None:
    work, outside = places / "work", places / "tmp"

    def tries() -> dict[str, str]:
        os.symlink("/etc/passwd", work / "link")  # noqa: PTH211
        wanted = {
            "read inside": lambda: (work / "old").read_bytes(),
            "write inside": lambda: (work / "new").write_bytes(b"x"),
            "list inside": lambda: os.scandir(work).close(),
            "list the scratch": lambda: os.scandir(outside).close(),
            "stat the scratch": lambda: (outside / "old").stat(),
            "read the scratch": lambda: (outside / "old").read_bytes(),
            "write the scratch": lambda: (outside / "new").write_bytes(b"x"),
            "delete the scratch": lambda: (outside / "old").unlink(),
            "rename out": lambda: (work / "new").rename(outside / "new"),
            "link in": lambda: (work / "hard").hardlink_to(outside / "old"),
            "read the system": lambda: Path("/etc/passwd").read_bytes(),
            "read through a link": lambda: (work / "link").read_bytes(),
            "read proc": lambda: Path("/proc/self/environ").read_bytes(),
            "list the root": lambda: os.scandir("/").close(),
            "make a device": lambda: os.mknod(work / "dev", 0o20666, os.makedev(1, 5)),
            "run a program": lambda: os.execv(sys.executable, ["python"]),
        }
        return {name: attempt(call) for name, call in wanted.items()}

    said = run_confined(places, only_landlock(abi), tries)
    allowed = [name for name, outcome in said.items() if outcome == "done"]
    assert allowed == [
        "read inside",
        "write inside",
        "list inside",
        "list the scratch",
        "stat the scratch",
    ]
    assert set(said.values()) <= {"done", "EACCES", "EXDEV", "EPERM"}
    assert (outside / "old").read_bytes() == b"content"


@pytest.mark.parametrize("abi", [0, *ABIS])
def test_all_that_it_is_for_works(places: Path, abi: int) -> None:
    def works() -> dict[str, str]:
        root = Root(str(places / "work"))
        uploads = Uploads(root)
        for _ in range(2):
            fields, descriptor = uploads.create(b"a/b/file", False)
            assert descriptor is not None
            os.write(descriptor, b"new")
            uploads.commit(fields["upload"], 0o600)
        os.close(root.open_file(b"a/b/file"))
        for _ in list_directory(root, b"a", b"", 10):
            pass
        move(root, b"a/b/file", b"a/b/moved", False)
        across = attempt(lambda: move(root, b"a/b/moved", b"c/moved", True)) if abi != 1 else ""
        for _ in delete(root, b"a", True):
            pass
        root.close()
        return {"across": across}

    said = run_confined(places, only_landlock(abi), works)
    assert said["across"] == ("" if abi == 1 else "done")
    left = sorted(path.name for path in (places / "work").iterdir())
    assert left == (["old"] if abi == 1 else ["c", "old"])


def test_no_process_no_network_no_signal(places: Path) -> None:
    """With the system call filter of user code on top, as in the workspace."""
    policy = ConfinementPolicy(network_none=True, writable=(str(places / "work"),))
    prepared = prepare(policy)
    parent = os.getpid()

    def tries() -> dict[str, str]:
        libc = ctypes.CDLL(None, use_errno=True)
        traced = libc.ptrace(16, parent, 0, 0)
        return {
            "fork": attempt(lambda: os.fork() or os._exit(0)) if os.getuid() else "EAGAIN",
            "socket": attempt(lambda: socket.socket().close()),
            "kill": attempt(lambda: os.kill(parent, 0)),
            "trace": "done" if traced == 0 else errno.errorcode[ctypes.get_errno()],
            "inside": attempt(lambda: (places / "work" / "x").write_bytes(b"x")),
        }

    expected = {
        "fork": "EAGAIN",
        "socket": "EACCES",
        "kill": "EPERM",
        "trace": "EPERM",
        "inside": "done",
    }
    assert run_confined(places, prepared, tries) == expected
    if prepared.ruleset is not None:
        os.close(prepared.ruleset)


def test_it_dies_with_its_parent(places: Path) -> None:
    read_end, write_end = os.pipe()
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            confine_file_server(only_landlock(0), str(places / "work"), str(places / "tmp"))
            os.write(write_end, b"x")
            signal.pause()
        os.close(write_end)
        signal.pause()
    os.close(write_end)
    assert os.read(read_end, 1) == b"x"
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
    assert os.read(read_end, 1) == b""  # the last end is closed
    os.close(read_end)
