"""Directories that the unprivileged user can reach (pytest's own are root's alone)."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.confinement.harness import UID, Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    base = Path(tempfile.mkdtemp(prefix="paddock-confinement-"))
    base.chmod(0o755)
    home, outside = base / "home", base / "outside"
    for directory in (home, outside):
        directory.mkdir()
        if os.getuid() == 0:
            os.chown(directory, UID, UID)
    (outside / "file").write_text("old")
    (outside / "file").chmod(0o666)
    yield Sandbox(home, outside)
    shutil.rmtree(base)
