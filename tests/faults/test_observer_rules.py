"""Each judge is shown a history that violates its invariant, and one that does not."""

import copy
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from tests.faults.conditions import LAG_S, Answering
from tests.faults.history import Change, Json
from tests.faults.invariants import ORPHAN_S, TTL_GRACE_S, seconds
from tests.faults.observer import Court, judges

CREATED = "2026-10-26T08:53:20Z"
T0 = datetime.fromisoformat(CREATED).timestamp()


SANDBOX = {"name": "hello-x", "uid": "sandbox-1"}


def meta(name: str, uid: str, owner: str = "", **more: Any) -> Json:
    owners = [{"uid": owner, "controller": True}] if owner else []
    return {
        "namespace": "team", "name": name, "uid": uid, "generation": 1, "resourceVersion": "1",
        "creationTimestamp": CREATED, "ownerReferences": owners, **more,
    }  # fmt: skip


def pod(uid: str, owner: str = "sandbox-1", user: int = 200_000) -> Json:
    container = {"name": "workspace", "securityContext": {"runAsUser": user}}
    return {
        "metadata": meta("hello-x", uid, owner),
        "spec": {"containers": [container]},
        "status": {"phase": "Running"},
    }


def condition(kind: str, status: str, reason: str = "Answering", at: str = CREATED) -> Json:
    return {
        "type": kind, "status": status, "reason": reason, "observedGeneration": 1,
        "lastTransitionTime": at,
    }  # fmt: skip


def sandbox(pod_uid: str = "", status: str = "True") -> Json:
    told = {"podUid": pod_uid, "conditions": [condition("Ready", status)]} if pod_uid else {}
    return {"metadata": meta("hello-x", "sandbox-1", "session-1"), "spec": {}, "status": told}


def step(state: str, **more: Any) -> Json:
    return {"name": "greet", "state": state, "executionId": "session-1.greet", **more}


def session(*steps: Json, **status: Any) -> Json:
    return {
        "metadata": meta("hello", "session-1"),
        "spec": {"lifetime": {"maxDuration": "1m"}},
        "status": {"steps": list(steps), **status},
    }


def running(*steps: Json, **more: Any) -> Json:
    told = [condition("Ready", "True")]
    return session(*steps, phase="Running", conditions=told, sandbox=SANDBOX, **more)


def finished(*steps: Json, phase: str = "Succeeded", end: str = "Complete", **more: Any) -> Json:
    told = [condition(kind, "True", "Completed") for kind in ("Ready", "Finished", end)]
    rest = {"sandbox": SANDBOX, "finishedAt": CREATED} | more
    return session(*steps, phase=phase, conditions=told, **rest)


DONE = step("Finished", reason="Exited", exitCode=0)


class Story:
    """Changes and ticks, a second apart."""

    def __init__(self) -> None:
        self.court = Court()
        self.now = T0

    def see(self, kind: Any, obj: Json, type: Any = "MODIFIED") -> "Story":
        self.now += 1
        self.court.change(Change(self.now, type, kind, copy.deepcopy(obj)))
        return self

    def gone(self, kind: Any, obj: Json) -> "Story":
        return self.see(kind, obj, "DELETED")

    def wait(self, seconds: float) -> "Story":
        self.now += seconds
        self.court.tick(self.now)
        return self

    def lines(self, *lines: str) -> "Story":
        self.court.history.lines = list(lines)
        return self

    def probe(self, pod_uid: str, answered: bool) -> "Story":
        (judge,) = [judge for judge in self.court.judges if isinstance(judge, Answering)]
        judge.probed[pod_uid] = answered
        return self


def calm() -> Story:
    """A session's whole life, as it should be."""
    return (
        Story()
        .see("AgentSession", session())
        .see("Sandbox", sandbox())
        .see("Pod", pod("pod-1"))
        .see("Sandbox", sandbox("pod-1"))
        .see("AgentSession", running(step("Running")))
        .lines("team/hello greet")
        .probe("pod-1", True)
        .wait(5)
        .see("AgentSession", finished(DONE))
        .gone("Sandbox", sandbox("pod-1"))
        .gone("Pod", pod("pod-1"))
        .wait(600)
    )


