"""Suspended and resumed, whatever happens meanwhile: no step twice, no file lost or overwritten."""

from typing import Any

import pytest
from tests.operator.lifecycle.test_races import kill_pod, see, talk
from tests.operator.world.cluster import Json
from tests.operator.world.world import TEMPLATE, World

from paddock_operator.engine.engine import KINDS
from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView, PodView, get

FILES = [{"path": "data.csv", "content": "a,b"}]
ROUNDS = 60


def reach(world: World, what: Any) -> None:
    """Until it is so; time passes only where nothing else can."""
    for _ in range(ROUNDS):
        if what():
            return
        if not world.progress():
            world.advance(1.0)
    raise AssertionError("it never came so far")


def calm(world: World) -> None:
    """Everything that can be done now is done."""
    while world.progress():
        pass


def status(world: World, key: Key) -> Json:
    found: Json = world.cluster.objects[key]["status"]
    return found


def phase(world: World, key: Key) -> str:
    return str(status(world, key).get("phase"))


def step_of(world: World, key: Key, name: str) -> Json:
    return next((s for s in status(world, key).get("steps", ()) if s["name"] == name), {})


def suspend(world: World, key: Key, wanted: bool = True) -> None:
    world.cluster.edit(key, lambda spec: spec.update(suspend=wanted))


def give_files(world: World, key: Key) -> None:
    world.cluster.edit(key, lambda spec: spec.update(files=FILES))


def until_suspended(world: World, key: Key) -> None:
    reach(world, lambda: phase(world, key) == "Suspended" and not world.cluster.of_kind("Pod"))


def only(world: World, kind: str) -> Key:
    ((key, _),) = world.cluster.of_kind(kind)
    return key


def in_its_second_step(world: World, *, tolerant: bool = True) -> Key:
    """A session of three steps whose second one does not end by itself."""
    world.held = {"s1"}
    key = world.apply("hello", 0, 0, 0, tolerant=tolerant, max_duration="1h")
    reach(world, lambda: step_of(world, key, "s1").get("state") == "Running")
    return key


def whole_life(world: World) -> Key:
    key = in_its_second_step(world)
    suspend(world, key)
    until_suspended(world, key)
    world.advance(5)
    suspend(world, key, False)
    world.settle()
    return key


def check_whole_life(world: World, key: Key) -> None:
    assert phase(world, key) == "Succeeded"
    reasons = [entry["reason"] for entry in status(world, key)["steps"]]
    assert reasons == ["Exited", "Cancelled", "Exited"]
    started = [execution_id.partition(".")[2] for execution_id, _ in world.node.starts]
    assert started.count("s0") == started.count("s2") == 1
    assert started.count("s1") <= 1, "an operator that died before the dispatch sends none"
    world.check_at_rest()


@pytest.mark.parametrize("volumes", [False, True])
def test_a_crash_after_any_write_of_a_suspended_life_changes_nothing_in_the_end(
    volumes: bool,
) -> None:
    with World(volumes=volumes) as undisturbed:
        check_whole_life(undisturbed, whole_life(undisturbed))
        writes = undisturbed.api.log.index("delete Sandbox") + 1
    for n in range(1, writes + 1):
        with World(volumes=volumes) as world:
            world.api.crash_after = n
            key = whole_life(world)
            assert world.restarts == 1, f"no crash after write {n}"
            check_whole_life(world, key)


@pytest.mark.parametrize("fault", ["crash-before", "lost", "unreachable", "overloaded"])
def test_a_write_of_a_suspended_life_that_fails_changes_nothing_in_the_end(fault: str) -> None:
    with World(volumes=True) as undisturbed:
        whole_life(undisturbed)
        writes = undisturbed.api.log.index("delete Sandbox") + 1
    for n in range(1, writes + 1):
        with World(volumes=True) as world:
            world.api.faults = {n: fault}
            check_whole_life(world, whole_life(world))


@pytest.mark.parametrize("restart", [False, True])
def test_a_step_that_may_not_fail_ends_the_session_when_it_is_suspended(restart: bool) -> None:
    with World() as world:
        key = in_its_second_step(world, tolerant=False)
        suspend(world, key)
        if restart:
            world.stop_operator()
        world.settle()
        assert phase(world, key) == "Failed"
        states = [entry["state"] for entry in status(world, key)["steps"]]
        assert states == ["Finished", "Finished", "Skipped"]
        assert step_of(world, key, "s1")["reason"] == "Cancelled"
        world.check_at_rest()


