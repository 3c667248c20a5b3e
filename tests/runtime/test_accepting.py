"""Between the acceptance of an execution and its start: it ends exactly once, or never began."""

import errno
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.runtime.inside import FakeWorkspace, request, started

from paddock_api.executions import TerminationMessage
from paddock_runtime.server.journal import boot_id
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.sandbox import Sandbox


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    with started(tmp_path) as made:
        yield made


def kinds(sandbox: Sandbox) -> Counter[str]:
    return Counter(record["type"] for record, _ in sandbox._journal.records())


async def test_work_accepted_before_the_sandbox_ends_has_one_end(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    workspace = FakeWorkspace(sandbox)
    sandbox.link._greeted = False
    entry, new = sandbox.executions.accept(request())
    sandbox.over("Idle")
    await sandbox.end("Idle")
    ended = sandbox.executions.view(entry)
    assert new
    assert (ended.reason, ended.message) == ("Cancelled", "the sandbox ended (Idle)")
    assert workspace.starts() == []
    assert kinds(sandbox) == {"boot": 1, "accepted": 1, "ended": 1}
    message = TerminationMessage.model_validate_json((tmp_path / "termination-log").read_bytes())
    assert [execution.id for execution in message.executions] == ["x"]


async def test_a_repeat_is_the_same_execution_and_starts_once(sandbox: Sandbox) -> None:
    workspace = FakeWorkspace(sandbox)
    (first, new), (second, again) = (sandbox.executions.accept(request()) for _ in range(2))
    assert (first, new, again) == (second, True, False)
    assert workspace.starts() == ["x"]


async def test_what_the_journal_refuses_never_was(tmp_path: Path) -> None:
    def refuse(record: object, output: object = ()) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with started(tmp_path) as sandbox:
        workspace = FakeWorkspace(sandbox)
        sandbox._journal.write = refuse  # type: ignore[assignment,method-assign]
        with pytest.raises(ProblemError, match="JournalUnavailable"):
            sandbox.executions.accept(request())
        assert workspace.starts() == []
        with pytest.raises(ProblemError, match="NotFound"):
            sandbox.executions.get("x")
    with started(tmp_path) as again, pytest.raises(ProblemError, match="NotFound"):
        again.executions.get("x")


async def test_after_a_restart_of_the_node_the_sandbox_ends(tmp_path: Path) -> None:
    """What was written last may be gone, and what it accepted would run a second time."""
    with started(tmp_path) as before:
        FakeWorkspace(before)
        before.executions.accept(request())
    with started(tmp_path) as again:
        assert not again.ending.done()
    lines = tmp_path / "journal" / "journal.jsonl"
    lines.write_text(lines.read_text().replace(boot_id(), "another-boot"))
    with started(tmp_path) as again:
        assert again.ending.done()
        with pytest.raises(ProblemError, match="SandboxEnding"):
            again.refuse_if_ending()
        assert again.executions.view(again.executions.get("x")).reason == "RuntimeRestarted"


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
    entry, _ = sandbox.executions.accept(wanted)
    monkeypatch.undo()
    ended = sandbox.executions.view(entry)
    assert (ended.reason, ended.exit_code) == ("StartFailed", 126)
    assert ended.message == "the runtime could not start it: Too many open files"
    assert descriptors() == before
    theirs.close()


async def test_lines_that_the_restart_of_a_node_broke_do_not_keep_it_from_ending(
    tmp_path: Path,
) -> None:
    with started(tmp_path) as before:
        FakeWorkspace(before)
        before.executions.accept(request())
    lines = tmp_path / "journal" / "journal.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole + bytes(100) + b"\n")
    with pytest.raises(ValueError), started(tmp_path):  # of this boot: a bug, and not hidden
        pass
    lines.write_bytes(whole.replace(boot_id().encode(), b"another-boot") + bytes(100) + b"\n")
    with started(tmp_path) as again:
        assert again.ending.done()
        assert again.executions.view(again.executions.get("x")).reason == "RuntimeRestarted"
