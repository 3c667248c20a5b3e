"""Anything may happen at any time, in any order; then the faults stop and everything ends.

The invariants are the world's (tests/operator/world/world.py): they are checked with every
write, every dispatch and after every rule. Rules are few and broad, because one that is rarely
chosen finds nothing: whatever moves things on is as likely as all misfortunes together.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from paddock_operator.engine.engine import KINDS
from paddock_operator.plan.actions import Key
from tests.operator.world.life import Life
from tests.operator.world.world import TEMPLATE, World

FAULTS = ["crash-before", "crash-after", "lost", "unreachable", "overloaded"]
CODES = st.lists(st.sampled_from([0, 0, 0, 3]), max_size=3)
MAX_SESSIONS = 3


def running(machine: "Anything") -> bool:
    return machine.world.life is not None


class Anything(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.__enter__()
        self.names = 0

    @property
    def life(self) -> Life:
        assert self.world.life is not None
        return self.world.life

    @initialize(codes=CODES, tolerant=st.booleans(), rounds=st.integers(0, 6))
    def begin(self, codes: list[int], tolerant: bool, rounds: int) -> None:
        self.create(codes, tolerant)
        for _ in range(rounds):
            self.world.progress()

    # What moves things on.

    @precondition(running)
    @rule(kinds=st.sets(st.sampled_from(KINDS), min_size=1), count=st.integers(1, 9))
    def events_arrive(self, kinds: set[Any], count: int) -> None:
        for kind in sorted(kinds):
            for _ in range(min(count, len(self.life.pending[kind]))):
                self.life.deliver(kind)

    @precondition(lambda self: running(self) and self.life.queue.ready)
    @rule(data=st.data(), fault=st.none() | st.sampled_from(FAULTS))
    def a_key_is_worked_on(self, data: st.DataObject, fault: str | None) -> None:
        self.world.api.fault = fault
        self.world.work(self.pick(data, self.life.queue.ready))
        self.world.api.fault = None

    @precondition(lambda self: running(self) and self.life.queue.ready)
    @rule()
    def every_key_is_worked_on(self) -> None:
        for key in list(self.life.queue.ready):
            self.world.work(key)

    @precondition(lambda self: running(self) and len(self.life.queue.ready) > 1)
    @rule(data=st.data())
    def two_keys_are_worked_on_at_once(self, data: st.DataObject) -> None:
        """While the answer to a write of the first is on its way, the second is worked on."""
        life = self.life
        first = self.pick(data, life.queue.ready)
        second = self.pick(data, [key for key in life.queue.ready if key != first])
        self.while_writing(first, lambda: life.work(second))

    @precondition(lambda self: running(self) and self.life.queue.ready)
    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def events_arrive_during_a_write(self, data: st.DataObject, kind: Any) -> None:
        self.while_writing(
            self.pick(data, self.life.queue.ready), lambda: self.events_arrive({kind}, 9)
        )

    @precondition(running)
    @rule()
    def runtimes_are_asked(self) -> None:
        self.life.prober.ask()
        for session_uid in list(self.life.conversations.going):
            self.life.conversations.talk(session_uid)
        self.life.queue.take_due()

    @rule(data=st.data())
    def a_program_ends(self, data: st.DataObject) -> None:
        if (found := self.pick(data, self.world.node.unfinished())) is not None:
            self.world.node.finish(*found)

    @rule()
    def the_node_goes_on(self) -> None:
        for key in self.world.node.startable():
            self.world.node.start(key)
        for runtime in self.world.node.runtimes.values():
            runtime.answers = True
        self.world.cluster.collect_garbage()

    @rule()
    def the_node_lets_go(self) -> None:
        for key in self.world.node.letting_go():
            self.world.node.let_go(key)
        self.world.node.reap()

    @rule(rounds=st.integers(1, 3))
    def all_goes_well_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.world.progress()

    # Misfortunes.

    @rule(data=st.data(), kind=st.sampled_from(["AgentSession", "Sandbox", "Pod", "Pod"]))
    def somebody_deletes(self, data: st.DataObject, kind: str) -> None:
        key = self.pick(data, [key for key, _ in self.world.cluster.of_kind(kind)])
        if key is not None:
            self.world.cluster.delete(key, force=data.draw(st.booleans()))
            if kind == "AgentSession" and data.draw(st.booleans()):
                self.world.apply(key.name, 0)  # made again at once, with another uid

    @rule(data=st.data(), how=st.sampled_from(["evict", "fail", "restart"]))
    def a_pod_is_hurt(self, data: st.DataObject, how: str) -> None:
        if key := self.pick(data, self.world.node.running()):
            getattr(self.world.node, how)(key)

    @precondition(running)
    @rule(kind=st.sampled_from(KINDS), how=st.sampled_from(["again", "lose", "resync"]))
    def the_watch_misbehaves(self, kind: Any, how: str) -> None:
        if how == "again":
            self.life.deliver_again(kind)
        elif how == "lose":
            self.life.lose_events(kind)
        else:
            self.world.api.between = lambda: self.events_arrive({kind}, 9)
            self.life.resync()
            self.world.api.between = lambda: None

    @rule()
    def the_operator_stops_or_starts(self) -> None:
        if running(self):
            self.world.stop_operator()
        else:
            self.world.start_operator()

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0, 61.0]), skew=st.sampled_from([0, -20, 20, 3600]))
    def clocks_go_on(self, seconds: float, skew: float) -> None:
        self.world.advance(seconds)
        self.world.skew = timedelta(seconds=skew)

    @rule(kinds=st.sets(st.sampled_from(["Pod", "Sandbox"])), offered=st.booleans())
    def people_change_the_offer(self, kinds: set[str], offered: bool) -> None:
        self.world.cluster.no_quota_for = kinds
        self.offer(offered)

    @precondition(lambda self: self.names < MAX_SESSIONS)
    @rule(codes=CODES, tolerant=st.booleans())
    def create(self, codes: list[int], tolerant: bool) -> None:
        self.world.apply(f"s{self.names}", *codes, tolerant=tolerant)
        self.names += 1

    @invariant()
    def what_must_hold(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """The faults stop: every session ends, nothing is left, nothing more is written."""
        try:
            self.world.skew = timedelta()
            self.world.cluster.no_quota_for = set()
            self.offer(True)
            self.world.settle()
            self.world.check_at_rest()
        finally:
            self.world.__exit__(None, None, None)

    def offer(self, offered: bool) -> None:
        if offered and TEMPLATE not in self.world.cluster.objects:
            self.world.offer_template()
        elif not offered and TEMPLATE in self.world.cluster.objects:
            self.world.withdraw_template()

    def while_writing(self, key: Key, then: Callable[[], object]) -> None:
        """Work on the key; `then` happens after its first write and before the answer."""
        real, done = self.world.api._carry_out, False

        def carry_out(*args: Any) -> Any:
            nonlocal done
            answer = real(*args)
            if not done:
                done = True
                then()
            return answer

        self.world.api._carry_out = carry_out  # type: ignore[method-assign]
        try:
            self.world.work(key)
        finally:
            del self.world.api._carry_out

    @staticmethod
    def pick(data: st.DataObject, choices: Any) -> Any:
        return data.draw(st.sampled_from(list(choices))) if choices else None


def test_whatever_happens_every_session_ends_once_and_nothing_is_left() -> None:
    run_state_machine_as_test(
        Anything,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