@pytest.mark.parametrize("restart", [False, True])
def test_a_runtime_that_does_not_say_how_the_step_ended_is_waited_for_ten_seconds(
    restart: bool,
) -> None:
    with World() as world:
        key = in_its_second_step(world)
        (runtime,) = world.node.runtimes.values()
        begun = world.seconds
        suspend(world, key)
        while phase(world, key) != "Suspended":
            runtime.answers = False
            if restart and world.life is not None and world.seconds == begun + 3:
                world.stop_operator()
                world.start_operator()
            life = world.life
            assert life is not None
            life.queue.take_due()
            see(world, *KINDS)
            for ready in list(life.queue.ready):
                world.work(ready)
            talk(world)
            if phase(world, key) != "Suspended":
                world.advance(1)
        assert world.seconds == begun + 10
        assert step_of(world, key, "s1")["reason"] == "Cancelled"
        assert "did not say" in step_of(world, key, "s1")["message"]
        until_suspended(world, key)
        suspend(world, key, False)
        world.settle()
        check_whole_life(world, key)


def test_a_pod_that_goes_while_the_suspension_is_written_is_not_asked_to_cancel() -> None:
    with World() as world:
        key = in_its_second_step(world)
        suspend(world, key)
        see(world, *KINDS)
        world.api.during = lambda: kill_pod(world)
        world.work(key)
        assert world.life is not None
        assert world.life.conversations.going == {}
        world.settle()
        assert step_of(world, key, "s1")["reason"] == "SandboxLost"
        world.check_at_rest()


@pytest.mark.parametrize("volumes", [False, True])
def test_without_a_volume_its_files_are_written_anew_and_with_one_they_are_not(
    volumes: bool,
) -> None:
    with World(volumes=volumes) as world:
        key = world.apply("hello", max_duration="10h")
        give_files(world, key)
        reach(world, lambda: phase(world, key) == "Ready")
        reach(world, lambda: world.node.written)
        before = dict(status(world, only(world, "Sandbox")))
        world.advance(5)
        suspend(world, key)
        until_suspended(world, key)
        world.advance(5)
        suspend(world, key, False)
        reach(world, lambda: phase(world, key) == "Ready")
        calm(world)
        after = status(world, only(world, "Sandbox"))
        assert after["podUid"] != before["podUid"]
        assert len(world.node.written) == (1 if volumes else 2)
        if volumes:
            for name in ("workspaceUid", "volumeClaimName"):
                assert after[name] == before[name]
            assert len(world.cluster.of_kind("PersistentVolumeClaim")) == 1


@pytest.mark.parametrize("volumes", [False, True])
def test_one_that_was_suspended_before_it_ever_had_a_pod_gets_its_files(volumes: bool) -> None:
    with World(volumes=volumes) as world:
        key = world.apply("hello", 0, max_duration="10h")
        give_files(world, key)
        suspend(world, key)
        reach(world, lambda: phase(world, key) == "Suspended")
        assert world.cluster.of_kind("Sandbox") == []
        world.advance(5)
        suspend(world, key, False)
        world.settle()
        assert phase(world, key) == "Succeeded"
        assert [path for _, path in world.node.written] == ["data.csv"]
        world.check_at_rest()


def test_one_that_was_suspended_while_its_pod_started_gets_its_files() -> None:
    with World(volumes=True) as world:
        key = world.apply("hello", 0, max_duration="10h")
        give_files(world, key)
        reach(world, lambda: world.cluster.of_kind("Pod"))
        suspend(world, key)
        until_suspended(world, key)
        world.advance(5)
        suspend(world, key, False)
        world.settle()
        assert phase(world, key) == "Succeeded"
        assert [path for _, path in world.node.written] == ["data.csv"]


def test_one_that_keeps_its_pod_because_it_is_resumed_at_once_is_configured_as_before() -> None:
    """The operator dies before it tells the sandbox: the next one finds the same pod."""
    with World(volumes=True) as world:
        key = world.apply("hello", max_duration="10h")
        give_files(world, key)
        reach(world, lambda: phase(world, key) == "Ready")
        reach(world, lambda: world.node.written)
        suspend(world, key)
        world.api.crash_after = world.api.written + 1
        reach(world, lambda: world.life is None)
        assert phase(world, key) == "Suspended"
        suspend(world, key, False)
        for _ in range(8):
            world.progress()
        assert phase(world, key) == "Ready"
        assert len(world.node.written) == 1


@pytest.mark.parametrize("first", [False, True])
def test_what_volume_it_has_is_decided_with_its_first_pod(first: bool) -> None:
    """A template that changes meanwhile neither takes its files nor leaves it without them."""
    with World(volumes=first) as world:
        key = world.apply("hello", max_duration="10h")
        give_files(world, key)
        reach(world, lambda: phase(world, key) == "Ready")
        reach(world, lambda: world.node.written)
        suspend(world, key)
        until_suspended(world, key)
        world.advance(5)
        other = {} if first else {"volume": {"size": "1Gi"}}
        world.cluster.edit(TEMPLATE, lambda spec: spec.update(workspace=other))
        suspend(world, key, False)
        reach(world, lambda: phase(world, key) == "Ready")
        calm(world)
        pod = PodView(world.cluster.objects[only(world, "Pod")])
        assert (pod.volume_claim is not None) == first
        assert len(world.node.written) == (1 if first else 2)


