"""The short set, on the cluster that KUBECONFIG names: `make test-faults`.

Named so that `pytest tests` does not take it: it stops the installed operator for its time.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e import witness
from tests.faults import mutants
from tests.faults.harness import Harness, on_the_cluster
from tests.faults.observer import as_lines
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SHORT

pytestmark = pytest.mark.asyncio(loop_scope="module")
IN_SHORT = ("second-pod-after-a-loss",)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def harness() -> AsyncIterator[Harness]:
    """One for all scenarios."""
    path = os.environ.get("KUBECONFIG")
    if not path:
        pytest.fail("KUBECONFIG is not set: `make test-faults`", pytrace=False)
    with witness.watching(Path(path)) as seen:
        async with on_the_cluster(Path(path), seen) as made:
            yield made


@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.name)
async def test_what_must_hold_holds_under(harness: Harness, scenario: Scenario) -> None:
    result = await harness.run(scenario)
    assert not result.violations, f"{as_lines(result.violations)}\n{result.log}"
    assert result.injected or not scenario.disturbed, "nothing went wrong: the row tests nothing"
    assert all(result.checks.values()), f"an invariant was not looked at: {result.checks}"
    print(f"{result.injected.total()} faults, {result.checks.total()} checks")


@pytest.mark.parametrize("name", IN_SHORT)
async def test_a_mutant_is_caught(harness: Harness, name: str) -> None:
    _, result, caught = await mutants.run(harness, name)
    wanted = sorted(mutants.MUTANTS[name].invariants)
    assert caught, f"{name} lives, none of {wanted} was seen broken:\n{as_lines(result.violations)}"
