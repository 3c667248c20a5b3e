"""The table: named cases for the rows of the fault matrix (docs/faults.md lists the rows).

SHORT runs in `make test`; `make faults` runs LONG, and EVERY_KILL for n = 1, 2, …
"""

from collections.abc import Callable
from functools import partial

from tests.faults import batch, scripts
from tests.faults.faults import (
    Answer,
    Cut,
    Drop,
    Hangup,
    Kill,
    Late,
    Rule,
    Swap,
    Twice,
    always,
    chance,
    every,
    only,
)
from tests.faults.more_scenarios import MORE
from tests.faults.scenario import Scenario
from tests.faults.scripts import EVENTS, STALE_LISTS
from tests.faults.vocabulary import BUSY, CONFLICT, DELETED, PATCH

UNDISTURBED = Scenario(
    "undisturbed",
    "none: and nothing is written at rest",
    sessions=(*batch.BATCH, batch.LONG, batch.PATIENT),
    rest_s=10,
)

KILLED_AFTER = Scenario(
    "killed-after-every-fifth-write",
    "operator kill -9 before/after each write",
    (Rule(Kill(done=True), every(5), counted=True),),
    sessions=batch.QUICK,
)
STALE_AFTER_RESTART = Scenario(
    "stale-lists-after-a-restart",
    "stale LIST/GET, echo delayed > 5 s",
    script=scripts.stale_after_restart(STALE_LISTS),
    sessions=(*batch.QUICK, batch.PATIENT),
)
DONE_WITHOUT_ANSWER = Scenario(
    "done-without-an-answer",
    "429, 5xx storm, latency, timeout after success",
    (Rule(Hangup(done=True), every(3), counted=True),),
    sessions=batch.QUICK,
)
CONFLICTS = Scenario(
    "conflicts",
    "409 on every 2nd patch; 422",
    (
        Rule(CONFLICT, every(2), verbs=PATCH),
        Rule(Answer(422, "Invalid", "the patch does not fit"), every(5), verbs=PATCH),
    ),
    sessions=batch.QUICK,
)

SHORT: tuple[Scenario, ...] = (
    UNDISTURBED,
    KILLED_AFTER,
    Scenario(
        "overloaded",
        "429, 5xx storm, latency, timeout after success",
        (
            Rule(BUSY, chance(0.2)),
            Rule(Answer(500, "InternalError"), chance(0.1)),
            Rule(Answer(503, "ServiceUnavailable"), chance(0.1)),
            Rule(Late(0.5), chance(0.3)),
        ),
        from_start=False,
        sessions=batch.QUICK,
    ),
    DONE_WITHOUT_ANSWER,
    CONFLICTS,
    STALE_AFTER_RESTART,
    Scenario(
        "events-in-disorder",
        "events dropped, duplicated, reordered; DELETE missed",
        (
            Rule(Drop(), always, events=DELETED),
            Rule(Drop(), chance(0.15), events=EVENTS),
            Rule(Twice(), chance(0.3), events=EVENTS),
            Rule(Swap(), chance(0.3), events=EVENTS),
        ),
        script=scripts.for_a_while(5),
        sessions=batch.QUICK,
    ),
    Scenario(
        "watches-end",
        "API server restart; all watches cut; 410 Gone; bookmarks missing",
        (
            Rule(Cut(gone=True), chance(0.1), events=EVENTS),
            Rule(Drop(), always, events=frozenset({"BOOKMARK"})),
        ),
        script=scripts.cutting(0.7),
        sessions=batch.QUICK,
    ),
)


def killed_at(ordinal: int, done: bool) -> Scenario:
    """The operator is killed once, before or after its n-th write."""
    when = "after" if done else "before"
    return Scenario(
        f"killed-{when}-write-{ordinal}",
        "operator kill -9 before/after each write",
        (Rule(Kill(done=done), only(ordinal), counted=True),),
        sessions=batch.QUICK,
    )


LONG: tuple[Scenario, ...] = (*SHORT, *MORE)
EVERY_KILL: tuple[Callable[[int], Scenario], ...] = (
    partial(killed_at, done=False),
    partial(killed_at, done=True),
)
"""For n = 1, 2, … until a run has no n-th write."""
