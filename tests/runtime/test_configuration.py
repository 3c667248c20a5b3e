"""What can go wrong while a sandbox is configured, and who is told that it may be sent again."""

import asyncio
import errno
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.inside import FakeWorkspace, started
from tests.runtime.pod import Pod, text

from paddock_api.messages import Configure
from paddock_runtime import protocol
from paddock_runtime.server import configuration
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.sandbox import Sandbox
from paddock_runtime.workspace.files import FileError, write_files

FILES = [{"path": "a", "content": "1"}, {"path": "b", "content": "2"}]
MESSAGE = Configure.model_validate(
    {"sessionUid": "s", "env": [{"name": "A", "value": "1"}], "files": FILES, "expiresInMs": 60_000}
)


def test_a_workspace_that_dies_while_it_writes_may_be_asked_again() -> None:
    with Pod() as pod, ThreadPoolExecutor() as threads:
        server = pod.fork_server()
        os.kill(server, signal.SIGSTOP)
        asked = threads.submit(pod.configure, files=FILES, env=[{"name": "A", "value": "1"}])
        time.sleep(0.3)
        os.kill(server, signal.SIGKILL)
        status, problem = asked.result(10)
        assert (status, problem["code"]) == (503, "WorkspaceLost")
        assert text(pod.bash("echo [$A]; ls")) == "[]\n", "it took effect in part"
        pod.wait_ready()
        other = pod.configure(files=FILES[:1])
        assert other == (200, {"files": 1, "repeated": False})
        assert text(pod.bash("cat a")) == "1"


@pytest.mark.parametrize("path", ["directory", "file/x", "link/x"])
def test_what_the_files_themselves_cause_is_final(path: str) -> None:
    with Pod() as pod:
        pod.bash("mkdir directory; touch file; ln -s /tmp link")
        status, problem = pod.configure(files=[FILES[0], {"path": path, "content": ""}])
        assert (status, problem["code"]) == (422, "FileNotWritten")
        assert repr(path) in problem["detail"]


@pytest.mark.parametrize(
    ("number", "passing"),
    [(errno.ENOSPC, False), (errno.EDQUOT, False), (errno.ENOMEM, True), (errno.EMFILE, True)],
)
def test_a_full_disk_is_the_files_and_a_short_machine_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passing: bool
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(FileError, match="file 'a' cannot be written") as caught:
        write_files(str(tmp_path), [("a", "1")])
    assert caught.value.passing is passing
    assert not list(tmp_path.iterdir())


async def asked(sandbox: Sandbox, workspace: FakeWorkspace) -> "asyncio.Task[Any]":
    """A configure whose files the workspace has been told to write."""
    before = len(workspace.told)
    task = asyncio.create_task(sandbox.configuration.configure(MESSAGE))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(workspace.told) == before + 1
    return task


async def test_a_late_answer_belongs_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(tmp_path) as sandbox:
        workspace = FakeWorkspace(sandbox)
        monkeypatch.setattr(configuration, "WRITE_PATIENCE", 0.01)
        with pytest.raises(ProblemError, match="503 WorkspaceBusy"):
            await sandbox.configuration.configure(MESSAGE)
        monkeypatch.setattr(configuration, "WRITE_PATIENCE", 10)
        again = await asked(sandbox, workspace)
        sandbox.workspace_said(protocol.FilesWritten(1))
        await asyncio.sleep(0)
        assert not again.done()
        sandbox.workspace_said(protocol.FilesWritten(2, "file 'a': no", passing=True))
        with pytest.raises(ProblemError, match=r"503 WorkspaceBusy.*file 'a': no"):
            await again
        final = await asked(sandbox, workspace)
        sandbox.workspace_said(protocol.FilesWritten(3, "file 'a': no"))
        with pytest.raises(ProblemError, match=r"422 FileNotWritten.*file 'a': no"):
            await final


async def test_a_disk_that_refuses_leaves_it_unconfigured(tmp_path: Path) -> None:
    with started(tmp_path) as sandbox:
        workspace = FakeWorkspace(sandbox)
        write = sandbox._journal.write

        def refuse(*_: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        for refused in (True, False):
            sandbox._journal.write = refuse if refused else write  # type: ignore[method-assign]
            task = await asked(sandbox, workspace)
            sandbox.workspace_said(protocol.FilesWritten(1 if refused else 2))
            if refused:
                with pytest.raises(ProblemError, match=r"503 JournalUnavailable.*sent again"):
                    await task
                assert sandbox.configuration.environment() == {}
            else:
                assert (await task).repeated is False
        assert sandbox.configuration.environment() == {"A": "1"}


async def test_a_repeat_costs_the_journal_little(tmp_path: Path) -> None:
    """The operator may repeat it as often as it likes; the environment is written once."""
    env = [{"name": "A", "value": "x" * 30_000}]
    message = {"sessionUid": "s", "env": env, "expiresInMs": 60_000, "idleTimeoutMs": 50_000}
    with started(tmp_path) as sandbox:
        for number in range(50):
            told = Configure.model_validate(message)
            assert (await sandbox.configuration.configure(told)).repeated is (number > 0)
    assert (tmp_path / "journal" / "journal.jsonl").stat().st_size < 50_000
    with started(tmp_path) as again:
        assert len(again.configuration.environment()["A"]) == 30_000
        changed = Configure.model_validate({**message, "env": []})
        with pytest.raises(ProblemError, match="AlreadyConfigured"):
            await again.configuration.configure(changed)


def test_with_keep_what_has_the_name_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "changed").write_text("by a program")
    (tmp_path / "link").symlink_to("nowhere")
    files = [("changed", "1"), ("link", "1"), ("new/deep", "1")]
    write_files(str(tmp_path), files, keep=True)
    assert (tmp_path / "changed").read_text() == "by a program"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new" / "deep").read_text() == "1"
    write_files(str(tmp_path), files)
    assert [(tmp_path / path).read_text() for path, _ in files] == ["1", "1", "1"]
