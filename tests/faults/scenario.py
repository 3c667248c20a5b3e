"""What a scenario is made of, what its script has to play with, and what came of it."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.witness import Witness
from tests.faults import batch
from tests.faults.batch import Case
from tests.faults.faults import Rule
from tests.faults.history import Json, controller
from tests.faults.kubeapi import Admin, until
from tests.faults.observer import Observer, Violation
from tests.faults.operator_process import OperatorProcess
from tests.faults.proxy import Proxy


@dataclass
class Field:
    """What a scenario's script has to play with."""

    admin: Admin
    proxy: Proxy
    operator: OperatorProcess
    observer: Observer
    witness: Witness
    namespace: str
    dice: random.Random
    another: Callable[[], OperatorProcess]
    """A second operator on the same proxy, not started yet; stopped at the end."""
    injected: Counter[str] = field(default_factory=Counter)
    """Faults that the script did itself."""

    violations: list[Violation] = field(default_factory=list)

    def wrong(self, invariant: str, sentence: str) -> None:
        """The script itself has seen an invariant broken."""
        self.violations.append(Violation(invariant, f"{self.namespace}: {sentence}"))

    async def until(self, look: Callable[[], Awaitable[bool] | bool], timeout: float = 20) -> bool:
        """Poll; False if it did not come about."""
        return await until(look, timeout)

    async def until_runs(self, session: str, timeout: float = 20, step: str = "") -> bool:
        """Until the node has seen a step of the session start: this one, or any."""
        marker = f"{self.namespace}/{session} {step}"
        return await self.until(lambda: bool(self.witness.saw(marker)), timeout)

    async def pods(self) -> list[Json]:
        return list((await self.admin.list("pods", self.namespace))["items"])

    async def pod_of(self, session: str) -> Json | None:
        """The pod of a session's sandbox, by the controllers' uids."""
        found = await self.admin.get("agentsessions", self.namespace, session)
        sandboxes = (await self.admin.list("sandboxes", self.namespace))["items"]
        for pod in await self.pods():
            for sandbox in sandboxes:
                uid = sandbox["metadata"]["uid"]
                if (
                    controller(pod) == uid
                    and found
                    and controller(sandbox) == found["metadata"]["uid"]
                ):
                    return pod
        return None


SAME_END = "the end is that of an undisturbed run"
"""The invariant that the harness judges itself, after all others."""
Script = Callable[[Field], Coroutine[Any, Any, None]]
Ends = dict[str, Any]
"""By session: how it ended, without times."""


@dataclass(frozen=True)
class Scenario:
    """One case of the fault matrix."""

    name: str
    row: str
    """The row of the matrix in its own words."""
    rules: tuple[Rule, ...] = ()
    """At work from the operator's first request until the batch is over."""
    from_start: bool = True
    """Else the rules are at work from when the operator watches: its first list of five kinds
    begins again when one of them fails, so a high share of errors may keep it from starting."""
    script: Script | None = None
    """Runs beside the batch, begins when the sessions are created."""
    prepare: Script | None = None
    """Done before the sessions are created."""
    sessions: tuple[Case, ...] = batch.BATCH
    clock_skew_s: int = 0
    """How far the operator's clock is ahead of everybody else's."""
    within: float = 60.0
    """Seconds from the creation of the sessions until nothing is left of them."""
    ends: Mapping[str, Callable[[Any], list[str]]] = field(default_factory=dict)
    """Sessions that the fault may change: what is wrong with their ends. All others must end
    as in an undisturbed run."""
    waits: bool = True
    """The sessions are created when the operator watches; else with its start."""
    rest_s: float = 1.5
    """Nothing may be written for so long after the end; from 10 on the operator is restarted in
    the middle of it."""
    destructive: bool = False
    """It deletes what is not its own: left out where other people's sessions are."""
    besides: frozenset[str] = frozenset()
    """Fields of the status that the fault adds to an end that is otherwise as undisturbed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the operator on top of the Deployment's."""
    keeps: bool = True
    """The namespace is there at the end."""
    bug: str = ""
    """A known bug that this scenario shows: its violations are reported apart."""

    @property
    def disturbed(self) -> bool:
        return bool(self.rules or self.script or self.prepare or self.clock_skew_s)


@dataclass
class Result:
    """What came of one run of a scenario."""

    scenario: Scenario
    seed: int
    seconds: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    writes: Counter[tuple[str, str]] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    ends: Ends = field(default_factory=dict)
    lives: int = 0
    log: str = ""
