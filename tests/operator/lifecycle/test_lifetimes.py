"""Everything ends when it was said to, with the operator there or away, and says truly why."""

from collections.abc import Callable

import pytest
from tests.operator.lifecycle.test_races import kill_pod
from tests.operator.lifecycle.test_suspend import calm, only, phase, reach, status
from tests.operator.planning import message, said
from tests.operator.world.cluster import Json
from tests.operator.world.world import TEMPLATE, World

from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView

MINE = Key("Sandbox", "team", "mine")


def lifetime_of(world: World, key: Key, **lifetime: str) -> None:
    world.cluster.edit(key, lambda spec: spec.update(lifetime=lifetime))


def make(world: World, **lifetime: str) -> None:
    """A sandbox by hand, named mine."""
    spec = {"templateRef": {"name": "python"}, "lifetime": lifetime}
    world.cluster.create("Sandbox", "team", {"metadata": {"name": "mine"}, "spec": spec})


def ready(world: World, key: Key) -> bool:
    return ObjectView(world.cluster.objects[key]).is_true("Ready")


def end_of(world: World, key: Key) -> str:
    return said(status(world, key), "Finished")[1]


def opened(world: World, **lifetime: str) -> Key:
    """An open session that answers and was told its deadlines."""
    key = world.apply("hello")
    lifetime_of(world, key, **lifetime)
    reach(world, lambda: phase(world, key) == "Ready")
    calm(world)
    return key


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize(
    ("lifetime", "at", "reason"),
    [
        ({"maxDuration": "100s"}, 100, "Expired"),
        ({"maxDuration": "100s", "idleTimeout": "20s"}, 20, "Idle"),
        ({"maxDuration": "20s", "idleTimeout": "100s"}, 20, "Expired"),
    ],
)
def test_an_open_session_ends_by_its_runtimes_clock(
    lifetime: dict[str, str], at: int, reason: str, away: bool
) -> None:
    with World() as world:
        key = opened(world, **lifetime)
        (runtime,) = world.node.runtimes.values()
        if away:
            world.stop_operator()
        world.advance(at - 1)
        assert not runtime.dead
        world.advance(1.001)
        assert runtime.dead, "nobody else is needed for it"
        if away:
            world.advance(1000)
        world.settle()
        assert (phase(world, key), end_of(world, key)) == ("Expired", reason)
        assert said(status(world, key), "Complete") == ("True", reason)
        world.check_at_rest()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("edit", "at", "reason"),
    [
        pytest.param({"maxDuration": "30s"}, 30, "Expired", id="shorter"),
        pytest.param({"maxDuration": "10m"}, 600, "Expired", id="longer"),
        pytest.param({"maxDuration": "60s", "idleTimeout": "25s"}, 25, "Idle", id="idle added"),
        pytest.param({"maxDuration": "5s"}, 10, "Expired", id="in the past"),
        pytest.param({"maxDuration": "100h"}, 60, "Expired", id="above the ceiling"),
        pytest.param({}, 60, "Expired", id="taken back"),
    ],
)
def test_an_edit_of_the_session_reaches_a_runtime_that_runs(
    edit: dict[str, str], at: int, reason: str, restart: bool
) -> None:
    with World() as world:
        key = opened(world, maxDuration="60s")
        world.advance(10)
        lifetime_of(world, key, **edit)
        calm(world)
        if restart:
            world.stop_operator()
            calm(world)
        if "100h" in edit.values():
            assert "the end stays as it was" in message(status(world, key), "Ready")
        (runtime,) = world.node.runtimes.values()
        world.advance(max(0.0, at - world.seconds - 0.5))
        assert not runtime.dead
        world.advance(0.501)
        assert runtime.dead
        world.settle()
        assert end_of(world, key) == reason


def test_idleness_that_is_taken_back_is_what_the_sandbox_was_made_with() -> None:
    with World() as world:
        key = opened(world, maxDuration="10h")
        lifetime_of(world, key, maxDuration="10h", idleTimeout="20s")
        calm(world)
        lifetime_of(world, key, maxDuration="10h")
        calm(world)
        (runtime,) = world.node.runtimes.values()
        assert runtime.configured is not None
        assert runtime.configured.idle_timeout_ms == 15 * 60_000


