"""How much of the disk limit uploads may still take, in this process."""

import asyncio

import pytest

from paddock_runtime.server.disk_budget import DiskBudget
from paddock_runtime.server.problems import ProblemError


class Disk:
    """What a walk finds, and how many there were."""

    def __init__(self, used: int = 0) -> None:
        self.used, self.walks, self.seconds = used, 0, 0.01

    async def measure(self) -> int:
        self.walks += 1
        await asyncio.sleep(self.seconds)
        return self.used


async def test_the_budget_counts_what_no_walk_has_seen() -> None:
    disk = Disk(used=50)
    budget = DiskBudget(100, disk.measure)
    await budget.reserve(30)
    await budget.reserve(20)
    assert disk.walks == 1
    with pytest.raises(ProblemError, match="DiskFull") as caught:
        await budget.reserve(1)
    assert "100" in caught.value.problem.detail
    budget.settle(30)
    disk.used = 80  # a walk now finds it, and it is not counted twice
    with pytest.raises(ProblemError, match="DiskFull"):
        await budget.reserve(1)
    budget.release(20)
    await budget.reserve(20)


async def test_the_budget_refuses_only_on_a_walk_of_its_own() -> None:
    disk = Disk(used=100)
    budget = DiskBudget(100, disk.measure)
    with pytest.raises(ProblemError, match="DiskFull"):
        await budget.reserve(1)
    disk.used = 0  # somebody deleted it all a moment ago
    await budget.reserve(100)
    assert disk.walks == 2


async def test_many_at_once_share_a_walk_and_never_pass_the_limit() -> None:
    disk = Disk(used=10)
    budget = DiskBudget(100, disk.measure)
    outcomes = await asyncio.gather(
        *(budget.reserve(20) for _ in range(30)), return_exceptions=True
    )
    assert outcomes.count(None) == 4
    assert disk.walks <= 3


async def test_a_walk_that_fails_reserves_nothing() -> None:
    async def fail() -> int:
        raise ProblemError(503, "FileServerNotReady", "x")

    budget = DiskBudget(100, fail)
    with pytest.raises(ProblemError, match="FileServerNotReady"):
        await budget.reserve(1)
    assert budget._open == 0
