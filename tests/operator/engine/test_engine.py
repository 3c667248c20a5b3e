"""The engine as a whole, with its tasks: on a model cluster, in real time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.operator.planning import message, said
from tests.operator.world.cluster import Json
from tests.operator.world.rig import Rig

from paddock_operator.cluster.errors import Overloaded, Unreachable
from paddock_operator.engine import engine as engine_module
from paddock_operator.engine import queue as queue_module
from paddock_operator.plan.actions import Key, Kind
from paddock_operator.plan.session import plan_session
from paddock_operator.telemetry import metrics


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Rig().running() as made:
        yield made


async def test_a_session_goes_through_in_six_writes(rig: Rig) -> None:
    key = rig.apply("hello", 0)
    await rig.until(lambda: rig.finished(key) and not rig.cluster.of_kind("Pod"))
    assert rig.status(key)["phase"] == "Succeeded"
    assert rig.api.writes == {
        "POST Sandbox": 1,
        "POST Pod": 1,
        "PATCH Sandbox": 1,
        "PATCH AgentSession": 2,
        "DELETE Sandbox": 1,
    }
    await rig.until(lambda: len(rig.api.events) == 2)
    assert [event["reason"] for event in rig.api.events] == ["SandboxReady", "Completed"]


async def test_thirty_sessions_at_once_get_different_users_and_all_end(rig: Rig) -> None:
    uids: list[int] = []

    def note_uid(event: Any) -> None:
        if event.kind == "Pod" and event.type == "ADDED":
            uids.append(event.obj["spec"]["containers"][1]["securityContext"]["runAsUser"])

    rig.cluster.observers.append(note_uid)
    rig.held = {f"s{i}" for i in range(30)}
    keys = [rig.apply(f"s{i}", 0) for i in range(30)]
    await rig.until(lambda: len(rig.node.starts) == 30)
    assert sorted(uids) == list(range(200_000, 200_030))
    rig.held = set()
    await rig.until(lambda: rig.finished(*keys))
    assert rig.api.refused == 0


async def test_a_quota_is_told_in_sandbox_and_session_and_the_pod_made_when_it_frees(
    rig: Rig,
) -> None:
    rig.cluster.no_quota_for = {"Pod"}
    key = rig.apply("hello", 0)
    await rig.until(lambda: "QuotaExceeded" in str(rig.status(key)))
    status = rig.status(key)
    assert said(status, "Reconciling") == ("True", "QuotaExceeded")
    assert "exceeded quota" in message(status, "Ready")
    assert "Raise the ResourceQuota" in message(status, "Ready")
    written = rig.api.writes["PATCH Sandbox"], rig.api.writes["PATCH AgentSession"]
    await rig.until(lambda: rig.api.writes["POST Pod"] > 4)
    assert (rig.api.writes["PATCH Sandbox"], rig.api.writes["PATCH AgentSession"]) == written
    rig.cluster.no_quota_for = set()
    await rig.until(lambda: rig.finished(key))
    assert rig.status(key)["phase"] == "Succeeded"


async def test_a_quota_of_sandboxes_is_told_too(rig: Rig) -> None:
    rig.cluster.no_quota_for = {"Sandbox"}
    key = rig.apply("hello", 0)
    await rig.until(lambda: "QuotaExceeded" in str(rig.status(key)))
    rig.cluster.no_quota_for = set()
    await rig.until(lambda: rig.finished(key))


async def test_a_namespace_that_is_leaving_is_told(rig: Rig) -> None:
    key = rig.apply("hello", 0)
    rig.cluster.terminating = {"team"}
    await rig.until(lambda: "NamespaceTerminating" in str(rig.status(key)))


@pytest.mark.parametrize("labelled", [True, False])
async def test_a_name_that_somebody_else_has_is_told_and_theirs_is_left_alone(
    rig: Rig, labelled: bool
) -> None:
    """Pods without our label are not watched: the server's 409 tells of them."""
    rig.cluster.no_quota_for = {"Pod"}
    key = rig.apply("hello", 0)
    await rig.until(lambda: rig.cluster.of_kind("Sandbox"))
    ((sandbox, _),) = rig.cluster.of_kind("Sandbox")
    theirs = Key("Pod", "team", sandbox.name)
    labels = {"paddock.dev/sandbox": "x"} if labelled else {"app": "foreign"}
    rig.cluster.no_quota_for = set()
    metadata = {"name": theirs.name, "labels": labels}
    rig.cluster.create("Pod", "team", {"metadata": metadata, "spec": {"containers": []}})
    await rig.until(lambda: "NameTaken" in str(rig.status(key)))
    assert theirs in rig.cluster.objects
    assert "elete or rename" in message(rig.status(key), "Ready")
    rig.cluster.delete(theirs, force=True)
    await rig.until(lambda: rig.finished(key))


