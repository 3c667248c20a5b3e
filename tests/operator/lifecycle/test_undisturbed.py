"""Without faults: how a session goes, in how few writes, and what is left of it."""

import pytest
from tests.operator.world.world import World

from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView


@pytest.mark.parametrize(
    ("codes", "tolerant", "phase", "ran"),
    [
        pytest.param((0,), False, "Succeeded", 1, id="hello"),
        pytest.param((3,), False, "Failed", 1, id="failing"),
        pytest.param((0, 0, 0), False, "Succeeded", 3, id="three"),
        pytest.param((0, 3, 0), True, "Succeeded", 3, id="tolerated"),
        pytest.param((0, 3, 0), False, "Failed", 2, id="stopped"),
        pytest.param((0,) * 32, False, "Succeeded", 32, id="most"),
        pytest.param((), False, "Expired", 0, id="open"),
    ],
)
def test_a_session_takes_six_writes_and_one_more_for_each_further_step(
    codes: tuple[int, ...], tolerant: bool, phase: str, ran: int
) -> None:
    with World() as world:
        key = world.apply("hello", *codes, tolerant=tolerant)
        world.settle()
        status = world.cluster.objects[key]["status"]
        assert status["phase"] == phase
        assert len(world.node.starts) == ran
        assert world.api.written == 6 + max(0, ran - 1), world.api.writes
        assert world.api.refused == 0
        world.check_at_rest()


def test_many_sessions_at_once_do_not_disturb_each_other() -> None:
    with World() as world:
        for i in range(20):
            world.apply(f"session-{i}", 0, 0)
        world.settle()
        assert world.api.written == 20 * 7
        assert world.api.refused == 0
        assert len(world.node.starts) == 40
        world.check_at_rest()


def test_a_deleted_session_leaves_nothing() -> None:
    with World() as world:
        key = world.apply("hello")
        for _ in range(6):
            world.progress()
        assert world.cluster.of_kind("Pod") != []
        world.cluster.delete(key)
        world.settle()
        assert {key.kind for key in world.cluster.objects} == {"SandboxTemplate"}
        world.check_at_rest()


@pytest.mark.parametrize("restarts", [0, 3])
def test_a_sandbox_made_by_hand_lives_as_long_as_it_says_however_often_we_restart(
    restarts: int,
) -> None:
    with World() as world:
        spec = {"templateRef": {"name": "python"}, "lifetime": {"maxDuration": "100s"}}
        world.cluster.create("Sandbox", "team", {"metadata": {"name": "mine"}, "spec": spec})
        key = Key("Sandbox", "team", "mine")
        for _ in range(8):
            world.progress()
        assert ObjectView(world.cluster.objects[key]).is_true("Ready")
        for _ in range(restarts):
            world.advance(20)
            world.stop_operator()
            world.start_operator()
            for _ in range(5):
                world.progress()
        world.advance(101 - world.seconds)
        for _ in range(5):
            world.progress()
        view = ObjectView(world.cluster.objects[key])
        assert view.is_true("Finished")
        assert (view.condition("Finished") or {})["reason"] == "DeadlineExceeded"
        assert world.api.writes == {"POST Pod": 1, "PATCH Sandbox": 2, "DELETE Pod": 1}
