"""Anything may happen at any time, in any order; then the faults stop and everything ends.

The invariants are the world's (tests/operator/world/world.py): they are checked with every
write, every dispatch and after every rule.
"""

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
from tests.operator.world.world import TEMPLATE, World

from paddock_operator.engine.engine import KINDS

FAULTS = ["crash-before", "crash-after", "lost", "unreachable", "overloaded"]
CODES = st.lists(st.sampled_from([0, 0, 0, 3]), max_size=3)
MAX_SESSIONS = 3


def alive(machine: "Anything") -> bool:
    return machine.world.life is not None


class Anything(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.__enter__()
        self.names = 0

    @initialize(codes=CODES, tolerant=st.booleans())
    def begin(self, codes: list[int], tolerant: bool) -> None:
        self.create(codes, tolerant)

    # People.

    @precondition(lambda self: self.names < MAX_SESSIONS)
    @rule(codes=CODES, tolerant=st.booleans())
    def create(self, codes: list[int], tolerant: bool) -> None:
        self.world.apply(f"s{self.names}", *codes, tolerant=tolerant)
        self.names += 1

    @rule(data=st.data(), kind=st.sampled_from(["AgentSession", "Sandbox", "Pod"]))
    def delete_by_hand(self, data: st.DataObject, kind: str) -> None:
        key = self.pick(data, [key for key, _ in self.world.cluster.of_kind(kind)])
        if key is not None:
            self.world.cluster.delete(key, force=data.draw(st.booleans()))

    @rule()
    def change_the_offer(self) -> None:
        if TEMPLATE in self.world.cluster.objects:
            self.world.withdraw_template()
        else:
            self.world.offer_template()

    @rule(kinds=st.sets(st.sampled_from(["Pod", "Sandbox"])))
    def set_the_quota(self, kinds: set[str]) -> None:
        self.world.cluster.no_quota_for = kinds

    @rule(data=st.data())
    def make_it_again(self, data: st.DataObject) -> None:
        """A session of the same name and another uid, at once."""
        key = self.pick(data, [key for key, _ in self.world.cluster.of_kind("AgentSession")])
        if key is not None:
            self.world.cluster.delete(key)
            self.world.apply(key.name, 0)

    # The watch.

    @precondition(alive)
    @rule(kind=st.sampled_from(KINDS), count=st.integers(1, 5))
    def deliver(self, kind: Any, count: int) -> None:
        assert self.world.life is not None
        for _ in range(min(count, len(self.world.life.pending[kind]))):
            self.world.life.deliver(kind)

    @precondition(alive)
    @rule(kind=st.sampled_from(KINDS))
    def deliver_again(self, kind: Any) -> None:
        assert self.world.life is not None
        self.world.life.deliver_again(kind)

    @precondition(alive)
    @rule(kind=st.sampled_from(KINDS))
    def lose_events(self, kind: Any) -> None:
        assert self.world.life is not None
        self.world.life.lose_events(kind)

    @precondition(alive)
    @rule(kind=st.sampled_from(KINDS), count=st.integers(0, 5))
    def resync_while_events_arrive(self, kind: Any, count: int) -> None:
        self.world.api.between = lambda: self.deliver(kind, count)
        assert self.world.life is not None
        self.world.life.resync()
        self.world.api.between = lambda: None

    # The operator.

    @precondition(alive)
    @rule(data=st.data(), fault=st.none() | st.sampled_from(FAULTS))
    def work(self, data: st.DataObject, fault: str | None) -> None:
        assert self.world.life is not None
        key = self.pick(data, list(self.world.life.queue.ready))
        if key is not None:
            self.world.api.fault = fault
            self.world.work(key)
            self.world.api.fault = None

    @precondition(alive)
    @rule()
    def work_on_everything(self) -> None:
        assert self.world.life is not None
        for key in list(self.world.life.queue.ready):
            self.world.work(key)

    @precondition(alive)
    @rule(data=st.data())
    def two_workers_at_once(self, data: st.DataObject) -> None:
        """While one write is on its way, another key is worked on."""
        life = self.world.life
        assert life is not None
        first = self.pick(data, list(life.queue.ready))
        second = self.pick(data, [key for key in life.queue.ready if key != first])
        if first is None or second is None:
            return
        real, nested = self.world.api._write, False

        def write(*args: Any) -> Any:
            nonlocal nested
            answer = real(*args)
            if not nested:
                nested = True
                life.work(second)
            return answer

        self.world.api._write = write  # type: ignore[method-assign]
        try:
            self.world.work(first)
        finally:
            del self.world.api._write

    @precondition(alive)
    @rule()
    def ask_and_talk(self) -> None:
        life = self.world.life
        assert life is not None
        life.prober.ask()
        for session_uid in list(life.conversations.going):
            life.conversations.talk(session_uid)

    @precondition(alive)
    @rule()
    def take_due_keys(self) -> None:
        assert self.world.life is not None
        self.world.life.queue.take_due()

    @precondition(alive)
    @rule()
    def stop_the_operator(self) -> None:
        self.world.stop_operator()

    @precondition(lambda self: self.world.life is None)
    @rule()
    def start_the_operator(self) -> None:
        self.world.start_operator()

    # The node.

    @rule(data=st.data())
    def start_a_pod(self, data: st.DataObject) -> None:
        if key := self.pick(data, self.world.node.startable()):
            self.world.node.start(key)

    @rule()
    def runtimes_come_up(self) -> None:
        for runtime in self.world.node.runtimes.values():
            runtime.answers = True

    @rule(data=st.data())
    def finish_a_program(self, data: st.DataObject) -> None:
        if (found := self.pick(data, self.world.node.unfinished())) is not None:
            self.world.node.finish(*found)

    @rule(data=st.data(), how=st.sampled_from(["evict", "fail", "restart"]))
    def hurt_a_pod(self, data: st.DataObject, how: str) -> None:
        if key := self.pick(data, self.world.node.running()):
            getattr(self.world.node, how)(key)

    @rule(data=st.data())
    def let_a_pod_go(self, data: st.DataObject) -> None:
        if key := self.pick(data, self.world.node.letting_go()):
            self.world.node.let_go(key)

    @rule()
    def reap(self) -> None:
        self.world.node.reap()

    @rule()
    def collect_garbage(self) -> None:
        self.world.cluster.collect_garbage()

    # Time.

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0, 61.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -20.0, 0.0, 20.0, 3600.0]))
    def the_operators_clock_jumps(self, seconds: float) -> None:
        self.world.skew = type(self.world.skew)(seconds=seconds)

    @precondition(alive)
    @rule(rounds=st.integers(1, 4))
    def all_goes_well_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.world.progress()

    @invariant()
    def what_must_hold(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """The faults stop: every session ends, nothing is left, nothing more is written."""
        world = self.world
        try:
            world.skew = type(world.skew)()
            world.cluster.no_quota_for = set()
            if TEMPLATE not in world.cluster.objects:
                world.offer_template()
            world.settle()
            world.check_at_rest()
        finally:
            world.__exit__(None, None, None)

    @staticmethod
    def pick(data: st.DataObject, choices: list[Any]) -> Any:
        return data.draw(st.sampled_from(choices)) if choices else None


def test_whatever_happens_every_session_ends_once_and_nothing_is_left() -> None:
    run_state_machine_as_test(
        Anything,
        settings=settings(
            max_examples=2000,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