def running_pod() -> Story:
    return (
        Story()
        .see("AgentSession", session())
        .see("Sandbox", sandbox())
        .see("Pod", pod("pod-1"))
        .see("Sandbox", sandbox("pod-1"))
    )


def moved_condition(status: str) -> Json:
    later = condition("Ready", status, at="2026-10-26T08:55:00Z")
    phase = "Running" if status == "True" else "Starting"
    return session(conditions=[later], phase=phase, sandbox=SANDBOX)


WRONG: dict[str, tuple[str, Callable[[], Story]]] = {
    "one pod per sandbox: two at once": (
        "one pod per sandbox",
        lambda: running_pod().see("Pod", pod("pod-2", user=200_001)),
    ),
    "no execution started twice": (
        "no execution started twice",
        lambda: calm().lines("team/hello greet", "team/hello greet").wait(1),
    ),
    "a skipped step ran": (
        "ends are what happened",
        lambda: (
            Story()
            .lines("team/hello greet")
            .see("AgentSession", finished(step("Skipped")))
            .wait(10)
        ),
    ),
    "an exited step was never seen": (
        "ends are what happened",
        lambda: Story().see("AgentSession", finished(DONE)).wait(10),
    ),
    "a finished session changes": (
        "no acknowledged result lost",
        lambda: calm().see("AgentSession", finished(DONE, result={"step": "greet"})),
    ),
    "a finished session is unfinished": (
        "no acknowledged result lost",
        lambda: calm().see("AgentSession", running(DONE)),
    ),
    "an ended step changes": (
        "no acknowledged result lost",
        lambda: (
            running_pod()
            .see("AgentSession", running(DONE))
            .see("AgentSession", running(DONE | {"exitCode": 1}))
        ),
    ),
    "an ended step vanishes": (
        "no acknowledged result lost",
        lambda: Story().see("AgentSession", running(DONE)).see("AgentSession", running()),
    ),
    "a running step goes back": (
        "no acknowledged result lost",
        lambda: (
            Story()
            .see("AgentSession", running(step("Running")))
            .see("AgentSession", running(step("Pending")))
        ),
    ),
    "another execution": (
        "no acknowledged result lost",
        lambda: (
            Story()
            .see("AgentSession", running(step("Running")))
            .see("AgentSession", running(step("Running") | {"executionId": "other"}))
        ),
    ),
    "a second sandbox": (
        "no acknowledged result lost",
        lambda: (
            Story()
            .see("AgentSession", running())
            .see("AgentSession", running() | {"status": {**running()["status"], "sandbox": {}}})
        ),
    ),
    "an orphan": (
        "no pod without a live owner",
        lambda: running_pod().gone("Sandbox", sandbox("pod-1")).wait(1).wait(ORPHAN_S + 1),
    ),
    "a pod whose session is gone": (
        "no pod without a live owner",
        lambda: running_pod().gone("AgentSession", session()).wait(1).wait(ORPHAN_S + 1),
    ),
    "a pod that outlives its session": (
        "lifetimes are kept",
        lambda: running_pod().wait(60 + TTL_GRACE_S + 1),
    ),
    "two pods run as one uid": (
        "a uid of its own per sandbox",
        lambda: running_pod().see("Pod", pod("pod-2", "sandbox-2")),
    ),
    "observed before it was made": (
        "conditions are consistent",
        lambda: Story().see("AgentSession", session(observedGeneration=2)),
    ),
    "a transition without a flip": (
        "conditions are consistent",
        lambda: Story().see("AgentSession", running()).see("AgentSession", moved_condition("True")),
    ),
    "a transition into the past": (
        "conditions are consistent",
        lambda: (
            Story().see("AgentSession", moved_condition("False")).see("AgentSession", running())
        ),
    ),
    "a condition type twice": (
        "conditions are consistent",
        lambda: Story().see(
            "Sandbox", sandbox() | {"status": {"conditions": [condition("A", "True")] * 2}}
        ),
    ),
    "a phase that does not fit the end": (
        "conditions are consistent",
        lambda: Story().see("AgentSession", finished(phase="Failed")),
    ),
    "a phase that does not fit Ready": (
        "conditions are consistent",
        lambda: Story().see("AgentSession", session(phase="Running")),
    ),
    "finished without an end": (
        "conditions are consistent",
        lambda: Story().see("AgentSession", finished(end="Other")),
    ),
    "an end without Finished": (
        "conditions are consistent",
        lambda: Story().see("AgentSession", session(conditions=[condition("Failed", "True")])),
    ),
    "ready without a pod": (
        "ready means answering",
        lambda: Story().see("Sandbox", sandbox("pod-1")),
    ),
    "a session ready without a sandbox": (
        "ready means answering",
        lambda: Story().see("AgentSession", running()),
    ),
    "ready long after the pod": (
        "ready means answering",
        lambda: running_pod().gone("Pod", pod("pod-1")).wait(LAG_S + 1),
    ),
    "ready and it does not answer": (
        "ready means answering",
        lambda: running_pod().probe("pod-1", False).wait(1),
    ),
}
RIGHT: dict[str, Callable[[], Story]] = {
    "a whole life": calm,
    "a pod that was replaced before anything ran": lambda: (
        Story()
        .see("AgentSession", session())
        .see("Sandbox", sandbox())
        .see("Pod", pod("pod-1"))
        .gone("Pod", pod("pod-1"))
        .see("Pod", pod("pod-2"))
        .wait(1)
    ),
    "an orphan for less than a minute": lambda: (
        running_pod()
        .gone("Sandbox", sandbox("pod-1"))
        .wait(1)
        .wait(25)
        .gone("Pod", pod("pod-1"))
        .wait(60)
    ),
    "a flip moves the time": lambda: (
        running_pod().see("AgentSession", running()).see("AgentSession", moved_condition("Unknown"))
    ),
    "a time of the schema's default is replaced": lambda: (
        Story()
        .see(
            "Sandbox",
            sandbox()
            | {"status": {"conditions": [condition("A", "True", at="1970-01-01T00:00:00Z")]}},
        )
        .see("Sandbox", sandbox() | {"status": {"conditions": [condition("A", "True")]}})
    ),
    "a session that was deleted and made again": lambda: (
        calm()
        .gone("AgentSession", finished(DONE))
        .see("AgentSession", session() | {"metadata": meta("hello", "session-2")})
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_violation_is_found_by_the_judge_of_its_invariant(name: str) -> None:
    invariant, story = WRONG[name]
    found = {violation.invariant for violation in story().court.violations}
    assert invariant in found


@pytest.mark.parametrize("name", RIGHT)
def test_a_history_that_is_in_order_has_no_violation(name: str) -> None:
    assert RIGHT[name]().court.violations == []


def test_every_judge_has_a_history_that_it_condemns() -> None:
    assert {judge.name for judge in judges()} == {invariant for invariant, _ in WRONG.values()}


def test_a_violation_names_the_object_and_both_versions() -> None:
    (violation,) = WRONG["an ended step changes"][1]().court.violations
    assert "AgentSession team/hello (session-1)" in violation.sentence
    assert '"exitCode": 0' in violation.sentence
    assert '"exitCode": 1' in violation.sentence


def test_a_violation_that_lasts_is_told_once() -> None:
    story = running_pod().wait(200)
    told = len(story.court.violations)
    assert told
    story.wait(1).wait(1)
    assert len(story.court.violations) == told


def test_checks_are_counted() -> None:
    checks = calm().court.checks
    assert all(checks[judge.name] > 0 for judge in judges())


@pytest.mark.parametrize(
    ("text", "value"), [("1h30m", 5400), ("1500ms", 1.5), ("9s", 9), ("1m2s3ms", 62.003)]
)
def test_durations_are_read(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)
