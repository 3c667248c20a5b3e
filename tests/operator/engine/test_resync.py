"""The slow lists under the watches: every kind on its own, spread in time, and truthful."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from tests.operator.world.rig import Rig

from paddock_operator.cluster.client import LIST_CHUNK, path_of
from paddock_operator.cluster.errors import Overloaded
from paddock_operator.engine import engine as engine_module
from paddock_operator.engine.engine import KINDS
from paddock_operator.plan.actions import Key

Json = dict[str, Any]


class Lists:
    """Counts the lists that reach an API, and fails those of some kinds."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.counted: Counter[str] = Counter()
        self.failing: set[str] = set()

    async def request(self, method: str, path: str, **more: Any) -> Json:
        kind = next((kind for kind in KINDS if path == path_of(kind)), None)
        if method == "GET" and kind is not None:
            self.counted[kind] += 1
            if kind in self.failing:
                raise Overloaded(f"{kind} cannot be listed", 500)
        answer: Json = await self._api.request(method, path, **more)
        return answer


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_RESYNC_S", "RESYNC_S", "RESYNC_RETRY_S"):
        monkeypatch.setattr(engine_module, name, 0.03)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_kind_that_cannot_be_listed_does_not_keep_the_others_from_it(kind: str) -> None:
    async with Rig().running() as rig:
        lists = Lists(rig.api)
        rig.parts.engine._api = lists
        lists.failing = {kind}
        await rig.until(lambda: all(lists.counted[other] >= 3 for other in KINDS))
        rig.silent = True
        lists.failing = set()
        key = rig.apply("unseen", 0)
        await rig.until(lambda: rig.finished(key))


async def test_a_list_that_failed_is_tried_again_before_the_next_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "FIRST_RESYNC_S", 0.03)
    monkeypatch.setattr(engine_module, "RESYNC_RETRY_S", 0.03)
    async with Rig().running() as rig:
        lists = Lists(rig.api)
        rig.parts.engine._api = lists
        lists.failing = {"Pod"}
        await rig.until(lambda: lists.counted["Pod"] >= 3)
        lists.failing = set()
        before = lists.counted["Pod"]
        await rig.until(lambda: lists.counted["Pod"] == before + 1)
        await asyncio.sleep(0.1)
        assert lists.counted["Pod"] == before + 1
        assert {lists.counted[kind] for kind in KINDS if kind != "Pod"} == {1}


async def test_rounds_are_ten_minutes_apart_give_or_take_a_fifth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    turns = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await turns.acquire()

    rig = Rig()
    monkeypatch.setattr(engine_module.asyncio, "sleep", sleep)
    tasks = [asyncio.create_task(rig.parts.engine._resyncs(kind)) for kind in KINDS]
    async with asyncio.timeout(5):
        for _ in range(40 * len(KINDS)):
            turns.release()
            await asyncio.wait(tasks, timeout=0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    first = [seconds for seconds in slept if seconds < 100]
    rounds = [seconds for seconds in slept if seconds >= 100]
    assert len(first) == len(KINDS)
    assert all(8 <= seconds <= 12 for seconds in first)
    assert len(rounds) > 100
    assert all(480 <= seconds <= 720 for seconds in rounds)
    assert len(set(rounds)) > 100, "not all at once"
    assert max(rounds) - min(rounds) > 120


class Pages:
    """An API server with more sandboxes than fit in a page."""

    def __init__(self, count: int) -> None:
        self.names = [f"s{n}" for n in range(count)]
        self.asked: list[Mapping[str, str]] = []

    async def request(self, method: str, path: str, **more: Any) -> Json:
        assert method == "GET"
        query: Mapping[str, str] = more.get("query") or {}
        if path != path_of("Sandbox"):
            return {"items": [], "metadata": {"resourceVersion": "50"}}
        self.asked.append(query)
        begin = int(query.get("continue", 0))
        end = begin + int(query["limit"])
        metadata = {"resourceVersion": "50"}
        if end < len(self.names):
            metadata["continue"] = str(end)
        return {"items": [obj(name) for name in self.names[begin:end]], "metadata": metadata}


def obj(name: str) -> Json:
    return {
        "metadata": {"namespace": "team", "name": name, "uid": f"u-{name}", "resourceVersion": "7"},
        "spec": {"templateRef": {"name": "python"}},
    }


async def test_the_list_is_read_in_pages_and_what_is_in_none_is_forgotten() -> None:
    rig = Rig()
    pages = Pages(2 * LIST_CHUNK + 1)
    rig.parts.engine._api = pages
    for kind in KINDS:
        await rig.parts.engine._list(kind)
    assert [int(query["limit"]) for query in pages.asked] == [LIST_CHUNK] * 3
    store = rig.parts.engine._store
    assert len(list(store.of_kind("Sandbox"))) == 2 * LIST_CHUNK + 1
    del pages.names[LIST_CHUNK]
    newer = obj("made-after-the-list")
    newer["metadata"]["resourceVersion"] = "51"
    rig.parts.engine.observe("Sandbox", newer)
    for kind in KINDS:
        await rig.parts.engine._list(kind)
    assert store.get(Key("Sandbox", "team", f"s{LIST_CHUNK}")) is None
    assert store.get(Key("Sandbox", "team", f"s{LIST_CHUNK + 1}")) is not None
    assert store.get(Key("Sandbox", "team", "made-after-the-list")) is not None
