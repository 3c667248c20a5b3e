"""docs/lifecycle.md is true: its tables are the writes, and a crash after each row is survived."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.operator.world.world import World

from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView

TEXT = (Path(__file__).parents[3] / "docs" / "lifecycle.md").read_text()
ROW = re.compile(r"^\| (\d+) \| `(.+?)` \|.*\|(.*)\|$", re.MULTILINE)
WRITE = re.compile(r"`((?:create|patch|delete) .+?)`")
ROUNDS = 12

Life = Callable[[World], None]


def tables() -> dict[str, list[tuple[str, list[str]]]]:
    """The writes of each life, by the heading that they stand under, each with those that only
    a life after a crash makes."""
    found = {}
    for section in TEXT.split("\n## ")[1:]:
        rows = ROW.findall(section)
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1)), section
        if rows:
            told = [(write, WRITE.findall(then)) for _, write, then in rows]
            found[section.partition("\n")[0]] = told
    return found


def one(world: World) -> None:
    world.apply("hello", 0)
    world.settle()


def three(world: World) -> None:
    world.apply("hello", 0, 0, 0)
    world.settle()


def with_ttl(world: World) -> None:
    key = world.apply("hello", 0)
    world.cluster.edit(key, lambda spec: spec["lifetime"].update(ttlAfterFinished="1h"))
    world.settle()


def suspended(world: World) -> None:
    key = world.apply("hello", max_duration="10h")

    def phase() -> Any:
        return world.cluster.objects[key]["status"].get("phase")

    until(world, lambda: phase() == "Ready" and world.cluster.of_kind("Pod") != [])
    world.cluster.edit(key, lambda spec: spec.update(suspend=True))
    until(world, lambda: phase() == "Suspended" and world.cluster.of_kind("Pod") == [])
    world.cluster.edit(key, lambda spec: spec.update(suspend=False))
    until(world, lambda: phase() == "Ready")
    world.settle()


def by_hand(world: World) -> None:
    spec = {"templateRef": {"name": "python"}, "lifetime": {"maxDuration": "100s"}}
    world.cluster.create("Sandbox", "team", {"metadata": {"name": "mine"}, "spec": spec})
    world.settle()


LIVES: dict[str, Life] = {
    "One step": one,
    "Three steps": three,
    "One step, with ttlAfterFinished": with_ttl,
    "An open session, suspended and resumed": suspended,
    "A sandbox made by hand": by_hand,
}


def until(world: World, what: Callable[[], bool]) -> None:
    for _ in range(ROUNDS):
        if what():
            return
        world.progress()
    raise AssertionError("it never came so far")


def end_of(world: World) -> Any:
    return [
        (key, [(c["type"], c["status"], c["reason"]) for c in ObjectView(obj).status["conditions"]])
        for kind in ("AgentSession", "Sandbox")
        for key, obj in world.cluster.of_kind(kind)
    ] + [Key("Pod", "team", key.name) for key, _ in world.cluster.of_kind("Pod")]


def test_every_table_is_lived() -> None:
    assert tables().keys() == LIVES.keys()


@pytest.mark.parametrize("name", LIVES)
def test_the_table_is_what_an_undisturbed_life_writes(name: str) -> None:
    with World() as world:
        LIVES[name](world)
        assert world.api.log == [write for write, _ in tables()[name]]


@pytest.mark.parametrize(
    ("name", "n"), [(name, n) for name, rows in tables().items() for n in range(1, len(rows) + 1)]
)
def test_after_a_crash_behind_a_row_the_next_life_goes_on_with_the_next(name: str, n: int) -> None:
    with World() as world:
        LIVES[name](world)
        expected, starts = end_of(world), len(world.node.starts)
    with World() as world:
        world.api.crash_after = n
        LIVES[name](world)
        assert world.restarts == 1
        more = tables()[name][n - 1][1]
        rest = [write for write, _ in tables()[name][n:]]
        # Two writes that answer the same event may change places.
        assert sorted(world.api.log[n:]) == sorted(more + rest)
        assert end_of(world) == expected
        assert len(world.node.starts) == starts
        world.check_at_rest()
