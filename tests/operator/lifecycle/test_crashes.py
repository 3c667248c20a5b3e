"""The operator dies after its n-th write, for every n: the end is that of an undisturbed run."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.operator.world.world import World

Scenario = Callable[[World], None]


def hello(world: World) -> None:
    world.apply("hello", 0)
    world.settle()


def failing(world: World) -> None:
    world.apply("hello", 3)
    world.settle()


def three(world: World) -> None:
    world.apply("hello", 0, 3, 0, tolerant=True)
    world.settle()


def opened(world: World) -> None:
    world.apply("hello")
    world.settle()


def deleted(world: World) -> None:
    key = world.apply("hello", 0)
    for _ in range(5):
        world.progress()
    world.cluster.delete(key)
    world.settle()


def without_template(world: World) -> None:
    world.withdraw_template()
    world.apply("hello", 0)
    for _ in range(5):
        world.progress()
    world.offer_template()
    world.settle()


def end_of(world: World) -> Any:
    """What is left, without times and uids."""
    return [
        (key, status["phase"], status.get("result"), [c["reason"] for c in status["conditions"]])
        for key, session in world.cluster.of_kind("AgentSession")
        for status in [session["status"]]
    ]


SCENARIOS = [hello, failing, three, opened, deleted, without_template]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_crash_after_any_write_changes_nothing_in_the_end(scenario: Scenario) -> None:
    with World() as undisturbed:
        scenario(undisturbed)
        expected, starts = end_of(undisturbed), len(undisturbed.node.starts)
        writes = undisturbed.api.written
    for n in range(1, writes + 1):
        with World() as world:
            world.api.crash_after = n
            scenario(world)
            assert world.restarts == 1, f"no crash after write {n}"
            assert end_of(world) == expected, f"after write {n}"
            if scenario is not deleted:  # it may be gone before its step was sent
                assert len(world.node.starts) == starts, f"after write {n}"
            world.check_at_rest()


@pytest.mark.parametrize("fault", ["crash-before", "lost", "unreachable", "overloaded"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_write_that_fails_in_any_way_changes_nothing_in_the_end(
    scenario: Scenario, fault: str
) -> None:
    with World() as undisturbed:
        scenario(undisturbed)
        expected, writes = end_of(undisturbed), undisturbed.api.written
    for n in range(1, writes + 1):
        with World() as world:
            world.api.faults = {n: fault}
            scenario(world)
            assert end_of(world) == expected, f"write {n}"
            world.check_at_rest()


@pytest.mark.parametrize("down_for", [0.0, 30.0, 100.0])
@pytest.mark.parametrize("n", range(1, 7))
def test_the_truth_is_in_the_status_however_long_the_operator_was_away(
    n: int, down_for: float
) -> None:
    """The runtime ends itself at maxDuration; nobody else is there to do it."""
    with World() as world:
        world.api.crash_after = n
        key = world.apply("hello", 0)
        while world.life is not None:
            world.progress()
        world.advance(down_for)
        world.settle()
        status = world.cluster.objects[key]["status"]
        assert status["phase"] in ("Succeeded", "Failed")
        if status["phase"] == "Failed":
            assert down_for > 60
            assert "DeadlineExceeded" in str(status["conditions"])
        world.check_at_rest()
