"""The helm of the project's own cluster."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.chart.helm import ROOT, Helm, Manifest


@pytest.fixture(scope="session")
def helm() -> Helm:
    done = subprocess.run(
        [sys.executable, ROOT / "cluster", "bin"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Helm(Path(done.stdout.strip()) / "helm")


@pytest.fixture(scope="session")
def rendered(helm: Helm) -> list[Manifest]:
    """The chart with its default values."""
    return helm.render()
