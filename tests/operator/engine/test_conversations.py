"""Talking to one runtime: once per content, again after trouble, never two at a time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paddock_api.executions import Execution, ExecutionRequest
from paddock_api.messages import Configure, Configured
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_operator.engine import conversations as conversations_module
from paddock_operator.engine.conversations import Conversations
from paddock_operator.plan.actions import CancelExecution, Converse, Key
from paddock_operator.plan.session_input import Refused
from paddock_operator.runtime_client.client import RuntimeRefusal, RuntimeUnavailable

SESSION = Key("AgentSession", "team", "hello")
EXPIRES = datetime.now(UTC) + timedelta(hours=1)
GONE, NO = RuntimeUnavailable("connection refused"), RuntimeRefusal(422, "TooMuch", "too long")
RUNNING, DONE = ExecutionState.RUNNING, ExecutionState.FINISHED


class Script:
    """Answers in turn, per request; `None` means that everything is fine, the last one stays."""

    def __init__(self) -> None:
        self.configures: list[Any] = [None]
        self.executes: list[Any] = [DONE]
        self.waits: list[Any] = [DONE]
        self.cancels: list[Any] = [DONE]
        self.asked: list[str] = []
        self.bodies: list[Configure] = []
        self.traces: list[str | None] = []
        self.silent: asyncio.Event | None = None

    async def configure(self, ip: str, sandbox_uid: str, body: Configure) -> Configured:
        self.bodies.append(body)
        await self._next("configure", ip, sandbox_uid, self.configures)
        return Configured(files=0)

    async def execute(
        self, ip: str, sandbox_uid: str, body: ExecutionRequest, traceparent: str | None
    ) -> Execution:
        self.traces.append(traceparent)
        state = await self._next(f"execute {body.id}", ip, sandbox_uid, self.executes)
        return execution(body.id, state)

    async def wait(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        state = await self._next(f"wait {execution_id}", ip, sandbox_uid, self.waits)
        return execution(execution_id, state)

    async def cancel(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        state = await self._next(f"cancel {execution_id}", ip, sandbox_uid, self.cancels)
        return execution(execution_id, state)

    async def _next(self, what: str, ip: str, sandbox_uid: str, answers: list[Any]) -> Any:
        assert (ip, sandbox_uid) == ("10.0.0.7", "sandbox")
        self.asked.append(what)
        await asyncio.sleep(0)
        if self.silent is not None:
            await self.silent.wait()
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def execution(execution_id: str, state: ExecutionState) -> Execution:
    return Execution(
        id=execution_id,
        state=state,
        reason=ExecutionReason.EXITED if state is DONE else None,
        exit_code=0 if state is DONE else None,
        accepted_at=EXPIRES,
    )


def converse(
    name: str | None = "a",
    *,
    expires: datetime = EXPIRES,
    pod: str = "pod",
    idle_ms: int | None = None,
) -> Converse:
    program = ExecutionRequest(id=f"u.{name}", language="python", code="1") if name else None
    return Converse(
        session=SESSION,
        session_uid="u",
        sandbox_uid="sandbox",
        pod_uid=pod,
        ip="10.0.0.7",
        configure=Configure(session_uid="u", expires_in_ms=1, idle_timeout_ms=idle_ms),
        expires_at=expires,
        execution=program,
    )


def cancel(name: str = "a", *, pod: str = "pod") -> CancelExecution:
    return CancelExecution(SESSION, "u", "sandbox", pod, "10.0.0.7", f"u.{name}")


class Talk:
    """Conversations with a script, and what they called for."""

    def __init__(self) -> None:
        self.script = Script()
        self.answered: list[Key] = []
        self.all = Conversations(
            self.script, self.answered.append, lambda: datetime.now(UTC), lambda _: "trace"
        )

    async def rest(self) -> None:
        """Until no task has anything left to do, or waits for the runtime."""
        for _ in range(200):
            await asyncio.sleep(0)

    async def say(self, action: Converse | CancelExecution) -> list[str]:
        if isinstance(action, CancelExecution):
            self.all.cancel(action)
        else:
            self.all.ensure(action)
        await self.rest()
        return self.script.asked


@pytest.fixture
async def talk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Talk]:
    async def pause(attempt: int) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(conversations_module, "pause", pause)
    made = Talk()
    yield made
    await made.all.close()
    assert {task.get_name() for task in asyncio.all_tasks()} & {f"talk {SESSION}"} == set()


async def test_configure_comes_first_and_the_answer_wakes_the_session(talk: Talk) -> None:
    assert await talk.say(converse()) == ["configure", "execute u.a"]
    assert talk.all.results("u")["u.a"] == execution("u.a", DONE)
    assert talk.answered == [SESSION]
    assert talk.script.traces == ["trace"]


async def test_a_long_execution_is_waited_for(talk: Talk) -> None:
    talk.script.executes, talk.script.waits = [RUNNING], [RUNNING, RUNNING, DONE]
    assert await talk.say(converse()) == ["configure", "execute u.a"] + ["wait u.a"] * 3
    assert talk.answered == [SESSION]


async def test_a_runtime_that_answers_a_long_poll_at_once_with_nothing_is_not_asked_in_a_loop(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    async def pause(attempt: int) -> None:
        pauses.append(attempt)
        await asyncio.sleep(0)

    monkeypatch.setattr(conversations_module, "pause", pause)
    talk.script.executes, talk.script.waits = [RUNNING], [RUNNING] * 5 + [DONE]
    await talk.say(converse())
    assert pauses == [1, 2, 3, 4, 5]
    assert talk.answered == [SESSION]


async def test_a_fault_of_our_own_is_told_and_tried_again(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    talk.script.executes = [ValueError("a bug"), DONE]
    await talk.say(converse())
    assert talk.answered == [SESSION]
    assert [record.getMessage() for record in caplog.records] == ["conversation failed"]


async def test_saying_it_again_is_free_while_it_goes_on_and_after_its_answer(talk: Talk) -> None:
    talk.script.silent = asyncio.Event()
    for _ in range(5):
        talk.all.ensure(converse())
    await talk.rest()
    assert talk.script.asked == ["configure"]
    talk.script.silent.set()
    await talk.rest()
    asked = list(talk.script.asked)
    assert await talk.say(converse()) == asked
    assert talk.answered == [SESSION]


@pytest.mark.parametrize("where", ["configures", "executes", "waits"])
async def test_a_runtime_that_cannot_be_reached_is_asked_again(talk: Talk, where: str) -> None:
    if where == "waits":
        talk.script.executes = [RUNNING]
    setattr(talk.script, where, [GONE, GONE, *getattr(talk.script, where)])
    asked = await talk.say(converse())
    assert talk.all.results("u")["u.a"] == execution("u.a", DONE)
    assert asked.count("configure") == (3 if where == "configures" else 1)


async def test_a_runtime_that_never_answers_is_asked_until_somebody_gives_up(talk: Talk) -> None:
    talk.script.configures = [GONE]
    assert len(await talk.say(converse())) > 10
    talk.all.forget("u")
    await talk.rest()
    asked = len(talk.script.asked)
    await talk.rest()
    assert len(talk.script.asked) == asked
    assert talk.answered == []


async def test_a_refused_configuration_is_brought_under_no_execution(talk: Talk) -> None:
    talk.script.configures = [NO]
    assert await talk.say(converse()) == ["configure"]
    assert talk.all.results("u") == {"": Refused("TooMuch", "too long")}
    assert talk.answered == [SESSION]


async def test_a_refused_execution_is_brought_and_not_asked_for_again(talk: Talk) -> None:
    talk.script.executes = [NO]
    await talk.say(converse())
    assert talk.all.results("u") == {"u.a": Refused("TooMuch", "too long")}
    assert await talk.say(converse()) == ["configure", "execute u.a"]


async def test_the_next_step_is_not_configured_again(talk: Talk) -> None:
    await talk.say(converse("a"))
    assert await talk.say(converse("b")) == ["configure", "execute u.a", "execute u.b"]
    assert set(talk.all.results("u")) == {"u.a", "u.b"}


async def test_an_open_session_is_configured_once(talk: Talk) -> None:
    for _ in range(3):
        await talk.say(converse(None))
    assert talk.script.asked == ["configure"]
    assert talk.answered == []


async def test_a_deadline_that_moves_is_told_although_the_step_still_runs(talk: Talk) -> None:
    talk.script.executes, talk.script.waits = [RUNNING], [RUNNING]
    later = EXPIRES + timedelta(hours=1)
    await asyncio.wait_for(begun(talk, converse(), "wait u.a"), 5)
    before = len(talk.script.bodies)
    talk.all.ensure(converse(expires=later))
    talk.script.waits = [DONE]
    await talk.rest()
    assert len(talk.script.bodies) == before + 1
    assert talk.script.bodies[-1].expires_in_ms > talk.script.bodies[0].expires_in_ms + 3_500_000
    assert talk.script.asked.count("execute u.a") == 2
    assert talk.answered == [SESSION]


@pytest.mark.parametrize("step_runs", [True, False])
@pytest.mark.parametrize(("first", "then"), [(None, 20_000), (20_000, 60_000), (20_000, None)])
async def test_an_idle_timeout_that_changes_is_told(
    talk: Talk, first: int | None, then: int | None, step_runs: bool
) -> None:
    name = "a" if step_runs else None
    if step_runs:
        talk.script.executes, talk.script.waits = [RUNNING], [RUNNING]
        await asyncio.wait_for(begun(talk, converse(name, idle_ms=first), "wait u.a"), 5)
    else:
        await talk.say(converse(name, idle_ms=first))
    talk.script.waits = [DONE]
    await talk.say(converse(name, idle_ms=then))
    assert [body.idle_timeout_ms for body in talk.script.bodies] == [first, then]
    await talk.say(converse(name, idle_ms=then))
    assert len(talk.script.bodies) == 2


async def test_another_pod_is_told_what_the_one_before_was_told(talk: Talk) -> None:
    """After a suspension."""
    await talk.say(converse(None, pod="first"))
    talk.all.forget_pod("first")
    await talk.say(converse(None, pod="second"))
    assert len(talk.script.bodies) == 2


async def test_a_cancellation_takes_the_place_of_the_conversation_that_waits(talk: Talk) -> None:
    talk.script.executes, talk.script.waits = [RUNNING], [RUNNING]
    await begun(talk, converse(), "wait u.a")
    talk.script.cancels = [DONE]
    asked = await talk.say(cancel())
    assert asked[-1] == "cancel u.a"
    assert asked.count("cancel u.a") == 1
    assert talk.all.results("u")["u.a"] == execution("u.a", DONE)
    assert talk.answered == [SESSION]
    assert len(talk.all._tasks) == 1


async def test_a_cancelled_execution_is_waited_for_until_it_has_ended(talk: Talk) -> None:
    talk.script.cancels, talk.script.waits = [RUNNING], [RUNNING, DONE]
    assert await talk.say(cancel()) == ["cancel u.a", "wait u.a", "wait u.a"]
    assert talk.answered == [SESSION]


async def test_cancelling_again_is_free_while_it_goes_on_and_after_its_answer(talk: Talk) -> None:
    talk.script.silent = asyncio.Event()
    for _ in range(5):
        await talk.say(cancel())
    assert talk.script.asked == ["cancel u.a"]
    talk.script.silent.set()
    await talk.rest()
    assert await talk.say(cancel()) == ["cancel u.a"]
    assert talk.answered == [SESSION]


@pytest.mark.parametrize("error", [GONE, ValueError("a bug")])
async def test_a_cancellation_that_does_not_get_through_is_sent_again(
    talk: Talk, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    talk.script.cancels = [error, error, DONE]
    assert await talk.say(cancel()) == ["cancel u.a"] * 3
    assert talk.answered == [SESSION]
    assert len(caplog.records) == (0 if error is GONE else 2)


async def test_a_cancellation_of_what_never_started_is_brought_as_refused(talk: Talk) -> None:
    talk.script.cancels = [RuntimeRefusal(404, "NotFound", "no such execution")]
    await talk.say(cancel())
    assert talk.all.results("u") == {"u.a": Refused("NotFound", "no such execution")}


async def test_a_step_that_has_ended_is_not_cancelled(talk: Talk) -> None:
    await talk.say(converse())
    assert "cancel u.a" not in await talk.say(cancel())


async def test_whoever_is_resumed_before_the_answer_asks_for_the_step_again(talk: Talk) -> None:
    """An id is accepted once: the answer is how it was cancelled."""
    talk.script.cancels = [GONE]
    await talk.say(converse(None))
    talk.all.cancel(cancel())
    await talk.say(converse())
    assert talk.all.results("u")["u.a"] == execution("u.a", DONE)
    asked = list(talk.script.asked)
    await talk.rest()
    assert talk.script.asked == asked, "the cancellation is given up"


@pytest.mark.parametrize("how", ["pod", "session"])
async def test_a_cancellation_ends_with_its_pod_and_with_its_session(talk: Talk, how: str) -> None:
    talk.script.cancels = [GONE]
    await talk.say(cancel())
    talk.all.forget_pod("pod") if how == "pod" else talk.all.forget("u")
    await talk.rest()
    asked = list(talk.script.asked)
    await talk.rest()
    assert talk.script.asked == asked
    assert (talk.all._tasks, talk.answered) == ({}, [])


async def begun(talk: Talk, action: Converse, until: str) -> None:
    talk.all.ensure(action)
    while until not in talk.script.asked:  # noqa: ASYNC110 - nobody tells when
        await asyncio.sleep(0)


async def test_the_remaining_life_is_counted_when_it_is_sent(talk: Talk) -> None:
    """The plan's number may be old: the runtime could not be reached for a while."""
    soon = datetime.now(UTC) + timedelta(seconds=30)
    await talk.say(converse(None, expires=soon))
    assert 25_000 < talk.script.bodies[0].expires_in_ms <= 30_000
    await talk.say(converse(None, expires=soon - timedelta(hours=1)))
    assert talk.script.bodies[1].expires_in_ms == 1


