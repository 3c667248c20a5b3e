"""Directories that the unprivileged user can reach (pytest's own are root's alone)."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.confinement.harness import Sandbox, new_uid


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    base = Path(tempfile.mkdtemp(prefix="paddock-confinement-"))
    base.chmod(0o755)
    home, outside = base / "home", base / "outside"
    uid = new_uid()
    for directory in (home, outside):
        directory.mkdir()
        (directory / "file").write_text("old")
        if os.getuid() == 0:
            for path in (directory, directory / "file"):
                os.chown(path, uid, uid)
    yield Sandbox(home, outside, uid)
    shutil.rmtree(base)
