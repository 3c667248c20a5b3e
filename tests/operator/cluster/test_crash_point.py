"""PADDOCK_CRASH_AFTER_WRITE: the planned death of the crash tests."""

import os

import pytest
from tests.operator.world.cluster import Json

from paddock_operator.cluster.crash import EXIT_CODE, CrashingApi
from paddock_operator.cluster.errors import Conflict


class Died(BaseException):
    pass


class Api:
    def __init__(self) -> None:
        self.answered: list[str] = []
        self.fails = False

    async def request(self, method: str, path: str, **_: object) -> Json:
        self.answered.append(f"{method} {path}")
        if self.fails:
            raise Conflict("no", 409)
        return {"method": method}


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Died

    monkeypatch.setattr(os, "_exit", leave)
    return codes


async def test_it_dies_when_the_nth_write_was_answered(died: list[int]) -> None:
    api = Api()
    crashing = CrashingApi(api, 2)
    assert await crashing.request("POST", "/a") == {"method": "POST"}
    assert await crashing.request("GET", "/a") == {"method": "GET"}
    assert await crashing.request("POST", "/api/v1/namespaces/x/events") == {"method": "POST"}
    with pytest.raises(Died):
        await crashing.request("DELETE", "/a")
    assert api.answered[-1] == "DELETE /a"
    assert died == [EXIT_CODE]


async def test_a_refused_write_does_not_count(died: list[int]) -> None:
    api = Api()
    crashing = CrashingApi(api, 1)
    api.fails = True
    with pytest.raises(Conflict):
        await crashing.request("PATCH", "/a")
    api.fails = False
    with pytest.raises(Died):
        await crashing.request("PATCH", "/a")
    assert died == [EXIT_CODE]
