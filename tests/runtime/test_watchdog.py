"""Whom the watchdog names, from numbers alone."""

from collections import defaultdict
from typing import Any

import pytest

from paddock_runtime.cgroup import CgroupFiles
from paddock_runtime.workspace import census, disk_blame, watchdog
from paddock_runtime.workspace.processes import Usage
from paddock_runtime.workspace.running import Child, Job
from paddock_runtime.workspace.settings import read_settings
from paddock_runtime.workspace.watchdog import Watchdog

LIMIT = 100 << 20


class Full(CgroupFiles):
    """Stands at its limit."""

    kills = 0

    def memory_limit(self) -> int:
        return LIMIT

    def memory_held(self) -> int:
        return LIMIT

    def number(self, name: str) -> int:
        return LIMIT if name == "usage" else 5

    def oom_kills(self) -> int:
        return self.kills


class Walked:
    """A disk meter whose every walk is complete at once."""

    seconds, walking = 0.0, False

    def __init__(self, used: int) -> None:
        self.bytes = used

    def step(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not this machine's /tmp, which may hold anything."""
    monkeypatch.setattr(watchdog, "DiskMeter", lambda directories: Walked(0))


def job(name: str, mark: int) -> Job:
    channel: Any = None
    return Job(name, Child(pid=mark, mark=mark, channel=channel), started=0.0)


def test_no_innocent_one_is_named_while_a_memory_hog_takes_its_time_to_die(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hog, innocent = job("hog", 1), job("innocent", 2)
    usage = {1: Usage(memory_bytes=90 << 20, tasks=1), 2: Usage(memory_bytes=5 << 20, tasks=1)}
    monkeypatch.setattr(
        census, "usage_by_mark", lambda marks, spare: {mark: usage[mark] for mark in marks}
    )
    looking = Watchdog(read_settings({}), Full(), True)
    looking.started(0.0, hog)
    looking.started(0.0, innocent)
    named = []
    for tick in range(1, 40):
        for found in looking.look(tick / 20, [hog, innocent], [], set):
            named.append(found.job.id)
            found.job.kill_reason = found.reason
    assert named == ["hog"]
    for tick in range(40, 60):
        named += [found.job.id for found in looking.look(tick / 20, [innocent], [], set)][:1]
    assert "innocent" in named, "when it is gone and that did not help"


class Two:
    """A hog that the kernel may have killed, and somebody beside it, looked at every 50 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs = [job("hog", 1), job("innocent", 2)]
        self.usage = {1: Usage(memory_bytes=90 << 20), 2: Usage(memory_bytes=5 << 20)}
        monkeypatch.setattr(census, "usage_by_mark", lambda marks, spare: self.taken())
        self.files = Full()
        self.looking = Watchdog(read_settings({}), self.files, True)
        self.ticks = 0
        for each in self.jobs:
            self.looking.started(0.0, each)

    def taken(self) -> dict[int, Usage]:
        return self.usage

    def named(self, ticks: int) -> list[str]:
        found = []
        for _ in range(ticks):
            self.ticks += 1
            found += self.looking.look(self.ticks / 20, self.jobs, [], set)
        return [each.job.id for each in found]


def test_nobody_is_named_for_what_the_kernel_has_just_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = Two(monkeypatch)

    def taken() -> dict[int, Usage]:
        """The kernel acts between the look at the limit and that at the processes."""
        Full.kills = 1
        two.usage[1] = Usage(memory_bytes=1 << 20)
        return two.usage

    monkeypatch.setattr(Full, "kills", 0)
    monkeypatch.setattr(two, "taken", taken)
    assert two.named(6) == []
    assert two.named(6) == ["innocent"], "when that did not help"


def test_nobody_is_named_while_a_process_gives_its_memory_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = Two(monkeypatch)
    two.usage[1] = Usage(dying=True)
    assert two.named(6) == []
    assert two.named(6) == ["innocent"], "one that is always dying protects nobody"


def test_a_context_is_named_for_what_it_grows_by_between_its_executions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = Two(monkeypatch)
    context, innocent = two.jobs
    resting = context.child.resting = Job.rest(context.child, 0.0, 0)

    def look() -> list[Job]:
        two.ticks += 1
        return [each.job for each in two.looking.look(two.ticks / 20, [innocent], [resting], set)]

    two.usage = {1: Usage(memory_bytes=10 << 20), 2: Usage(memory_bytes=20 << 20)}
    monkeypatch.setattr(Full, "memory_held", lambda self: 0)
    assert look() == []
    two.usage = {1: Usage(memory_bytes=70 << 20), 2: Usage(memory_bytes=20 << 20)}
    monkeypatch.undo()
    monkeypatch.setattr(census, "usage_by_mark", lambda marks, spare: two.usage)
    assert look() == [resting]


@pytest.mark.parametrize("held", [10 << 20, 95 << 20])
def test_a_context_is_not_named_for_what_its_executions_left(
    monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    two = Two(monkeypatch)
    two.usage = {1: Usage(memory_bytes=held), 2: Usage(memory_bytes=5 << 20)}
    context, other = two.jobs
    resting = context.child.resting = Job.rest(context.child, 0.0, 0)
    named = []
    for tick in range(1, 40):
        named += two.looking.look(tick / 20, [], [resting], set)
    assert named == []
    for tick in range(40, 60):
        named += two.looking.look(tick / 20, [other], [resting], set)
    assert {each.job.id for each in named} == {"innocent"}


def watching_disk(
    monkeypatch: pytest.MonkeyPatch, usage: dict[int, Usage], used: int
) -> tuple[Watchdog, Any]:
    """A watchdog with room in memory, and its disk meter, by whose numbers it goes."""
    for module in (census, disk_blame):
        monkeypatch.setattr(module, "usage_by_mark", lambda marks, spare: usage)
    monkeypatch.setattr(Full, "memory_held", lambda self: 0)
    looking = Watchdog(read_settings({}), Full(), True)
    disk: Any = Walked(used)
    looking._disk = disk
    return looking, disk


@pytest.mark.parametrize(
    ("writes", "named"), [(0, {"other"}), (50 << 20, {""})], ids=["by its last execution", "since"]
)
def test_the_disk_limit_and_a_context_that_has_written_much(
    monkeypatch: pytest.MonkeyPatch, writes: int, named: set[str]
) -> None:
    """It is ended only for what was left in it; beside it, somebody who has written a little."""
    context, other = job("context", 1), job("other", 2)
    usage = {1: Usage(written_bytes=900 << 20), 2: Usage(written_bytes=2 << 20)}
    looking, disk = watching_disk(monkeypatch, usage, 900 << 20)
    looking.started(0.0, context)
    assert not list(looking.look(1.0, [context], [], set))
    looking.ended(1.0, 0, contexts=True)
    resting = context.child.resting = Job.rest(context.child, 1.0, 0)
    if not writes:  # between the last look at the execution and the first at what it left
        disk.bytes, usage[1] = 1200 << 20, Usage(written_bytes=1200 << 20)
    assert not list(looking.look(2.0, [], [resting], set))
    disk.bytes, usage[1] = 1200 << 20, Usage(written_bytes=usage[1].written_bytes + writes)
    other.disk_bytes = 900 << 20
    looking.started(2.5, other)
    found = list(looking.look(3.0, [other], [resting], set))
    assert {each.job.id for each in found} == named


def test_a_large_workspace_is_walked_seldom_whoever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk of a second is not begun again before 20 more, though executions start meanwhile."""
    looking, disk = watching_disk(monkeypatch, defaultdict(Usage), 1)
    disk.seconds = 1.0
    walks = []
    monkeypatch.setattr(Walked, "step", lambda self: walks.append(1) is None)
    running: list[Job] = []
    for tick in range(200):
        running.append(job(str(tick), tick))
        looking.started(tick / 10, running[-1])
        assert not list(looking.look(tick / 10, running, [], set))
        if tick:
            running.pop(0)
            looking.ended(tick / 10, len(running), contexts=False)
    assert len(walks) == 1


def test_files_that_stay_end_nobody_whatever_he_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution filled the disk and ended; what it left in its context rewrites one file."""
    usage = {1: Usage(written_bytes=2000 << 20), 2: Usage()}
    looking, disk = watching_disk(monkeypatch, usage, 2000 << 20)
    context = job("context", 1)
    resting = context.child.resting = Job.rest(context.child, 1.0, 0)
    looking.started(0.0, context)
    looking.ended(1.0, 0, contexts=True)
    other = job("other", 2)
    other.disk_bytes = 2000 << 20
    for tick in range(10, 100):
        usage[1].written_bytes += 10 << 20
        assert not list(looking.look(tick / 2, [other], [resting], set))
    disk.bytes += 500 << 20
    assert [found.job for found in looking.look(50.0, [other], [resting], set)] == [resting]


def test_processes_that_an_execution_left_are_no_other_one_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = read_settings({})
    limit = settings.processes
    monkeypatch.setattr(Full, "memory_held", lambda self: 0)
    monkeypatch.setattr(Full, "number", lambda self, name: limit)
    usage = {1: Usage(tasks=limit - 2), 2: Usage(tasks=1)}
    monkeypatch.setattr(census, "usage_by_mark", lambda marks, spare: usage)
    looking = Watchdog(settings, Full(), True)
    context, other = job("context", 1), job("other", 2)
    resting = context.child.resting = Job.rest(context.child, 1.0, 0)
    looking.started(0.0, other)
    for tick in range(1, 100):
        assert not list(looking.look(tick / 20, [other], [resting], set))
    usage[1], usage[2] = Usage(tasks=3), Usage(tasks=limit - 3)
    named = []
    for tick in range(100, 120):
        named += looking.look(tick / 20, [other], [resting], set)
    assert {found.job.id for found in named} == {"other"}
