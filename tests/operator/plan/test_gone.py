"""A pod that is gone before anybody looked: its last version tells the end, once and not longer."""

import json
from typing import Any

import pytest
from tests.operator.objects import (
    NAME,
    Json,
    ended_text,
    pod,
    ready_status,
    sandbox,
    session,
    step,
    terminated,
    working_status,
)
from tests.operator.planning import kinds, new_status, plan_sandbox, plan_session, said

from paddock_operator.engine.store import Store
from paddock_operator.plan.actions import Key

POD, SANDBOX = Key("Pod", "team", NAME), Key("Sandbox", "team", NAME)
ENDS: list[tuple[Json, str]] = [
    ({"deleting": True}, "PodDeleted"),
    ({"deleting": True, "disrupted": "EvictionByEvictionAPI"}, "Evicted"),
    ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
    ({"phase": "Failed", "workspace": terminated(137, "OOMKilled")}, "OOMKilled"),
    ({}, "SandboxLost"),
]
RUNNING = session(
    step(), status=working_status({"name": "greet", "state": "Running", "executionId": "u.greet"})
)


@pytest.mark.parametrize(("fields", "reason"), ENDS)
def test_its_last_version_tells_a_sandbox_s_end(fields: Json, reason: str) -> None:
    for second in (None, pod(uid="another")):
        plan = plan_sandbox(sandbox(status=ready_status()), second, gone=pod(**fields))
        assert kinds(plan) == ["PatchStatus Sandbox"]
        assert said(new_status(plan), "Finished") == ("True", reason)


@pytest.mark.parametrize(("fields", "reason"), ENDS[:-1])
def test_its_last_version_tells_a_session_s_end(fields: Json, reason: str) -> None:
    plan = plan_session(RUNNING, sandbox(status=ready_status()), None, gone=pod(**fields))
    assert said(new_status(plan), "Failed") == ("True", reason)


def test_its_last_words_are_read() -> None:
    words = {"reason": "Terminated", "executions": [ended_text("u.greet")]}
    last = pod(deleting=True, runtime=terminated(0, message=json.dumps(words)))
    plan = plan_session(RUNNING, sandbox(status=ready_status()), None, gone=last)
    assert said(new_status(plan), "Failed") == ("True", "PodDeleted")
    assert new_status(plan)["steps"][0]["reason"] == "Cancelled"


def test_of_a_suspended_sandbox_it_tells_nothing() -> None:
    told = sandbox(status=ready_status(), suspend=True)
    plan = plan_sandbox(told, None, gone=pod(deleting=True))
    assert said(new_status(plan), "Suspended")[0] == "True"


def stored(*, finished: bool = False, owner: str | None = None) -> Store:
    """A sandbox and its pod, which then goes."""
    store = Store()
    conditions = [{"type": "Finished", "status": "True"}] if finished else []
    store.put(SANDBOX, sandbox(status={**ready_status(), "conditions": conditions}))
    store.put(POD, pod(**({"owner_uid": owner} if owner else {})))
    assert store.last_pod(uid()) is None, "while it is there"
    store.remove(POD)
    return store


def uid() -> Any:
    return sandbox()["metadata"]["uid"]


def test_the_store_keeps_it_as_long_as_its_sandbox() -> None:
    store = stored()
    assert store.last_pod(uid()) is not None
    store.remove(SANDBOX)
    assert store.last_pod(uid()) is None
    assert not store._last_pods


def test_the_store_keeps_no_pod_whose_end_is_told_and_no_stranger_s() -> None:
    assert not stored(finished=True)._last_pods
    assert not stored(owner="somebody")._last_pods
    store = Store()
    store.put(POD, pod())
    store.remove(POD)
    assert not store._last_pods, "its sandbox has gone before it"