@pytest.mark.parametrize("restart", [False, True])
def test_an_edit_of_the_template_moves_nothing_that_runs(restart: bool) -> None:
    with World() as world:
        key = world.apply("hello")
        world.cluster.edit(key, lambda spec: spec.pop("lifetime"))
        reach(world, lambda: phase(world, key) == "Ready")
        calm(world)
        short = {"maxDuration": "1m", "maxDurationLimit": "1m", "idleTimeout": "10s"}
        world.cluster.edit(TEMPLATE, lambda spec: spec.update(lifetime=short))
        if restart:
            world.stop_operator()
        calm(world)
        (runtime,) = world.node.runtimes.values()
        assert runtime.configured is not None
        assert runtime.configured.idle_timeout_ms == 15 * 60_000
        assert status(world, key)["expiresAt"].startswith("2026-08-01T10:30:00")
        other = world.apply("other")
        world.cluster.edit(other, lambda spec: spec.pop("lifetime"))
        reach(world, lambda: phase(world, other) == "Ready")
        assert status(world, other)["expiresAt"].startswith("2026-08-01T09:31:00")


def test_an_edit_above_the_ceiling_is_not_applied_although_nothing_was_told_yet() -> None:
    with World() as world:
        key = world.apply("hello", max_duration="10h")
        reach(world, lambda: world.cluster.of_kind("Sandbox"))
        lifetime_of(world, key, maxDuration="100h")
        reach(world, lambda: phase(world, key) == "Ready")
        assert status(world, key)["expiresAt"].startswith("2026-08-01T19:30:00")
        assert "above the 24h" in message(status(world, key), "Ready")


# What is left.


@pytest.mark.parametrize("made", ["session", "sandbox"])
@pytest.mark.parametrize("when", ["from the start", "later", "shortened", "restarted"])
def test_a_finished_object_goes_after_its_ttl_whenever_that_was_said(made: str, when: str) -> None:
    with World() as world:
        first = {"maxDuration": "30s"}
        if when != "later":
            first["ttlAfterFinished"] = "100s" if when != "shortened" else "100h"
        if made == "session":
            key = opened(world, **first)
        else:
            make(world, **first)
            key = MINE
        reach(world, lambda: ObjectView(world.cluster.objects[key]).is_true("Finished"))
        calm(world)
        finished = world.seconds
        if when in ("later", "shortened"):
            world.advance(20)
            lifetime_of(world, key, maxDuration="30s", ttlAfterFinished="100s")
            calm(world)
        if when == "restarted":
            world.stop_operator()
            calm(world)
        world.advance(finished + 99 - world.seconds)
        calm(world)
        assert key in world.cluster.objects
        world.settle()
        assert key not in world.cluster.objects
        assert world.seconds == pytest.approx(finished + 100, abs=1.1)
        world.check_at_rest()


def test_a_ttl_that_is_over_already_when_it_is_said_counts_at_once_and_one_taken_back_not() -> None:
    with World() as world:
        key, kept = opened(world, maxDuration="30s"), world.apply("kept", 0)
        lifetime_of(world, kept, maxDuration="30s", ttlAfterFinished="200s")
        reach(world, lambda: phase(world, key) == "Expired" and phase(world, kept) == "Succeeded")
        world.advance(60)
        lifetime_of(world, key, maxDuration="30s", ttlAfterFinished="10s")
        lifetime_of(world, kept, maxDuration="30s")
        calm(world)
        assert key not in world.cluster.objects
        world.advance(10_000)
        world.settle()
        assert kept in world.cluster.objects


# Sandboxes that no session owns.


def by_hand(world: World) -> Key:
    make(world, maxDuration="100s", idleTimeout="20s", ttlAfterFinished="50s")
    world.settle()
    return MINE


@pytest.mark.parametrize("fault", ["crash-after", "crash-before", "lost", "unreachable"])
def test_a_sandbox_by_hand_goes_whatever_happens_to_its_writes(fault: str) -> None:
    with World() as undisturbed:
        by_hand(undisturbed)
        assert undisturbed.cluster.of_kind("Sandbox") == undisturbed.cluster.of_kind("Pod") == []
        writes = undisturbed.api.written
        assert undisturbed.api.log[-1] == "delete Sandbox"
    for n in range(1, writes + 1):
        with World() as world:
            world.api.faults = {n: fault}
            by_hand(world)
            assert world.cluster.of_kind("Sandbox") == world.cluster.of_kind("Pod") == []
            world.check_at_rest()


def evict(world: World) -> None:
    world.node.evict(only(world, "Pod"))


def stay_idle(world: World) -> None:
    world.advance(21)


def delete_pod(world: World) -> None:
    """Its node does not get round to letting it go."""
    world.cluster.delete(only(world, "Pod"))
    for runtime in world.node.runtimes.values():
        runtime.dead = True


@pytest.mark.parametrize("away", [0, 50, 1000])
@pytest.mark.parametrize(
    ("what", "reason"), [(evict, "Evicted"), (stay_idle, "Idle"), (delete_pod, "PodDeleted")]
)
def test_what_ended_it_while_the_operator_was_away_is_told_as_it_was(
    what: Callable[[World], None], reason: str, away: int
) -> None:
    with World() as world:
        make(world, maxDuration="100s", idleTimeout="20s")
        reach(world, lambda: ready(world, MINE))
        calm(world)
        world.stop_operator()
        what(world)
        world.advance(away + 3)
        world.start_operator()
        assert world.life is not None
        for key in list(world.life.queue.ready):
            world.work(key)
        assert end_of(world, MINE) == reason


