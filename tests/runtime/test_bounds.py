"""What is kept on disk and in memory is bounded, whatever is executed, and fullness is told."""

import asyncio
import errno
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.inside import FakeWorkspace, request, started
from tests.runtime.pod import Pod, text

from paddock_api.executions import Execution
from paddock_runtime import protocol
from paddock_runtime.server import executions, journal
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.records import Entry
from paddock_runtime.server.sandbox import Sandbox

DISK = 512 << 20
"""Size of the journal's volume; the pod is evicted above it."""
MEMORY = 128 << 20
"""Limit of the runtime's container."""


def peak_memory(pod: Pod) -> int:
    assert pod.runtime is not None
    status = Path(f"/proc/{pod.runtime.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def on_disk(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / "journal").iterdir())


async def accept(sandbox: Sandbox, identity: str) -> Entry:
    entry, _ = sandbox.executions.accept(request(identity))
    return entry


def end(sandbox: Sandbox, identity: str, message: str | None = None) -> Execution:
    """As the workspace tells it."""
    sandbox.workspace_said(protocol.Ended(identity, 0, 1, message=message))
    entry = sandbox.executions.get(identity)
    sandbox.executions.collected(entry)
    return sandbox.executions.view(entry)


async def run_many(sandbox: Sandbox, numbers: range) -> None:
    for first in range(numbers.start, numbers.stop, 200):  # synced together
        batch = range(first, min(first + 200, numbers.stop))
        await asyncio.gather(*(accept(sandbox, name(number)) for number in batch))
        for number in batch:
            end(sandbox, name(number))


def name(number: int) -> str:
    return f"0f6d8b6a-5c2f-4f5e-9d55-0123456789ab.step-{number}"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paddock_runtime.server.logs.info", lambda *_, **__: None)


async def test_twenty_thousand_executions_fit(tmp_path: Path) -> None:
    with started(tmp_path, concurrency=256) as sandbox:
        workspace = FakeWorkspace(sandbox)
        await run_many(sandbox, range(100))
        tracemalloc.start()
        try:
            await run_many(sandbox, range(100, 3100))
            workspace.told.clear()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert grown / 3000 < 1000
        await run_many(sandbox, range(3100, 20_000))
        assert on_disk(tmp_path) < journal.LINES_BYTES
        first = sandbox.executions.view(sandbox.executions.get(name(0)))
        assert first.reason == "Exited"
    with started(tmp_path) as again:
        assert len(again.executions.all_ends()) == 20_000
        assert again.executions.view(again.executions.get(name(7))).exit_code == 0


async def test_a_full_journal_is_told_and_takes_every_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LINES_BYTES", 20_000)
    with started(tmp_path, concurrency=4) as sandbox:
        FakeWorkspace(sandbox)
        taken: list[str] = []

        async def take_all() -> None:
            for number in range(1000):
                taken.append((await accept(sandbox, name(number))).id)

        with pytest.raises(ProblemError, match="503 JournalFull") as caught:
            await take_all()
        detail = caught.value.problem.detail
        assert f"it has taken {len(taken)} executions" in detail
        assert "use another session" in detail
        for identity in taken:
            assert end(sandbox, identity, "x" * 60_000).message == "x" * 1000
        entry, new = sandbox.executions.accept(request(taken[0]))
        assert (entry.id, new) == (taken[0], False)
    with started(tmp_path) as again:
        reasons = {again.executions.view(entry).reason for entry in again.executions.all_ends()}
        assert (len(again.executions.all_ends()), reasons) == (len(taken), {"Exited"})


async def test_kept_output_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 32 << 10)
    with started(tmp_path, outputBytes=4 << 10) as sandbox:
        FakeWorkspace(sandbox)
        for number in range(200):
            entry = await accept(sandbox, name(number))
            assert entry.run is not None
            for keeper in entry.run._streams:
                keeper.add(bytes(9000))
            end(sandbox, name(number))
        outputs = (tmp_path / "journal").glob("output-*.bin")
        assert sum(path.stat().st_size for path in outputs) <= 8 * (32 << 10)
        oldest = sandbox.executions.view(sandbox.executions.get(name(0)))
        assert (oldest.reason, oldest.truncated) == ("Exited", True)
        assert (oldest.stdout.bytes, oldest.stdout.omitted) == (9000, 9000)
        newest = sandbox.executions.view(sandbox.executions.get(name(199)))
        assert (newest.stdout.bytes, newest.stdout.omitted) == (9000, 9000 - 4096)


def test_the_numbers_fit_the_volume() -> None:
    ends = 512 * 14_000
    notes = journal.LINES_BYTES // 3  # one for each acceptance, which is longer
    assert journal.SEGMENTS * journal.SEGMENT_BYTES + journal.LINES_BYTES + ends + notes < DISK


Refuse = Callable[[Any], bool]


