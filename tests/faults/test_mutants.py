"""The mutants' patches fit the sources, and the tables are in order: no cluster is needed."""

import ast
from pathlib import Path

import pytest
from tests.faults import mutants
from tests.faults.invariants import Judge
from tests.faults.observer import judges
from tests.faults.operator_process import ROOT
from tests.faults.scenario import SAME_END
from tests.faults.scenarios import LONG, SHORT


@pytest.mark.parametrize("name", mutants.MUTANTS)
def test_a_mutant_differs_from_the_sources_and_is_python(name: str, tmp_path: Path) -> None:
    sources = mutants.mutated(name, tmp_path / "copy")
    changed = []
    for file in sorted((ROOT / "operator" / "src").rglob("*.py")):
        copy = sources / file.relative_to(ROOT)
        if copy.read_bytes() != file.read_bytes():
            ast.parse(copy.read_text())
            changed.append(file.name)
    assert changed


def test_a_patch_that_does_not_fit_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(mutants.MUTANTS))
    patch = (mutants.FOLDER / f"{name}.patch").read_text()
    (tmp_path / f"{name}.patch").write_text(patch.replace("\n-", "\n-#"))
    monkeypatch.setattr(mutants, "FOLDER", tmp_path)
    with pytest.raises(AssertionError, match="refresh the patch"):
        mutants.mutated(name, tmp_path / "copy")


def test_each_patch_has_its_mutant() -> None:
    assert {file.stem for file in mutants.FOLDER.iterdir()} == set(mutants.MUTANTS)


def test_mutants_break_what_a_judge_looks_at() -> None:
    known = {judge.name for judge in judges()} | {SAME_END}
    assert frozenset().union(*(mutant.invariants for mutant in mutants.MUTANTS.values())) <= known
    assert all(isinstance(judge, Judge) for judge in judges())


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in LONG]
    assert len(names) == len(set(names))
    assert {scenario.name for scenario in SHORT} < set(names)