async def test_a_conflict_is_read_again_at_once(rig: Rig) -> None:
    """Somebody else changes the session while no event tells so."""
    rig.held = {"hello"}
    key = rig.apply("hello", 0)
    await rig.until(lambda: rig.node.starts)
    await asyncio.sleep(0.02)
    rig.silent = True
    rig.cluster.change(key, lambda obj: obj["metadata"].setdefault("labels", {}).update(a="b"))
    rig.held = set()
    await rig.until(lambda: rig.finished(key))
    assert rig.api.refused == 1
    assert rig.cluster.objects[key]["metadata"]["labels"] == {"a": "b"}


async def test_a_poison_object_does_not_stop_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = plan_session

    def plan(seen: Any, now: Any) -> Any:
        if seen.session.name == "poison":
            raise RuntimeError("boom")
        return real(seen, now)

    monkeypatch.setattr(engine_module, "plan_session", plan)
    poison = rig.apply("poison", 0)
    keys = [rig.apply(f"s{i}", 0) for i in range(10)]
    await rig.until(lambda: rig.finished(*keys))
    assert not rig.finished(poison)
    told = [r for r in caplog.records if getattr(r, "error.type", "") == "RuntimeError"]
    assert told
    assert getattr(told[0], "key", "") == "AgentSession/team/poison"
    monkeypatch.setattr(engine_module, "plan_session", real)
    await rig.until(lambda: rig.finished(poison))


@pytest.mark.parametrize("kind", ["AgentSession", "Sandbox"])
@pytest.mark.parametrize(
    "status", ["text", {"conditions": "text"}, {"conditions": ["text"]}, {"workspaceUid": []}]
)
async def test_an_object_that_no_schema_has_seen_keeps_nobody_from_listing(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, status: object
) -> None:
    """As one is that was written while the CRD was another."""
    monkeypatch.setattr(engine_module, "FIRST_RESYNC_S", 0.01)
    rig = Rig()
    spec = {"templateRef": {"name": "none"}}
    rig.cluster.create(kind, "team", {"metadata": {"name": "poison"}, "spec": spec})
    rig.cluster.objects[Key(kind, "team", "poison")]["status"] = status
    async with rig.running():
        await asyncio.sleep(0.05)
        key = rig.apply("hello", 0)
        await rig.until(lambda: rig.finished(key))


async def test_an_annotation_of_nonsense_is_no_poison(rig: Rig) -> None:
    manifest: Json = {
        "metadata": {
            "name": "odd",
            "annotations": {"opentelemetry.io/trace-context": "00-" + "-" * 52},
        },
        "spec": {
            "user": "alice",
            "templateRef": {"name": "python"},
            "steps": [{"name": "s0", "language": "python", "code": "exit 0"}],
        },
    }
    rig.cluster.create("AgentSession", "team", manifest)
    await rig.until(lambda: rig.finished(Key("AgentSession", "team", "odd")))


@pytest.mark.parametrize("fault", ["unreachable", "overloaded", "lost"])
async def test_a_write_that_fails_is_tried_again(rig: Rig, fault: str) -> None:
    rig.api.fault = fault
    key = rig.apply("hello", 0)
    await rig.until(lambda: rig.finished(key))
    assert len(rig.node.starts) == 1


@pytest.mark.parametrize("n", range(1, 7))
async def test_an_end_is_counted_once_although_the_answer_to_a_write_is_lost(
    rig: Rig, n: int
) -> None:
    def ended() -> float:
        labels = {"reason": "Completed"}
        return metrics.REGISTRY.get_sample_value("paddock_sessions_finished_total", labels) or 0

    before = ended()
    rig.api.faults = {n: "lost"}
    key = rig.apply("hello", 0)
    await rig.until(lambda: rig.finished(key) and not rig.cluster.of_kind("Sandbox"))
    await rig.until(lambda: ended() == before + 1)
    await asyncio.sleep(0.02)
    assert ended() == before + 1


async def test_what_the_watch_did_not_tell_is_found_by_the_resync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "FIRST_RESYNC_S", 0.05)
    monkeypatch.setattr(engine_module, "RESYNC_S", 0.05)
    async with Rig().running() as rig:
        rig.silent = True
        key = rig.apply("hello", 0, 0)
        await rig.until(lambda: rig.finished(key))
        rig.cluster.delete(key)
        store = rig.parts.engine._store
        await rig.until(lambda: store.get(key) is None)


async def test_a_session_ends_at_its_deadline_by_the_queues_timer(rig: Rig) -> None:
    rig.cluster.no_quota_for = {"Pod"}
    key = rig.apply("late", 0, lifetime={"maxDuration": "1500ms"})
    await rig.until(lambda: rig.finished(key))
    status = rig.status(key)
    assert said(status, "Failed") == ("True", "DeadlineExceeded")
    assert "exceeded quota" in message(status, "Failed")
    await rig.until(lambda: not rig.cluster.of_kind("Sandbox"))


