"""Operators that are broken on purpose: the harness must notice.

Each is a patch of a copy of the sources, a scenario in which it does harm, and the invariants
that it breaks. The tree is never touched.
"""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import more_scenarios, scenarios
from tests.faults.harness import Harness
from tests.faults.observer import HOLD_S
from tests.faults.operator_process import copy_sources
from tests.faults.scenario import SAME_END, Result, Scenario

FOLDER = Path(__file__).with_name("patches")


@dataclass(frozen=True)
class Mutant:
    """What it breaks and where that shows."""

    scenario: Scenario
    invariants: frozenset[str]
    """One of these is seen broken; which, may depend on who is faster."""


TWICE = "no execution started twice"
MUTANTS: dict[str, Mutant] = {
    # The first pod may still answer that its step was cancelled: a wrong end instead of a second.
    "dispatch-before-the-write": Mutant(more_scenarios.UNTOLD, frozenset({TWICE, SAME_END})),
    "second-pod-after-a-loss": Mutant(more_scenarios.POD_DELETED, frozenset({TWICE})),
    "writes-without-a-version": Mutant(
        scenarios.STALE_AFTER_RESTART, frozenset({"no acknowledged result lost"})
    ),
}
"""By name of the patch."""


def mutated(name: str, folder: Path) -> Path:
    """A copy of the sources with the patch applied; raises AssertionError if it does not fit."""
    sources = copy_sources(folder)
    patch = FOLDER / f"{name}.patch"
    done = subprocess.run(
        ["git", "apply", "--unidiff-zero", str(patch)],
        cwd=sources,
        capture_output=True,
        text=True,
        check=False,
        env={"GIT_CEILING_DIRECTORIES": str(folder.parent), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, (
        f"{patch.name} does not fit the sources any more: make the same mistake in a copy of "
        f"operator/ and refresh the patch (docs/faults.md).\n{done.stderr}"
    )
    return sources


async def run(harness: Harness, name: str) -> tuple[str, Result, bool]:
    """Run a mutant in its scenario; whether an invariant that it breaks was found broken."""
    mutant = MUTANTS[name]
    sources = mutated(name, harness.folder / f"mutant-{name}")
    result = await harness.run(replace(mutant.scenario, rest_s=HOLD_S), sources=sources)
    caught = any(violation.invariant in mutant.invariants for violation in result.violations)
    return name, result, caught
