"""Asking young runtimes: one task per pod, until it answers or is forgotten."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from paddock_operator.engine import probes
from paddock_operator.engine.probes import Prober
from paddock_operator.plan.actions import Key, Probe

SANDBOX = Key("Sandbox", "team", "hello-x")
PROBE = Probe(SANDBOX, "pod", "10.0.0.7")


class Young:
    """Answers after so many questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ready_after = 3

    async def ready(self, ip: str) -> bool:
        self.asked.append(ip)
        await asyncio.sleep(0)
        return len(self.asked) > self.ready_after


class Asking:
    def __init__(self) -> None:
        self.runtime = Young()
        self.answered: list[Key] = []
        self.prober = Prober(self.runtime, self.answered.append)

    async def until(self, count: int) -> None:
        while len(self.runtime.asked) < count:  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0)


@pytest.fixture
async def asking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asking]:
    monkeypatch.setattr(probes, "INTERVAL_S", 0)
    made = Asking()
    yield made
    await made.prober.close()


async def test_it_asks_until_the_runtime_answers_and_says_so_once(asking: Asking) -> None:
    asking.prober.ensure(PROBE)
    assert not asking.prober.is_ready("pod")
    await asking.until(4)
    await asyncio.sleep(0)
    assert asking.prober.is_ready("pod")
    assert asking.answered == [SANDBOX]
    asking.prober.ensure(PROBE)
    await asyncio.sleep(0.01)
    assert len(asking.runtime.asked) == 4


async def test_asking_twice_is_asking_once(asking: Asking) -> None:
    asking.runtime.ready_after = 10**9
    for _ in range(3):
        asking.prober.ensure(PROBE)
    assert len(asking.prober._tasks) == 1


async def test_another_pod_of_the_same_name_is_another_question(asking: Asking) -> None:
    asking.prober.ensure(PROBE)
    await asking.until(4)
    await asyncio.sleep(0)
    assert not asking.prober.is_ready("another pod")


async def test_a_forgotten_pod_is_not_asked_any_more(asking: Asking) -> None:
    asking.runtime.ready_after = 10**9
    asking.prober.ensure(PROBE)
    await asking.until(2)
    asking.prober.forget("pod")
    await asyncio.sleep(0.01)
    asked = len(asking.runtime.asked)
    await asyncio.sleep(0.01)
    assert len(asking.runtime.asked) == asked
    assert not asking.prober.is_ready("pod")
    assert asking.answered == []


async def test_a_pod_that_stays_silent_is_asked_more_slowly(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "SLOW_AFTER_S", 0.02)
    monkeypatch.setattr(probes, "SLOW_INTERVAL_S", 60)
    asking.runtime.ready_after = 10**9
    asking.prober.ensure(PROBE)
    await asyncio.sleep(0.05)
    asked = len(asking.runtime.asked)
    await asyncio.sleep(0.05)
    assert len(asking.runtime.asked) == asked
