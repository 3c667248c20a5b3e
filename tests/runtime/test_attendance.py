"""What happens when the client that waits for an execution goes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.runtime.inside import FakeWorkspace, request, started

from paddock_api.executions import OnDisconnect
from paddock_runtime import protocol
from paddock_runtime.server import attendance
from paddock_runtime.server.attendance import attending
from paddock_runtime.server.records import Entry
from paddock_runtime.server.sandbox import Sandbox

GRACE = 0.05


@pytest.fixture
async def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    monkeypatch.setattr(attendance, "ABANDONED_SECONDS", GRACE)
    with started(tmp_path) as made:
        yield made


def start(sandbox: Sandbox, what: OnDisconnect = OnDisconnect.CANCEL) -> Entry:
    wanted = request().model_copy(update={"on_disconnect": what})
    return sandbox.executions.accept(wanted)[0]


def killed(workspace: FakeWorkspace) -> bool:
    return any(isinstance(message, protocol.Kill) for message in workspace.told)


async def leave(sandbox: Sandbox, entry: Entry, error: BaseException) -> None:
    with pytest.raises(type(error)), attending(entry, sandbox.executions.dispatcher):
        raise error


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ConnectionResetError()])
async def test_cancelled_some_time_after_the_last_has_gone(
    sandbox: Sandbox, error: BaseException
) -> None:
    workspace = FakeWorkspace(sandbox)
    entry = start(sandbox)
    await leave(sandbox, entry, error)
    assert not killed(workspace)
    await asyncio.sleep(2 * GRACE)
    assert killed(workspace)
    sandbox.workspace_said(protocol.Ended("x", 9, 1, kill_reason="Cancelled"))
    ended = sandbox.executions.view(entry)
    assert (ended.reason, ended.message) == (
        "Cancelled",
        "the client that waited for it has gone",
    )


async def test_not_while_another_waits_or_one_came_back(sandbox: Sandbox) -> None:
    workspace = FakeWorkspace(sandbox)
    entry = start(sandbox)
    dispatcher = sandbox.executions.dispatcher
    with attending(entry, dispatcher):
        await leave(sandbox, entry, ConnectionResetError())
        await asyncio.sleep(2 * GRACE)
    await leave(sandbox, entry, ConnectionResetError())
    with attending(entry, dispatcher):
        await asyncio.sleep(2 * GRACE)
    assert not killed(workspace), "an answer is no hanging up"
    await asyncio.sleep(2 * GRACE)
    assert not killed(workspace)


async def test_not_unless_it_was_asked_for_nor_when_it_has_ended(sandbox: Sandbox) -> None:
    workspace = FakeWorkspace(sandbox)
    entry = start(sandbox, OnDisconnect.CONTINUE)
    await leave(sandbox, entry, ConnectionResetError())
    await asyncio.sleep(2 * GRACE)
    assert not killed(workspace)
    sandbox.workspace_said(protocol.Ended("x", 0, 1))
    await leave(sandbox, entry, ConnectionResetError())
    assert entry.abandoned is None


async def test_an_end_meanwhile_is_its_own(sandbox: Sandbox) -> None:
    workspace = FakeWorkspace(sandbox)
    entry = start(sandbox)
    await leave(sandbox, entry, ConnectionResetError())
    sandbox.workspace_said(protocol.Ended("x", 0, 1))
    await asyncio.sleep(2 * GRACE)
    assert sandbox.executions.view(entry).reason == "Exited"
    assert not killed(workspace)
