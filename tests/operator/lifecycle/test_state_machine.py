"""Anything may happen at any time, in any order; then the faults stop and everything ends.

The invariants are the world's (tests/operator/world/world.py): they are checked with every
write, every dispatch and after every move.
"""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.operator.lifecycle.moves import Move, Moves

GOOD = [
    Moves.all_events_arrive,
    Moves.events_arrive,
    Moves.a_key_is_worked_on,
    Moves.every_key_is_worked_on,
    Moves.two_keys_are_worked_on_at_once,
    Moves.events_arrive_during_a_write,
    Moves.runtimes_are_asked,
    Moves.the_node_goes_on,
    Moves.a_program_ends,
    Moves.all_goes_well,
    Moves.all_goes_well,
    Moves.all_goes_well,
]
BAD = [
    Moves.the_node_lets_go,
    Moves.somebody_deletes,
    Moves.a_pod_is_hurt,
    Moves.the_watch_misbehaves,
    Moves.the_operator_stops_or_starts,
    Moves.clocks_go_on,
    Moves.people_change_the_offer,
    Moves.somebody_makes_a_session,
    Moves.somebody_suspends_or_resumes,
    Moves.somebody_edits_a_lifetime,
    Moves.somebody_suspends_a_sandbox,
    Moves.somebody_orphans_a_sandbox,
]


class Anything(RuleBasedStateMachine):
    """Two rules only: Hypothesis leaves some rules out of each run, to find more, and most runs
    would then leave a session on half of its way."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = Moves()
        self.world = self.moves.world
        self.world.__enter__()

    @initialize(data=st.data(), rounds=st.sampled_from([5, 4, 3, 6, 0]), volumes=st.booleans())
    def begin(self, data: st.DataObject, rounds: int, volumes: bool) -> None:
        if volumes:
            self.moves.have_volumes()
        self.moves.somebody_makes_a_session(data.draw)
        for _ in range(rounds):
            self.world.progress()

    @rule(data=st.data(), move=st.sampled_from(GOOD))
    def something_good(self, data: st.DataObject, move: Move) -> None:
        move(self.moves, data.draw)

    @rule(data=st.data(), move=st.sampled_from(GOOD + BAD))
    def anything(self, data: st.DataObject, move: Move) -> None:
        move(self.moves, data.draw)

    @invariant()
    def what_must_hold(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            self.moves.calm_down()
        finally:
            self.world.__exit__(None, None, None)


def test_whatever_happens_every_session_ends_once_and_nothing_is_left() -> None:
    run_state_machine_as_test(
        Anything,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