async def test_a_newer_topic_ends_the_older_conversation(talk: Talk) -> None:
    talk.script.executes = [RUNNING]
    talk.script.waits = [RUNNING]
    await begun(talk, converse("a"), "wait u.a")
    talk.script.executes = [DONE]
    await talk.say(converse("b"))
    asked = list(talk.script.asked)
    await talk.rest()
    assert talk.script.asked == asked
    assert set(talk.all.results("u")) == {"u.b"}


async def test_a_forgotten_session_leaves_no_answer_and_no_task(talk: Talk) -> None:
    await talk.say(converse())
    talk.all.forget("u")
    assert talk.all.results("u") == {}
    talk.all.forget("never heard of")


async def test_with_its_pod_the_conversation_ends_and_its_configuration_is_forgotten(
    talk: Talk,
) -> None:
    talk.script.executes = [RUNNING]
    talk.script.waits = [RUNNING]
    await begun(talk, converse(), "wait u.a")
    talk.all.forget_pod("another")
    assert len(talk.all._tasks) == 1
    talk.all.forget_pod("pod")
    await talk.rest()
    asked = len(talk.script.asked)
    await talk.rest()
    assert len(talk.script.asked) == asked
    assert (talk.all._tasks, talk.all._told) == ({}, {})


async def test_another_life_of_the_operator_asks_for_the_same_and_gets_the_answer() -> None:
    first, second = Talk(), Talk()
    await first.say(converse())
    await first.all.close()
    await second.say(converse())
    assert second.all.results("u") == first.all.results("u")
    assert second.script.asked == first.script.asked
    await second.all.close()


async def test_closing_ends_every_task(talk: Talk) -> None:
    talk.script.configures = [GONE]
    talk.all.ensure(converse())
    await talk.all.close()
    asked = len(talk.script.asked)
    await talk.rest()
    assert len(talk.script.asked) == asked
