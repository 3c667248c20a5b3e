"""What the shape of the repository promises."""

import operator
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for package in ("api", "operator", "sandbox-runtime")
    for path in (ROOT / package / "src").rglob("*.py")
]


def test_the_standard_library_keeps_its_operator_module() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.add(1, 2) == 3


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_modules_have_one_idea_and_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_there_are_sources() -> None:
    assert len(SOURCES) > 80


def test_every_metric_is_declared_in_the_metrics_module() -> None:
    declared = re.compile(r"\b(Counter|Gauge|Histogram|Summary)\(\s*\"")
    elsewhere = [
        str(path)
        for path in SOURCES
        if declared.search(path.read_text()) and path.name != "metrics.py"
    ]
    assert elsewhere == []


def test_no_lock_file_names_a_host() -> None:
    files = [*(ROOT / "requirements").glob("*"), *ROOT.glob("*/*requirements*")]
    assert files
    assert [str(path) for path in files if path.is_file() and "://" in path.read_text()] == []
