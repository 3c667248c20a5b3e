"""Races that once were lost, or nearly: each as the shortest story that shows it."""

import pytest
from tests.operator.world.world import World

from paddock_operator.engine.engine import KINDS
from paddock_operator.plan.actions import Key


def answering(world: World, *codes: int) -> tuple[Key, Key]:
    """A session whose runtime has just answered and that nobody has looked at since; its key
    and its sandbox's."""
    session = world.apply("hello", *(codes or (0,)))
    assert world.life is not None
    while not world.life.prober.ask():
        for kind in KINDS:
            while world.life.pending[kind]:
                world.life.deliver(kind)
        for key in list(world.life.queue.ready):
            world.work(key)
        for key in world.node.startable():
            world.node.start(key)
        for runtime in world.node.runtimes.values():
            runtime.answers = True
    ((sandbox, _),) = world.cluster.of_kind("Sandbox")
    return session, sandbox


def kill_pod(world: World, *, seen: bool = True) -> None:
    """`kubectl delete pod --force`: the object is gone, its processes are not yet."""
    ((key, _),) = world.cluster.of_kind("Pod")
    world.cluster.delete(key, force=True)
    if seen:
        see(world, "Pod")


def see(world: World, *kinds: str) -> None:
    assert world.life is not None
    for kind in KINDS:
        while kind in kinds and world.life.pending[kind]:
            world.life.deliver(kind)


def talk(world: World) -> None:
    assert world.life is not None
    for uid in list(world.life.conversations.going):
        world.life.conversations.talk(uid)


def end(world: World, session: Key) -> tuple[str, str]:
    """Phase and reason of the only step, after everything has come to rest."""
    world.settle()
    world.check_at_rest()
    status = world.cluster.objects[session]["status"]
    return status["phase"], status["steps"][0]["reason"]


def test_a_pod_lost_after_the_dispatch_is_not_replaced_although_its_sandbox_never_said_ready() -> (
    None
):
    """The session need not wait for the sandbox's status, so that may not be there yet."""
    with World() as world:
        session, sandbox = answering(world)
        world.work(session)
        talk(world)
        assert len(world.node.starts) == 1
        kill_pod(world)
        world.work(sandbox)
        assert world.cluster.of_kind("Pod") == []
        assert end(world, session) == ("Failed", "SandboxLost")
        assert len(world.node.starts) == 1


def test_the_same_across_a_restart_of_the_operator() -> None:
    with World() as world:
        session, _ = answering(world)
        world.work(session)
        talk(world)
        world.stop_operator()
        kill_pod(world, seen=False)
        world.start_operator()
        assert end(world, session) == ("Failed", "SandboxLost")
        assert len(world.node.starts) == 1


def test_a_pod_lost_before_the_dispatch_gets_nothing_and_its_successor_runs_the_step() -> None:
    """It goes while the write that allows the dispatch is on its way."""
    with World() as world:
        session, sandbox = answering(world)

        def meanwhile() -> None:
            kill_pod(world)
            assert world.life is not None
            world.life.work(sandbox)  # the store knows of no claim yet: a second pod

        world.api.during = meanwhile
        world.work(session)
        assert len(world.cluster.of_kind("Pod")) == 1
        talk(world)
        assert world.node.starts == [], "the first pod may still be alive"
        assert end(world, session) == ("Succeeded", "Exited")
        assert len(world.node.starts) == 1


def test_a_sandbox_never_has_a_second_pod_although_nobody_heard_of_the_first() -> None:
    with World() as world:
        session, sandbox = answering(world)
        world.api.fault = "lost"
        world.work(sandbox)  # Ready is written with the pod's uid, and the answer is lost
        kill_pod(world)
        world.work(sandbox)
        assert world.cluster.of_kind("Pod") == []
        world.settle()
        world.check_at_rest()
        status = world.cluster.objects[session]["status"]
        assert (status["phase"], status["sandboxesLost"]) == ("Succeeded", 1)
        assert len(world.node.starts) == 1


def test_a_uid_is_not_given_out_again_while_a_pod_may_exist_that_nobody_told_us_of() -> None:
    """Its create timed out, its sandbox is gone, and the watch of pods is slow."""
    with World() as world:
        first = world.apply("first", 0)
        see(world, *KINDS)
        world.work(first)
        ((sandbox, _),) = world.cluster.of_kind("Sandbox")
        world.api.fault = "lost"
        world.work(sandbox)
        world.cluster.delete(first)
        world.cluster.remove(sandbox)
        see(world, "Sandbox", "AgentSession")
        second = world.apply("second", 0)
        see(world, "AgentSession")
        world.work(second)
        ((other, _),) = world.cluster.of_kind("Sandbox")
        world.work(other)
        assert len(world.cluster.of_kind("Pod")) == 2
        world.check()
        assert end(world, second) == ("Succeeded", "Exited")


def test_a_session_that_is_gone_before_its_write_gets_no_step() -> None:
    with World() as world:
        session, _ = answering(world)
        world.cluster.delete(session)
        world.work(session)
        assert world.life is not None
        assert world.life.conversations.going == {}
        world.settle()
        assert world.node.starts == []
        world.check_at_rest()


@pytest.mark.parametrize("lost", [True, False])
def test_a_deleted_session_is_not_brought_back_by_a_list_from_before(lost: bool) -> None:
    """A list is read while its events arrive: it may be older than the deletion."""
    with World() as world:
        session, _ = answering(world)

        def meanwhile() -> None:
            if session in world.cluster.objects:
                world.cluster.delete(session)
                world.cluster.collect_garbage()
                if lost:
                    assert world.life is not None
                    world.life.lose_events("AgentSession")
                see(world, *KINDS)

        world.api.between = meanwhile
        assert world.life is not None
        world.life.resync()
        world.api.between = lambda: None
        before = world.api.written
        world.settle()
        world.check_at_rest()
        assert world.api.written - before <= 2


def test_a_session_made_again_under_its_name_inherits_nothing() -> None:
    with World() as world:
        session, _ = answering(world)
        world.work(session)
        talk(world)
        world.cluster.delete(session)
        assert world.life is not None
        world.life.lose_events("AgentSession")
        world.apply("hello", 3)
        assert end(world, session) == ("Failed", "Exited")
        assert world.life.conversations.going == {}


def test_a_name_that_is_taken_is_used_as_soon_as_it_is_free() -> None:
    for kind in ("Sandbox", "Pod"):
        with World() as world:
            _, taken = answering(world)  # what the child will be called: same uids in each world
        with World() as world:
            metadata = {"name": taken.name, "labels": {"paddock.dev/sandbox": "foreign"}}
            foreign = {"metadata": metadata, "spec": {"containers": []}}
            key = Key(kind, "team", taken.name)
            session = world.apply("hello", 0)
            world.cluster.create(kind, "team", foreign)
            for _ in range(4):
                see(world, *KINDS)
                assert world.life is not None
                for ready in list(world.life.queue.ready):
                    world.work(ready)
            status = world.cluster.objects[session]["status"]
            assert "NameTaken" in str(status["conditions"])
            assert key in world.cluster.objects
            world.cluster.delete(key, force=True)
            world.advance(16)
            for _ in range(12):
                world.progress()
            assert world.seconds < 30
            assert world.cluster.objects[session]["status"]["phase"] == "Succeeded"
