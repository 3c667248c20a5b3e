"""The operator is killed after its n-th write, for every n that there is.

For each scenario n runs from 1 until a run needs no crash. Each time a new life of the operator
takes over, and the end must be that of a run which nobody disturbed: the same status, no step
ran twice, nothing left in the cluster. docs/lifecycle.md says what each crash leaves behind.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from e2e import host_operator, witness
from e2e.host_operator import HostOperator
from e2e.installation import Paddock
from e2e.kube import AgentSession, Json, Kube, is_finished, until
from e2e.sandboxes import bash, session
from e2e.witness import FILE, Witness

RUN_S = 60.0
POLL_S = 0.03
MOST_WRITES = 20
"""More than any of these may cost: a run that still crashes here never ends."""
TIMES = frozenset({"startedAt", "readyAt", "expiresAt", "finishedAt", "lastTransitionTime"})
MEASURED = frozenset({"durationMs", "duration", "cpuMs", "peakMemoryBytes"})
"""Different in every run; whatever else is in a status must be equal to the byte."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Scenario:
    """Steps, and which of them must have run, once."""

    steps: tuple[Json, ...]
    ran: tuple[str, ...]
    delete: bool = False
    """The session is deleted as soon as its first step runs or the operator is dead."""


def _testify(name: str, then: str = "exit 0", **more: Any) -> Json:
    """A step that leaves a line for the witness, and the time to see it."""
    return bash(name, f'echo "$RUN {name}" >> {FILE}; sleep 0.3; echo "{name} ran"; {then}', **more)


SCENARIOS = {
    "hello": Scenario((_testify("greet"),), ("greet",)),
    "failing": Scenario((_testify("fail", "exit 3"), _testify("never")), ("fail",)),
    "three": Scenario(
        (_testify("one"), _testify("two", "exit 2", continueOnFailure=True), _testify("three")),
        ("one", "two", "three"),
    ),
    "deleted": Scenario((_testify("work", "sleep 20"),), ("work",), delete=True),
}


@pytest.fixture(scope="module")
def seen(kube: Kube) -> Iterator[Witness]:
    """Who saw what ran."""
    with witness.watching(kube.kubeconfig) as made:
        yield made


@pytest.fixture(scope="module")
def operator(
    seen: Witness, paddock: Paddock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostOperator]:
    """The operator as a process of ours, instead of the Deployment's."""
    folder = tmp_path_factory.mktemp("operator")
    with host_operator.instead_of_the_deployment(paddock, folder) as made:
        yield made


@dataclass
class Run:
    """One session to its end, by as many lives of the operator as that takes."""

    kube: Kube
    seen: Witness
    operator: HostOperator
    namespace: str
    name: str
    scenario: Scenario
    crashes: int = 0

    def through(self, crash_after: int | None) -> Json:
        """Run it; return how it ended, without what differs between any two runs."""
        self.operator.start(crash_after)
        steps = self.scenario.steps
        environment = [{"name": "RUN", "value": self.name}]
        self.kube.create(AgentSession, session(self.name, *steps, env=environment), self.namespace)
        end = self._deleted() if self.scenario.delete else self._finished()
        self.operator.stop()
        return end

    def _finished(self) -> Json:
        def over() -> Json | None:
            found = self.kube.session(self.name, self.namespace)
            return found if is_finished(found) else None

        obj = self._until(over, "it is finished")
        self._until(self._nothing_left, "nothing is left of it")
        stays = self.kube.session(self.name, self.namespace)
        assert stays["status"] == obj["status"], "what is finished does not change"
        ran = [f"{self.name} {step}" for step in self.scenario.ran]
        assert self.seen.saw(self.name) == sorted(ran)
        end: Json = _masked(obj["status"], obj)
        return end

    def _deleted(self) -> Json:
        until(
            lambda: self.operator.has_crashed or self.seen.saw(self.name),
            f"{self.name} runs, or the operator is dead",
            RUN_S,
            self.operator.log,
            every=POLL_S,
        )
        self.kube.delete(AgentSession, self.name, self.namespace)
        self._until(self._nothing_left, "nothing is left of it")
        assert len(self.seen.saw(self.name)) <= 1
        return {"session": self.kube.find(AgentSession, self.name, self.namespace)}

    def _until(self, look: Any, what: str) -> Any:
        """Wait, and begin a new life of the operator whenever one has crashed."""

        def look_after_the_operator() -> Any:
            if self.operator.has_crashed:
                self.crashes += 1
                self.operator.start()
            return look()

        return until(
            look_after_the_operator, f"{self.name}: {what}", RUN_S, self._state, every=POLL_S
        )

    def _nothing_left(self) -> bool:
        return self.kube.is_empty(self.namespace)

    def _state(self) -> str:
        return f"{self.kube.find(AgentSession, self.name, self.namespace)}\n{self.operator.log()}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_after_any_write_changes_nothing_in_the_end(
    kube: Kube, seen: Witness, operator: HostOperator, shared_namespace: str, name: str
) -> None:
    def run(number: int) -> Run:
        return Run(kube, seen, operator, shared_namespace, f"{name}-{number}", SCENARIOS[name])

    undisturbed = run(0).through(None)
    for n in itertools.count(1):
        assert n <= MOST_WRITES, "the operator writes without end"
        disturbed = run(n)
        end = disturbed.through(n)
        assert end == undisturbed, f"after a crash behind write {n}"
        assert disturbed.crashes <= 1
        if not disturbed.crashes:
            break
    assert n > len(SCENARIOS[name].steps), "it was killed at all"
    print(f"{name}: killed after each of {n - 1} writes")


def _masked(value: Any, obj: Json) -> Any:
    """Without times, measurements, uids and this run's name."""
    if isinstance(value, dict):
        return {
            key: "…" if key in TIMES | MEASURED else _masked(entry, obj)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_masked(entry, obj) for entry in value]
    if isinstance(value, str):
        sandbox = obj["status"]["sandbox"]["name"]
        value = value.replace(sandbox, "SANDBOX").replace(obj["metadata"]["name"], "SESSION")
        return UUID.sub("UID", value)
    return value
