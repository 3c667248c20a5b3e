"""What may happen to a world, one move at a time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from tests.operator.world.life import Life
from tests.operator.world.world import TEMPLATE, World

from paddock_operator.engine.engine import KINDS
from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView

Draw = Callable[[st.SearchStrategy[Any]], Any]
Move = Callable[["Moves", Draw], None]

FAULTS = ["crash-before", "crash-after", "lost", "unreachable", "overloaded"]
CODES = st.lists(st.sampled_from([0, 0, 0, 3]), max_size=3)
SOME_KINDS = st.sets(st.sampled_from(KINDS), min_size=1)
MAX_SESSIONS = 3
LIFETIMES = [
    {"maxDuration": "60s"},
    {"maxDuration": "90s", "idleTimeout": "20s"},
    {"maxDuration": "20s", "ttlAfterFinished": "1h"},
    {"maxDuration": "100h"},
    {"maxDuration": "a week or so"},
]


class Moves:
    """Each draws what it needs to know; one that is not possible now does nothing."""

    def __init__(self, *, volumes: bool = False) -> None:
        self.world = World(volumes=volumes)
        self.sessions = 0

    @property
    def life(self) -> Life:
        assert self.world.life is not None
        return self.world.life

    @property
    def up(self) -> bool:
        return self.world.life is not None

    # What moves things on.

    def events_arrive(self, draw: Draw) -> None:
        if self.up:
            self.deliver(draw(SOME_KINDS), draw(st.integers(1, 9)))

    def all_events_arrive(self, draw: Draw) -> None:
        if self.up:
            self.deliver(set(KINDS), 99)

    def a_key_is_worked_on(self, draw: Draw) -> None:
        if self.up and self.life.queue.ready:
            key = draw(st.sampled_from(list(self.life.queue.ready)))
            self.world.api.fault = draw(st.none() | st.sampled_from(FAULTS))
            self.world.work(key)
            self.world.api.fault = None

    def every_key_is_worked_on(self, draw: Draw) -> None:
        for key in list(self.life.queue.ready) if self.up else ():
            if self.up:
                self.world.work(key)

    def two_keys_are_worked_on_at_once(self, draw: Draw) -> None:
        """While the answer to a write of the first is on its way, the second is worked on."""
        if self.up and len(self.life.queue.ready) > 1:
            life = self.life
            order = draw(st.permutations(list(life.queue.ready)))
            self.while_writing(order[0], lambda: life.work(order[1]))

    def events_arrive_during_a_write(self, draw: Draw) -> None:
        if self.up and self.life.queue.ready:
            key, kinds = draw(st.sampled_from(list(self.life.queue.ready))), draw(SOME_KINDS)
            self.while_writing(key, lambda: self.deliver(kinds, 9))

    def runtimes_are_asked(self, draw: Draw) -> None:
        if self.up:
            self.life.prober.ask()
            for session_uid in list(self.life.conversations.going):
                self.life.conversations.talk(session_uid)
            self.life.queue.take_due()

    def a_program_ends(self, draw: Draw) -> None:
        if unfinished := self.world.node.unfinished():
            self.world.node.finish(*draw(st.sampled_from(unfinished)))

    def the_node_goes_on(self, draw: Draw) -> None:
        for key in self.world.node.startable():
            self.world.node.start(key)
        for runtime in self.world.node.runtimes.values():
            runtime.answers = True

    def all_goes_well(self, draw: Draw) -> None:
        self.world.progress()

    # Misfortunes.

    def the_node_lets_go(self, draw: Draw) -> None:
        self.world.cluster.collect_garbage()
        for key in self.world.node.letting_go():
            self.world.node.let_go(key)
        self.world.node.reap()

    def somebody_deletes(self, draw: Draw) -> None:
        kind = draw(st.sampled_from(["Pod", "Pod", "Sandbox", "AgentSession"]))
        if keys := [key for key, _ in self.world.cluster.of_kind(kind)]:
            key = draw(st.sampled_from(keys))
            self.world.cluster.delete(key, force=draw(st.booleans()))
            if kind == "AgentSession" and draw(st.booleans()):
                self.world.apply(key.name, 0)  # made again at once, with another uid

    def a_pod_is_hurt(self, draw: Draw) -> None:
        if running := self.world.node.running():
            how = draw(st.sampled_from(["evict", "fail", "restart"]))
            getattr(self.world.node, how)(draw(st.sampled_from(running)))

    def the_watch_misbehaves(self, draw: Draw) -> None:
        if not self.up:
            return
        kinds, how = draw(SOME_KINDS), draw(st.sampled_from(["again", "lose", "resync"]))
        if how == "resync":
            self.world.api.between = lambda: self.deliver(kinds, 9)
            self.world.resync()
            self.world.api.between = lambda: None
            return
        for kind in sorted(kinds):
            self.life.deliver_again(kind) if how == "again" else self.life.lose_events(kind)

    def the_operator_stops_or_starts(self, draw: Draw) -> None:
        if self.up:
            self.world.stop_operator()
        else:
            self.world.start_operator()

    def clocks_go_on(self, draw: Draw) -> None:
        self.world.skew = timedelta(seconds=draw(st.sampled_from([0, 0, -20, 20, 3600])))
        self.world.advance(draw(st.sampled_from([0.5, 5.0, 30.0, 61.0])))

    def people_change_the_offer(self, draw: Draw) -> None:
        self.world.cluster.no_quota_for = draw(st.sets(st.sampled_from(["Pod", "Sandbox"])))
        self.offer(draw(st.booleans()))

    def somebody_suspends_or_resumes(self, draw: Draw) -> None:
        if keys := [key for key, _ in self.world.cluster.of_kind("AgentSession")]:
            self.suspend(draw(st.sampled_from(keys)), draw(st.booleans()))

    def somebody_suspends_a_sandbox(self, draw: Draw) -> None:
        """Not theirs to suspend: it is a session's."""
        if keys := [key for key, _ in self.world.cluster.of_kind("Sandbox")]:
            self.suspend(draw(st.sampled_from(keys)), draw(st.booleans()))

    def somebody_orphans_a_sandbox(self, draw: Draw) -> None:
        """`kubectl delete ags --cascade=orphan`."""
        cluster = self.world.cluster
        for key, sandbox in cluster.of_kind("Sandbox")[:1]:
            owner = ObjectView(sandbox).owner
            session = Key("AgentSession", key.namespace, owner.name if owner else "")
            if session in cluster.objects:
                cluster.change(key, lambda obj: obj["metadata"].pop("ownerReferences"))
                cluster.delete(session)

    def somebody_edits_a_lifetime(self, draw: Draw) -> None:
        if keys := [key for key, _ in self.world.cluster.of_kind("AgentSession")]:
            lifetime = draw(st.sampled_from(LIFETIMES))
            self.world.cluster.edit(
                draw(st.sampled_from(keys)), lambda spec: spec.update(lifetime=lifetime)
            )

    def somebody_makes_a_session(self, draw: Draw) -> None:
        if self.sessions < MAX_SESSIONS:
            self.world.apply(f"s{self.sessions}", *draw(CODES), tolerant=draw(st.booleans()))
            self.sessions += 1

    # What they have in common.

    def deliver(self, kinds: set[Any], count: int) -> None:
        for kind in sorted(kinds):
            for _ in range(min(count, len(self.life.pending[kind]))):
                self.life.deliver(kind)

    def offer(self, offered: bool) -> None:
        if offered and TEMPLATE not in self.world.cluster.objects:
            self.world.offer_template()
        elif not offered and TEMPLATE in self.world.cluster.objects:
            self.world.withdraw_template()

    def have_volumes(self) -> None:
        self.world.withdraw_template()
        self.world.volumes = True
        self.world.offer_template()

    def suspend(self, key: Key, wanted: bool) -> None:
        self.world.cluster.edit(key, lambda spec: spec.update(suspend=wanted))

    def while_writing(self, key: Key, then: Callable[[], object]) -> None:
        """Work on the key; `then` happens after its first write and before the answer."""
        self.world.api.during = then
        self.world.work(key)
        self.world.api.during = None

    def calm_down(self) -> None:
        """The faults stop: every session ends, nothing is left, nothing more is written."""
        self.world.skew = timedelta()
        self.world.cluster.no_quota_for = set()
        self.offer(True)
        for key, _ in self.world.cluster.of_kind("AgentSession"):
            self.suspend(key, False)
        self.world.settle()
        self.world.check_at_rest()
