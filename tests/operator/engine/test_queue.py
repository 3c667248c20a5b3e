"""The queue of keys: one worker per key, nothing lost, delays and backoff."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddock_operator.engine.queue import BACKOFF_MAX_S, COMPACT_FROM, KeyQueue
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


async def test_what_is_dropped_does_not_come_back_and_its_failures_are_forgotten(
    queue: KeyQueue,
) -> None:
    queue.add_after(A, 0.01)
    queue.add_after(B, 0.01)
    for _ in range(10):
        queue.retry(A)
    queue.drop(A)
    assert await soon(queue) == B
    queue.done(B)
    assert await idle(queue)
    assert queue.retry(A) < 0.1
    queue.drop(Key("AgentSession", "team", "never heard of"))


async def test_a_key_that_is_dropped_while_it_waits_for_a_worker_is_still_worked_on(
    queue: KeyQueue,
) -> None:
    """What was left behind of an object that is gone may have to be seen to."""
    queue.add(A)
    queue.drop(A)
    assert await soon(queue) == A


async def test_an_object_made_again_has_its_own_delays(queue: KeyQueue) -> None:
    queue.add_after(A, 60)
    queue.drop(A)
    queue.add_after(A, 0.01)
    assert await soon(queue) == A
    queue.done(A)
    assert await idle(queue)


async def test_delays_that_were_overtaken_do_not_pile_up() -> None:
    """A deadline that is moved again and again, a thousand keys that come and go."""
    queue = KeyQueue()
    bound = 2 * 10 + COMPACT_FROM + 1
    keys = [Key("AgentSession", "team", str(n)) for n in range(10)]
    for round_ in range(2000):
        for key in keys:
            queue.add_after(key, 10_000 - round_)
        assert len(queue._delayed) <= bound
    assert {key for _, _, key in queue._delayed} == set(keys)
    for n in range(5000):
        gone = Key("AgentSession", "team", f"gone-{n}")
        queue.add_after(gone, 3600)
        queue.drop(gone)
    assert len(queue._delayed) <= bound


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "drop"]), st.integers(0, 3), st.floats(0, 0.02)),
        max_size=30,
    )
)
def test_exactly_the_keys_with_a_delay_left_come_up_once(
    calls: list[tuple[str, int, float]],
) -> None:
    async def run() -> None:
        queue = KeyQueue()
        expected = set()
        for what, number, delay in calls:
            key = Key("AgentSession", "team", str(number))
            if what == "add":
                queue.add_after(key, delay)
                expected.add(key)
            else:
                queue.drop(key)
                expected.discard(key)
        timers = asyncio.create_task(queue.run_timers())
        come = [await soon(queue) for _ in expected]
        for key in come:
            queue.done(key)
        assert sorted(map(str, come)) == sorted(map(str, expected))
        await asyncio.sleep(0.025)
        assert queue._ready.empty()
        assert queue._due == {}
        timers.cancel()

    asyncio.run(run())
