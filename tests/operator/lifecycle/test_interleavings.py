"""Few faults in any order of the actors: where races are found that random walks miss.

Everybody who may act (the workers, each watch, the node, the programs, …) has a priority, and
the first who can do something does it. An example is an order, changes of it, and misfortunes,
at points of time: a fault that needs d changes of order is found with a probability that does
not shrink with the length of the run (after Burckhardt et al., probabilistic concurrency
testing).
"""

from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, note, settings
from tests.operator.lifecycle.moves import FAULTS, Moves
from tests.operator.world.world import World

from paddock_operator.plan.actions import Kind

Actor = Callable[[World], bool]
STEPS = 45


def worker(kind: Kind) -> Actor:
    def works(world: World) -> bool:
        key = next((key for key in world.life.queue.ready if key.kind == kind), None)  # type: ignore[union-attr]
        if key is not None:
            world.work(key)
        return key is not None

    return works


def watch(kind: Kind) -> Actor:
    def delivers(world: World) -> bool:
        assert world.life is not None
        if not world.life.pending[kind]:
            return False
        world.life.deliver(kind)
        return True

    return delivers


def prober(world: World) -> bool:
    return world.life is not None and world.life.prober.ask()


def talker(world: World) -> bool:
    assert world.life is not None
    before = list(world.node.starts)
    talked = [world.life.conversations.talk(uid) for uid in list(world.life.conversations.going)]
    return any(talked) or before != world.node.starts


def kubelet(world: World) -> bool:
    if startable := world.node.startable():
        world.node.start(startable[0])
        return True
    young = [r for r in world.node.runtimes.values() if not r.answers and not r.dead]
    for runtime in young:
        runtime.answers = True
    return bool(young)


def cleaner(world: World) -> bool:
    found = world.cluster.collect_garbage()
    for key in world.node.letting_go():
        world.node.let_go(key)
        found = True
    return found


def program(world: World) -> bool:
    for found in world.node.unfinished():
        world.node.finish(*found)
        return True
    return False


def timers(world: World) -> bool:
    return world.life is not None and world.life.queue.take_due()


ACTORS: dict[str, Actor] = {
    "session worker": worker("AgentSession"),
    "sandbox worker": worker("Sandbox"),
    "session watch": watch("AgentSession"),
    "sandbox watch": watch("Sandbox"),
    "pod watch": watch("Pod"),
    "template watch": watch("SandboxTemplate"),
    "prober": prober,
    "talker": talker,
    "kubelet": kubelet,
    "cleaner": cleaner,
    "program": program,
    "timers": timers,
}


def delete(kind: str, *, force: bool = False) -> Callable[[Moves], None]:
    def deletes(moves: Moves) -> None:
        for key, _ in moves.world.cluster.of_kind(kind)[:1]:
            moves.world.cluster.delete(key, force=force)

    return deletes


def again(moves: Moves) -> None:
    for key, _ in moves.world.cluster.of_kind("AgentSession")[:1]:
        moves.world.cluster.delete(key)
        moves.world.apply(key.name, 0)


def hurt(how: str) -> Callable[[Moves], None]:
    def hurts(moves: Moves) -> None:
        for key in moves.world.node.running()[:1]:
            getattr(moves.world.node, how)(key)

    return hurts


def fault(what: str) -> Callable[[Moves], None]:
    def spoils(moves: Moves) -> None:
        moves.world.api.fault = what

    return spoils


def during(misfortune: Callable[[Moves], None], *kinds: Kind) -> Callable[[Moves], None]:
    """It happens while the next write is on its way, is seen, and the sandbox is looked at."""

    def then(moves: Moves) -> None:
        misfortune(moves)
        moves.deliver(set(kinds), 99)
        for key in list(moves.life.queue.ready):
            if key.kind == "Sandbox":
                moves.life.work(key)

    def prepares(moves: Moves) -> None:
        moves.world.api.during = lambda: then(moves)

    return prepares


def nothing(_: Moves) -> None:
    """Events arrive, that is all."""


def stop(moves: Moves) -> None:
    moves.world.stop_operator()
    moves.world.start_operator()


def lose(kind: Kind) -> Callable[[Moves], None]:
    def loses(moves: Moves) -> None:
        moves.life.lose_events(kind)

    return loses


def resync(moves: Moves) -> None:
    moves.world.api.between = lambda: moves.deliver({"Pod", "Sandbox", "AgentSession"}, 99)
    moves.world.resync()
    moves.world.api.between = lambda: None


def suspend(kind: str, wanted: bool) -> Callable[[Moves], None]:
    def suspends(moves: Moves) -> None:
        for key, _ in moves.world.cluster.of_kind(kind)[:1]:
            moves.suspend(key, wanted)

    return suspends


def late(moves: Moves) -> None:
    moves.world.advance(61.0)


MISFORTUNES: dict[str, Callable[[Moves], None]] = {
    "the pod is deleted by force": delete("Pod", force=True),
    "the pod is deleted": delete("Pod"),
    "the sandbox is deleted": delete("Sandbox"),
    "the session is deleted": delete("AgentSession"),
    "the session is made again": again,
    "the template is deleted": delete("SandboxTemplate"),
    **{f"a write: {what}": fault(what) for what in FAULTS},
    "during a write: events": during(nothing, "Pod", "Sandbox", "AgentSession"),
    "during a write: the pod is deleted by force": during(delete("Pod", force=True), "Pod"),
    "during a write: the session is deleted": during(delete("AgentSession"), "AgentSession"),
    "the operator restarts": stop,
    "a resync during events": resync,
    "lost pod events": lose("Pod"),
    "lost sandbox events": lose("Sandbox"),
    "lost session events": lose("AgentSession"),
    **{f"the pod: {how}": hurt(how) for how in ("evict", "fail", "restart")},
    "the session is suspended": suspend("AgentSession", True),
    "the session is resumed": suspend("AgentSession", False),
    "somebody suspends the sandbox": suspend("Sandbox", True),
    "during a write: the session is resumed": during(
        suspend("AgentSession", False), "AgentSession"
    ),
    "the deadline passes": late,
}
POINTS = st.integers(0, STEPS - 1)


@settings(max_examples=900, suppress_health_check=list(HealthCheck))
@given(
    order=st.permutations(list(ACTORS)),
    demoted=st.dictionaries(POINTS, st.sampled_from(list(ACTORS)), max_size=3),
    misfortunes=st.dictionaries(POINTS, st.sampled_from(list(MISFORTUNES)), max_size=4),
    codes=st.sampled_from([(0,), (0, 0), (3, 0)]),
    volumes=st.booleans(),
)
def test_no_order_of_the_actors_breaks_a_promise(
    order: list[str],
    demoted: dict[int, str],
    misfortunes: dict[int, str],
    codes: tuple[int, ...],
    volumes: bool,
) -> None:
    moves = Moves(volumes=volumes)
    priorities = list(order)
    with moves.world as world:
        world.apply("hello", *codes, tolerant=True)
        for point in range(STEPS):
            if point in demoted:
                priorities.remove(demoted[point])
                priorities.append(demoted[point])
            if world.life is None:
                world.start_operator()
            if point in misfortunes:
                note(f"{point}: {misfortunes[point]}")
                MISFORTUNES[misfortunes[point]](moves)
            if world.life is None:  # a resync writes as well
                world.start_operator()
            acted = next((name for name in priorities if ACTORS[name](world)), None)
            note(f"{point}: {acted}")
            world.check()
            if acted is None and not any(later > point for later in misfortunes):
                break
        world.api.fault = world.api.during = None
        moves.calm_down()
