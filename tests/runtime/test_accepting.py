"""Between the acceptance of an execution and its start: it ends exactly once, or never began."""

import asyncio
import errno
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.runtime.inside import FakeWorkspace, hold_syncs, request, started

from paddock_api.messages import TerminationMessage
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.sandbox import Sandbox


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    with started(tmp_path) as made:
        yield made


def kinds(sandbox: Sandbox) -> Counter[str]:
    return Counter(record["type"] for record, _ in sandbox._journal.records())


async def test_work_accepted_while_the_sandbox_ends_has_one_end(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    workspace = FakeWorkspace(sandbox)
    held = hold_syncs(sandbox)
    accepting = asyncio.create_task(sandbox.executions.accept(request()))
    await asyncio.sleep(0)
    sandbox.over("Idle")
    await sandbox.end("Idle")
    held.set_result(None)
    entry, new = await accepting
    ended = sandbox.executions.view(entry)
    assert new
    assert (ended.reason, ended.message) == ("Cancelled", "the sandbox ended (Idle)")
    assert workspace.starts() == []
    assert kinds(sandbox) == {"accepted": 1, "ended": 1}
    message = TerminationMessage.model_validate_json((tmp_path / "termination-log").read_bytes())
    assert [execution.id for execution in message.executions] == ["x"]


async def test_a_cancel_before_it_is_on_the_disk_counts(sandbox: Sandbox) -> None:
    workspace = FakeWorkspace(sandbox)
    held = hold_syncs(sandbox)
    accepting = asyncio.create_task(sandbox.executions.accept(request()))
    await asyncio.sleep(0)
    sandbox.executions.dispatcher.cancel(sandbox.executions.get("x"), "a client asked for its end")
    held.set_result(None)
    entry, _ = await accepting
    assert sandbox.executions.view(entry).reason == "Cancelled"
    assert workspace.starts() == []
    assert kinds(sandbox) == {"accepted": 1, "ended": 1}


async def test_a_repeat_waits_for_the_disk_and_shares_its_refusal(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    workspace = FakeWorkspace(sandbox)
    held = hold_syncs(sandbox)
    both = [asyncio.create_task(sandbox.executions.accept(request())) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in both)
    held.set_exception(OSError(errno.EIO, "Input/output error"))
    for outcome in await asyncio.gather(*both, return_exceptions=True):
        assert isinstance(outcome, ProblemError)
        assert outcome.problem.code == "JournalUnavailable"
    assert workspace.starts() == []
    with pytest.raises(ProblemError, match="NotFound"):
        sandbox.executions.get("x")
    sandbox.close()
    # What was refused does not come back as RuntimeRestarted.
    with started(tmp_path) as again, pytest.raises(ProblemError, match="NotFound"):
        again.executions.get("x")


async def test_a_client_that_vanishes_meanwhile_leaves_no_orphan(
    sandbox: Sandbox,
) -> None:
    workspace = FakeWorkspace(sandbox)
    held = hold_syncs(sandbox)
    both = [asyncio.create_task(sandbox.executions.accept(request())) for _ in range(2)]
    await asyncio.sleep(0)
    both[0].cancel()
    await asyncio.sleep(0)
    held.set_result(None)
    await both[1]
    await asyncio.sleep(0)
    assert workspace.starts() == ["x"]


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    ("function", "nth"),
    [("pipe2", 1), ("pipe2", 2), ("memfd_create", 1), ("memfd_create", 2)]
    + [("dup", nth) for nth in (1, 2, 3, 4)],
)
async def test_no_descriptor_left_is_a_start_failed_and_leaks_none(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, function: str, nth: int
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sandbox.link._peer, sandbox.link._greeted = ours, True
    real, calls = getattr(os, function), 0

    def scarce(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*arguments)

    before = descriptors()
    monkeypatch.setattr(os, function, scarce)
    wanted = request().model_copy(update={"stdin": "x"})
    entry, _ = await sandbox.executions.accept(wanted)
    monkeypatch.undo()
    ended = sandbox.executions.view(entry)
    assert (ended.reason, ended.exit_code) == ("StartFailed", 126)
    assert ended.message == "the runtime could not start it: Too many open files"
    assert descriptors() == before
    theirs.close()
