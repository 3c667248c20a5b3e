"""What executions leave in memory-backed files goes, whatever it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from paddock_runtime.workspace.scratch import sweep_shared_memory


def test_everything_of_ours_goes(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    shared = tmp_path / "shm"
    (shared / "a" / "b").mkdir(parents=True)
    (shared / "a" / "b" / "file").write_text("x")
    (shared / "a" / "link").symlink_to(outside)
    (shared / "link").symlink_to(outside)
    (shared / "closed").mkdir(mode=0)
    os.mkfifo(shared / "fifo")
    (shared / "odd \udcff\n").touch()
    sweep_shared_memory(str(shared))
    assert list(shared.iterdir()) == []
    assert (outside / "kept").exists()


@pytest.mark.parametrize("name", ["d", "d" * 200])
def test_deep_nesting_and_a_missing_directory_do_no_harm(tmp_path: Path, name: str) -> None:
    shared = tmp_path / "shm"
    shared.mkdir()
    here = os.open(shared, os.O_RDONLY)
    for _ in range(600):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    sweep_shared_memory(str(shared))
    assert list(shared.iterdir()) == []
    sweep_shared_memory(str(tmp_path / "nothing"))


def test_the_first_process_of_a_workspace_imports_next_to_nothing() -> None:
    """Its memory is every sandbox's. What it needs for names too long comes when it is needed."""
    told = subprocess.run(
        [sys.executable, "-I", "-c", "import sys, paddock_runtime.workspace.__main__\n"
         "print(*(name for name in sys.modules if name.startswith('paddock_runtime.')))\n"
         "print('json' in sys.modules, 'dataclasses' in sys.modules)"],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    ours, libraries = told.stdout.splitlines()
    assert {name.removeprefix("paddock_runtime.workspace.") for name in ours.split()} == {
        "paddock_runtime.workspace", "__main__", "supervisor", "scratch"
    }  # fmt: skip
    assert libraries == "False False"
