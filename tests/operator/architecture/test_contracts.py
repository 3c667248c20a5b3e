"""What holds the operator together: layers, vocabularies, totality of the plan."""

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.operator.schema import ROOT

from paddock_api.conditions import ConditionReason
from paddock_api.reasons import ExecutionReason
from paddock_operator.telemetry import metrics

SOURCES = sorted((ROOT / "operator" / "src").rglob("*.py"))
PLAN = [path for path in SOURCES if path.parent.name == "plan"]


def test_the_layers_are_kept() -> None:
    """In a process of its own: import-linter configures the logging of the whole process."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("path", PLAN, ids=lambda path: path.stem)
def test_the_plan_reads_no_clock_and_makes_nothing_up(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert calls & {"now", "utcnow", "today", "uuid4", "random", "getenv"} == set()
    assert names(tree) & {"open", "print", "input"} == set()
    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(tree))


@pytest.mark.parametrize("vocabulary", [ConditionReason, ExecutionReason])
def test_every_reason_is_declared_once_and_says_what_to_do(
    vocabulary: type[ConditionReason] | type[ExecutionReason],
) -> None:
    tree = ast.parse(Path(inspect.getfile(vocabulary)).read_text())
    (declared,) = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == vocabulary.__name__
    ]
    body = declared.body[1:]
    for assigned, described in zip(body[::2], body[1::2], strict=True):
        assert isinstance(assigned, ast.Assign), ast.dump(assigned)
        assert isinstance(described, ast.Expr), ast.dump(described)
    assert max(Counter(reason.value for reason in vocabulary).values()) == 1
    assert len(body) == 2 * len(vocabulary)


def test_every_metric_is_declared_once_and_used() -> None:
    tree = ast.parse(Path(metrics.__file__).read_text())
    declared = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id != "REGISTRY"
    ]
    assert len(declared) == len(set(declared)) > 8
    elsewhere = "".join(p.read_text() for p in SOURCES if p.name != "metrics.py")
    unused = [name for name in declared if not re.search(rf"metrics\.{name}\b", elsewhere)]
    assert unused == []