async def test_after_a_restart_nothing_is_written_and_what_ran_goes_on() -> None:
    async with Rig().running() as first:
        first.held = {"held"}
        done, held = first.apply("done", 0), first.apply("held", 0)
        await first.until(lambda: first.finished(done) and len(first.node.starts) == 2)
        await first.until(lambda: len(first.cluster.of_kind("Sandbox")) == 1)
        await asyncio.sleep(0.05)
        written = first.api.written
    async with Rig(first).running() as second:
        second.held = {"held"}
        await asyncio.sleep(0.1)
        assert second.api.written == written
        second.held = set()
        await second.until(lambda: second.finished(held))
        assert len(second.node.starts) == 2


@pytest.mark.parametrize("error", [Unreachable("no route"), Overloaded("429", 429)])
async def test_it_waits_for_an_api_server_that_cannot_be_listed_yet(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(engine_module, "CRD_RETRY_S", 0.01)
    rig = Rig()
    failures = [error, error]
    real = rig.api._read

    def read(*args: Any) -> Json:
        if failures:
            raise failures.pop()
        return real(*args)

    monkeypatch.setattr(rig.api, "_read", read)
    assert not rig.parts.engine.primed
    async with rig.running():
        assert rig.parts.engine.primed
        assert failures == []


async def test_no_line_of_the_log_tells_code_input_or_output(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rig.api.fault = "overloaded"
    manifest: Json = {
        "metadata": {"name": "quiet"},
        "spec": {
            "user": "alice",
            "templateRef": {"name": "python"},
            "env": [{"name": "TOKEN", "value": "secret-env"}],
            "files": [{"path": "a", "content": "secret-file"}],
            "steps": [
                {
                    "name": "s0",
                    "language": "python",
                    "code": "exit 3 # secret-code",
                    "stdin": "secret-stdin",
                }
            ],
        },
    }
    rig.cluster.create("AgentSession", "team", manifest)
    await rig.until(lambda: rig.finished(Key("AgentSession", "team", "quiet")))
    await rig.until(lambda: rig.api.events)
    said_anywhere = str([record.__dict__ for record in caplog.records]) + str(rig.api.events)
    assert "session finished" in said_anywhere
    assert "secret" not in said_anywhere
    assert "hello\\n" not in said_anywhere


async def test_backoff_is_forgotten_after_a_success(rig: Rig) -> None:
    assert queue_module.BACKOFF_FIRST_S < 0.1
    rig.api.fault = "overloaded"
    key = rig.apply("hello", 0)
    await rig.until(lambda: rig.finished(key))
    assert rig.parts.queue._failures == {}


async def test_a_step_that_runs_is_cancelled_when_its_session_is_suspended_and_the_next_runs_on(
    rig: Rig,
) -> None:
    rig.held = {"hello"}
    key = rig.apply("hello", 0, 0)
    rig.cluster.edit(key, lambda spec: spec["steps"][0].update(continueOnFailure=True))
    await rig.until(lambda: len(rig.node.starts) == 1)
    rig.cluster.edit(key, lambda spec: spec.update(suspend=True))
    await rig.until(
        lambda: rig.status(key).get("phase") == "Suspended" and not rig.cluster.of_kind("Pod")
    )
    assert rig.status(key)["steps"][0]["reason"] == "Cancelled"
    rig.held = set()
    rig.cluster.edit(key, lambda spec: spec.update(suspend=False))
    await rig.until(lambda: rig.finished(key))
    assert [entry["reason"] for entry in rig.status(key)["steps"]] == ["Cancelled", "Exited"]
    assert len(rig.node.starts) == 2
    assert len({pod for _, pod in rig.node.starts}) == 2
    await rig.until(lambda: not rig.parts.conversations._tasks)
    assert rig.parts.conversations._results == {}


async def test_a_pod_that_is_gone_is_not_asked_to_cancel(rig: Rig) -> None:
    """It goes while the write before the cancellation is on its way."""
    rig.held = {"hello"}
    key = rig.apply("hello", 0)
    await rig.until(lambda: len(rig.node.starts) == 1)
    rig.api.during = lambda: rig.cluster.delete(rig.cluster.of_kind("Pod")[0][0], force=True)
    rig.cluster.edit(key, lambda spec: spec.update(suspend=True))
    await rig.until(lambda: rig.finished(key))
    assert said(rig.status(key), "Failed")[1] in ("SandboxLost", "StepFailed")
    await rig.until(lambda: not rig.parts.conversations._tasks)


async def test_a_pod_that_goes_before_it_was_looked_at_tells_its_end_all_the_same(rig: Rig) -> None:
    rig.held = {"hello"}
    key = rig.apply("hello", 0)
    await rig.until(
        lambda: [each["state"] for each in rig.status(key).get("steps", ())] == ["Running"]
    )
    ((pod, _),) = rig.cluster.of_kind("Pod")
    rig.node.evict(pod)
    rig.cluster.remove(pod)  # both are told in one turn of the loop
    await rig.until(lambda: rig.finished(key))
    assert said(rig.status(key), "Failed") == ("True", "Evicted")
    await rig.until(lambda: not rig.cluster.of_kind("Sandbox"))
    assert not rig.parts.engine._store._last_pods