@pytest.mark.parametrize("then", ["stays", "comes back"])
def test_somebody_else_who_suspends_its_sandbox_takes_no_step_away(then: str) -> None:
    with World() as world:
        world.held = {"s0"}
        key = world.apply("hello", 0)
        reach(world, lambda: world.node.starts)
        sandbox = only(world, "Sandbox")
        suspend(world, sandbox)
        see(world, "Sandbox")
        world.work(sandbox)
        if then == "comes back":
            suspend(world, sandbox, False)
        for _ in range(5):
            world.progress()
        assert world.cluster.objects[sandbox]["spec"].get("suspend") is not True
        world.held = set()
        world.settle()
        assert phase(world, key) == "Succeeded"
        assert len(world.node.starts) == 1
        world.check_at_rest()


def test_a_pod_that_is_lost_after_a_resume_is_not_replaced_once_a_step_was_sent_to_it() -> None:
    """The sandbox's status does not name it yet, since that write fails."""
    with World() as world:
        key = in_its_second_step(world)
        suspend(world, key)
        until_suspended(world, key)
        sandbox = only(world, "Sandbox")
        world.held = {"s2"}
        suspend(world, key, False)
        see(world, *KINDS)
        world.work(key)
        world.work(sandbox)
        world.node.start(only(world, "Pod"))
        for runtime in world.node.runtimes.values():
            runtime.answers = True
        see(world, "Pod")
        world.api.fault = "overloaded"
        world.work(sandbox)
        assert world.life is not None
        world.life.prober.ask()
        world.work(key)
        world.work(key)
        talk(world)
        kill_pod(world)
        world.work(sandbox)
        world.held = set()
        world.settle()
        started = [execution_id.partition(".")[2] for execution_id, _ in world.node.starts]
        assert started.count("s2") <= 1
        world.check_at_rest()


def test_its_user_id_is_not_given_away_while_its_pod_cannot_be_made() -> None:
    with World(volumes=True) as world:
        key = world.apply("hello", max_duration="10h")
        reach(world, lambda: phase(world, key) == "Ready" and world.cluster.of_kind("Pod"))
        suspend(world, key)
        until_suspended(world, key)
        world.stop_operator()  # what it has given out is in memory only
        world.cluster.no_quota_for = {"Pod"}
        suspend(world, key, False)
        reach(world, lambda: "QuotaExceeded" in str(status(world, only(world, "Sandbox"))))
        world.cluster.no_quota_for = set()
        other = world.apply("other", max_duration="10h")
        see(world, *KINDS)
        world.work(other)
        made = next(k for k, _ in world.cluster.of_kind("Sandbox") if k.name.startswith("other"))
        world.work(made)
        reach(world, lambda: len(world.cluster.of_kind("Pod")) == 2)
        world.check()


def test_a_sandbox_that_somebody_deletes_while_it_is_suspended_is_lost() -> None:
    with World() as world:
        key = in_its_second_step(world)
        suspend(world, key)
        until_suspended(world, key)
        world.cluster.delete(only(world, "Sandbox"))
        world.settle()
        assert phase(world, key) == "Failed"
        assert "SandboxLost" in str(status(world, key)["conditions"])
        assert step_of(world, key, "s2")["state"] == "Skipped"
        world.check_at_rest()


def test_its_max_duration_goes_on_and_its_idle_timeout_does_not() -> None:
    with World() as world:
        key = world.apply("hello", max_duration="100s")
        world.cluster.edit(key, lambda spec: spec["lifetime"].update(idleTimeout="20s"))
        reach(world, lambda: phase(world, key) == "Ready" and world.cluster.of_kind("Pod"))
        suspend(world, key)
        until_suspended(world, key)
        world.advance(90 - world.seconds)
        world.progress()
        assert phase(world, key) == "Suspended"
        world.settle()
        assert phase(world, key) == "Expired"
        assert world.seconds == pytest.approx(100, abs=1)
        world.check_at_rest()


def test_a_suspended_session_says_so_although_its_template_has_gone() -> None:
    with World() as world:
        key = world.apply("hello", 0, max_duration="10h")
        suspend(world, key)
        reach(world, lambda: phase(world, key) == "Suspended")
        written = world.api.written
        world.withdraw_template()
        world.stop_operator()
        for _ in range(4):
            world.progress()
        assert ObjectView(world.cluster.objects[key]).is_true("Suspended")
        assert world.api.written == written
        world.offer_template()
        suspend(world, key, False)
        world.settle()
        assert phase(world, key) == "Succeeded"


def test_nothing_is_written_while_it_is_suspended() -> None:
    with World() as world:
        key = in_its_second_step(world)
        suspend(world, key)
        until_suspended(world, key)
        calm(world)
        written = world.api.written
        for _ in range(3):
            world.stop_operator()
            world.start_operator()
            world.advance(60)
            for _ in range(5):
                world.progress()
        assert world.api.written == written
        assert get(world.cluster.objects[only(world, "Sandbox")], "status", "podUid") is None