def refusing(sandbox: Sandbox, refuse: Refuse) -> None:
    """The journal's disk, which says no to what `refuse` picks by record and output."""
    write = sandbox._journal.write

    def written(record: dict[str, Any], output: Any = ()) -> Any:
        if refuse((record["type"], any(output))):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(record, output)

    sandbox._journal.write = written  # type: ignore[method-assign]


async def ended_with_output(sandbox: Sandbox, identity: str) -> Execution:
    entry = await accept(sandbox, identity)
    assert entry.run is not None
    entry.run._streams[0].add(b"out")
    return end(sandbox, identity)


async def test_without_room_for_the_output_the_end_is_kept(tmp_path: Path) -> None:
    with started(tmp_path) as sandbox:
        FakeWorkspace(sandbox)
        refusing(sandbox, lambda what: what == ("ended", True))
        first = await ended_with_output(sandbox, "x")
    with started(tmp_path) as again:
        second = again.executions.view(again.executions.get("x"))
        assert (second.reason, second.stdout.bytes, second.stdout.omitted) == ("Exited", 3, 3)
        assert second.truncated
        assert first.finished_at == second.finished_at


async def test_without_any_room_nothing_is_accepted_and_the_end_is_kept_later(
    tmp_path: Path,
) -> None:
    with started(tmp_path) as sandbox:
        FakeWorkspace(sandbox)
        full = True
        refusing(sandbox, lambda what: full and what[0] != "accepted")
        first = await ended_with_output(sandbox, "x")
        assert (first.reason, first.stdout.omitted) == ("Exited", 3)
        with pytest.raises(ProblemError, match=r"503 JournalUnavailable.*No space left"):
            await accept(sandbox, "y")
        full = False
        await accept(sandbox, "y")
        end(sandbox, "y")
    with started(tmp_path) as again:
        assert again.executions.view(again.executions.get("x")).finished_at == first.finished_at
        assert again.executions.view(again.executions.get("y")).reason == "Exited"


async def test_requests_that_wait_are_bounded_by_their_bytes(tmp_path: Path) -> None:
    with started(tmp_path) as sandbox:
        code = "x" * 1_000_000

        async def send(number: int) -> Entry:
            entry, _ = sandbox.executions.accept(request(name(number), code))
            return entry

        held = [await send(number) for number in range(executions.UNFINISHED_BYTES // 1_001_000)]
        with pytest.raises(ProblemError, match=r"429 TooManyPending.*bytes"):
            await send(99)
        sandbox.executions.dispatcher.cancel(held[0], "no more")
        await send(99)


async def refused_after(limit: int, send: Callable[[int], Awaitable[object]]) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await asyncio.gather(*(send(number) for number in range(limit + 1)))
    return caught.value


async def test_requests_that_come_all_at_once_are_counted(tmp_path: Path) -> None:
    """Before any of them is on the disk."""
    with started(tmp_path) as sandbox:
        error = await refused_after(
            executions.PENDING_LIMIT, lambda number: accept(sandbox, name(number))
        )
        assert error.problem.code == "TooManyPending"


FLOOD = """
import sys, time
for _ in range(200):
    sys.stdout.buffer.write(bytes(1 << 16)); sys.stderr.buffer.write(bytes(1 << 16))
sys.stdout.flush()
open(str(time.monotonic_ns()), "w").close()
time.sleep(60)
"""


@pytest.mark.parametrize(("kept", "concurrency"), [(4 << 20, 4), (1 << 20, 16), (65536, 256)])
def test_the_most_that_a_template_may_keep_fits_the_memory(kept: int, concurrency: int) -> None:
    """All at once and full of what takes most in JSON, then asked for whole."""
    at_once = min(concurrency, 16)
    limits = {"outputBytes": kept, "concurrency": concurrency, "cpuMillis": 2000}
    with Pod(limits=limits) as pod:
        ids = [pod.submit(language="python", code=FLOOD)["id"] for _ in range(at_once)]
        for _ in range(1200):
            if sum(1 for _ in pod.work.iterdir()) == at_once:
                break
            time.sleep(0.02)
        for identity in ids:
            pod.call("DELETE", f"/v1/executions/{identity}")
        for identity in ids:
            ended = pod.get(identity, "?wait=20s")
            assert ended["reason"] == "Cancelled"
            assert ended["stdout"]["bytes"] == 200 << 16
            assert len(text(ended)) == len(text(ended, "stderr")) == kept
        assert peak_memory(pod) < MEMORY - (8 << 20)


def test_a_page_of_the_journal_is_bounded(pod: Pod) -> None:
    status, problem = pod.call("GET", "/v1/journal?maxOutput=16385")
    assert (status, problem["code"]) == (422, "InvalidRequest")
    assert "maxOutput: 16385 is more than the 16384" in problem["detail"]
    assert pod.call("GET", "/v1/journal?maxOutput=16384")[0] == 200
