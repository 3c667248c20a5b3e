"""The queue of keys: one worker per key, nothing lost, delays and backoff."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from paddock_operator.engine.queue import BACKOFF_MAX_S, KeyQueue
from paddock_operator.plan.actions import Key

A, B = Key("AgentSession", "team", "a"), Key("AgentSession", "team", "b")


@pytest.fixture
async def queue() -> AsyncIterator[KeyQueue]:
    made = KeyQueue()
    timers = asyncio.create_task(made.run_timers())
    yield made
    timers.cancel()
    await asyncio.gather(timers, return_exceptions=True)


async def soon(queue: KeyQueue) -> Key:
    return await asyncio.wait_for(queue.get(), 1)


async def idle(queue: KeyQueue) -> bool:
    await asyncio.sleep(0.02)
    return queue._ready.empty()


async def test_a_key_added_twice_is_worked_on_once(queue: KeyQueue) -> None:
    queue.add(A)
    queue.add(A)
    assert len(queue) == 1
    assert await soon(queue) == A
    queue.done(A)
    assert await idle(queue)


async def test_a_key_added_while_it_is_worked_on_runs_once_more_afterwards(
    queue: KeyQueue,
) -> None:
    queue.add(A)
    assert await soon(queue) == A
    queue.add(A)
    queue.add(A)
    assert await idle(queue), "never two workers on one key"
    queue.done(A)
    assert await soon(queue) == A
    queue.done(A)
    assert await idle(queue)


async def test_the_earliest_of_several_delays_counts_and_only_once(queue: KeyQueue) -> None:
    queue.add_after(A, 60)
    queue.add_after(A, 0.01)
    queue.add_after(A, 30)
    assert await soon(queue) == A
    queue.done(A)
    assert await idle(queue)


async def test_backoff_grows_to_its_bound_and_starts_anew_after_success(queue: KeyQueue) -> None:
    delays = [queue.retry(A) for _ in range(30)]
    assert delays[0] < 0.1
    assert delays[5] > delays[0]
    assert max(delays) <= BACKOFF_MAX_S * 1.2
    queue.forget(A)
    assert queue.retry(A) < 0.1


async def test_a_key_that_always_fails_does_not_stop_the_others(queue: KeyQueue) -> None:
    queue.add(A)
    for _ in range(5):
        key = await soon(queue)
        queue.retry(key)
        queue.done(key)
        queue.add(B)
        while (key := await soon(queue)) != B:
            queue.retry(key)
            queue.done(key)
        queue.done(B)
        queue.add(A)
