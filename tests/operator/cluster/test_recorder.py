"""Events: best effort, bounded, each a repeat of itself after a crash."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from paddock_operator.cluster import recorder as recorder_module
from paddock_operator.cluster.errors import AlreadyExists, Denied, Overloaded
from paddock_operator.cluster.recorder import MESSAGE_BYTES, Recorder
from paddock_operator.plan.actions import Emit, Key

KEY = Key("AgentSession", "team", "hello")


def event(message: str = "1 of 1 steps succeeded.", reason: str = "Completed") -> Emit:
    return Emit(KEY, "u-1", "Normal", reason, message)


class Api:
    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.failures: list[Exception] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        assert (method, path) == ("POST", "/api/v1/namespaces/team/events")
        if self.failures:
            raise self.failures.pop(0)
        self.posted.append(dict(body or {}))
        return {}


class Recording:
    def __init__(self) -> None:
        self.api = Api()
        self.recorder = Recorder(self.api, "operator-0")

    async def post(self, *events: Emit) -> list[dict[str, Any]]:
        for entry in events:
            self.recorder.emit(entry)
        for _ in range(20 + 3 * len(events)):
            await asyncio.sleep(0)
        return self.api.posted


@pytest.fixture
async def recording() -> AsyncIterator[Recording]:
    made = Recording()
    task = asyncio.create_task(made.recorder.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_event_names_the_object_and_who_tells_it(recording: Recording) -> None:
    (body,) = await recording.post(event())
    assert body["involvedObject"] == {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "AgentSession",
        "namespace": "team",
        "name": "hello",
        "uid": "u-1",
    }
    assert (body["type"], body["reason"], body["message"]) == (
        "Normal",
        "Completed",
        "1 of 1 steps succeeded.",
    )
    assert body["reportingInstance"] == "operator-0"
    assert body["metadata"]["namespace"] == "team"


async def test_events_are_posted_in_order(recording: Recording) -> None:
    posted = await recording.post(*(event(f"message {i}") for i in range(20)))
    assert [body["message"] for body in posted] == [f"message {i}" for i in range(20)]


async def test_the_same_event_has_the_same_name_and_another_another(recording: Recording) -> None:
    posted = await recording.post(event(), event(), event("other"), event(reason="Other"))
    names = [body["metadata"]["name"] for body in posted]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(len(name) <= 253 for name in names)


async def test_a_repeat_after_a_crash_is_quiet(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.api.failures = [AlreadyExists("it is there", 409)]
    assert len(await recording.post(event(), event("next"))) == 1
    assert caplog.records == []


@pytest.mark.parametrize("error", [Denied("no", 403), Overloaded("429", 429)])
async def test_one_that_cannot_be_posted_is_told_in_the_log_and_the_next_follows(
    recording: Recording, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    recording.api.failures = [error]
    (body,) = await recording.post(event(), event("next"))
    assert body["message"] == "next"
    assert [record.getMessage() for record in caplog.records] == ["event not posted"]


async def test_a_message_is_cut_to_what_the_api_server_takes(recording: Recording) -> None:
    (body,) = await recording.post(event("ä" * 5000))
    assert len(body["message"].encode()) <= MESSAGE_BYTES
    assert body["message"].endswith("…")


def test_a_full_queue_drops_and_never_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "QUEUE_BOUND", 5)
    caplog.set_level(logging.WARNING)
    recording = Recording()
    for number in range(9):
        recording.recorder.emit(event(str(number)))
    assert recording.recorder._queue.qsize() == 5
    assert [record.getMessage() for record in caplog.records] == ["event dropped: queue full"] * 4