def test_one_above_the_ceiling_gets_no_pod_and_is_at_rest_until_its_end() -> None:
    with World() as world:
        make(world, maxDuration="48h")
        calm(world)
        assert said(status(world, MINE), "Stalled") == ("True", "DurationAboveCeiling")
        assert world.cluster.of_kind("Pod") == []
        world.settle()
        assert world.seconds == pytest.approx(48 * 3600, abs=1)
        assert end_of(world, MINE) == "DeadlineExceeded"
        world.check_at_rest()


def test_one_that_is_lost_after_an_edit_above_the_ceiling_is_told_as_lost() -> None:
    with World() as world:
        make(world, maxDuration="10h")
        reach(world, lambda: ready(world, MINE))
        lifetime_of(world, MINE, maxDuration="100h")
        calm(world)
        kill_pod(world)
        calm(world)
        assert end_of(world, MINE) == "SandboxLost"


@pytest.mark.parametrize("restart", [False, True])
def test_one_that_lost_its_session_ends_by_itself(restart: bool) -> None:
    """`kubectl delete ags --cascade=orphan` takes the ownerReference away."""
    with World() as world:
        key = opened(world, maxDuration="60s")
        sandbox = only(world, "Sandbox")
        if restart:
            world.stop_operator()
        world.cluster.change(sandbox, lambda obj: obj["metadata"].pop("ownerReferences"))
        world.cluster.delete(key)
        world.settle()
        assert end_of(world, sandbox) == "DeadlineExceeded"
        assert world.seconds < 80
        assert world.cluster.of_kind("Pod") == []
        world.check_at_rest()


def test_one_that_ended_without_a_pod_gives_its_user_id_back() -> None:
    with World() as world:
        world.cluster.no_quota_for = {"Pod"}
        make(world, maxDuration="10s")
        world.settle()
        assert end_of(world, MINE) == "DeadlineExceeded"
        world.cluster.no_quota_for = set()
        key = world.apply("hello")
        reach(world, lambda: phase(world, key) == "Ready")
        assert status(world, only_of(world, "hello"))["workspaceUid"] == 200_000


def only_of(world: World, name: str) -> Key:
    return next(k for k, _ in world.cluster.of_kind("Sandbox") if k.name.startswith(f"{name}-"))


# Replacements.


def refuse_deletes(world: World, count: int) -> None:
    """The API server is overloaded for so many deletes of sandboxes."""
    faults: dict[int, str] = {}
    for n in range(world.api.written + 2, world.api.written + 2 + count):
        faults[n] = "overloaded"
    world.api.faults = faults


@pytest.mark.parametrize("deletes_refused", [0, 1, 5])
def test_a_sandbox_that_is_lost_is_counted_once_however_hard_it_is_to_delete(
    deletes_refused: int,
) -> None:
    with World() as world:
        key = world.apply("hello", 0)
        reach(world, world.node.running)
        evict(world)
        written = world.api.written
        refuse_deletes(world, deletes_refused)
        world.settle()
        found: Json = status(world, key)
        assert (found["phase"], found["sandboxesLost"]) == ("Succeeded", 1), world.api.log[written:]
        assert len(world.node.starts) == 1
        world.check_at_rest()


@pytest.mark.parametrize(("times", "ends"), [(1, "Succeeded"), (3, "Succeeded"), (4, "Failed")])
@pytest.mark.parametrize("volumes", [False, True])
def test_three_are_replaced_and_the_fourth_is_the_end(times: int, ends: str, volumes: bool) -> None:
    with World(volumes=volumes) as world:
        key = world.apply("hello", 0, max_duration="10h")
        seen: set[str] = set()
        for _ in range(times):
            reach(world, lambda: {p.name for p in world.node.running()} and fresh(world, seen))
            seen.add(ObjectView(world.cluster.objects[only(world, "Pod")]).uid)
            evict(world)
        world.settle()
        found = status(world, key)
        assert (found["phase"], found["sandboxesLost"]) == (ends, min(times, 3))
        assert len(world.node.starts) == (1 if ends == "Succeeded" else 0)
        if ends == "Failed":
            assert said(found, "Failed") == ("True", "Evicted")
        world.check_at_rest()


def fresh(world: World, seen: set[str]) -> bool:
    return any(
        ObjectView(world.cluster.objects[key]).uid not in seen for key in world.node.running()
    )
