"""Small pure parts of both sides."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddock_api.executions import Execution, TerminationMessage
from paddock_api.messages import SandboxSettings
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_runtime import cgroup, protocol
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.query import wait_seconds, whole_number
from paddock_runtime.server.termination import LONGEST, termination_message
from paddock_runtime.workspace.disk import DiskMeter
from paddock_runtime.workspace.environment import base_environment
from paddock_runtime.workspace.settings import read_settings


def test_both_sides_read_the_same_settings() -> None:
    """The workspace cannot use the model, so its defaults are written twice."""
    limits = SandboxSettings(sandbox_uid="x").limits
    for told in ('{"sandboxUid": "x"}', SandboxSettings(sandbox_uid="x").to_json().decode()):
        settings = read_settings({"PADDOCK_SETTINGS": told, "PATH": "/bin"})
        for name in ("cpu_time_ms", "file_bytes", "concurrency", "processes", "memory_bytes"):
            assert getattr(settings, name) == getattr(limits, name), name
        assert settings.disk_bytes == limits.disk_bytes
        assert settings.cpu_millis == limits.cpu_millis
        assert settings.network_none is True


def test_thread_pools_are_sized_by_the_cpu_limit() -> None:
    told = '{"limits": {"cpuMillis": 2500}}'
    environment = base_environment(read_settings({"PADDOCK_SETTINGS": told}))
    assert environment["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("text", "seconds"), [("20s", 20), ("500ms", 0.5), ("1m", 60), ("1s500ms", 1.5), ("0s", 0)]
)
def test_wait(text: str, seconds: float) -> None:
    assert wait_seconds({"wait": text}) == seconds


@pytest.mark.parametrize("text", ["", "20", "s", "1.5s", "-1s", "61s", "1h", "9" * 30 + "s", "٣s"])
def test_bad_wait(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        wait_seconds({"wait": text})
    assert caught.value.problem.code == "InvalidRequest"


def test_whole_numbers() -> None:
    assert whole_number({}, "after", 7) == 7
    assert whole_number({"after": "0"}, "after", 7) == 0
    for text in ("", "-1", "1.0", "x", "²", "1" * 16):
        with pytest.raises(ProblemError):
            whole_number({"after": text}, "after", None)


def execution(number: int, message: str = "") -> Execution:
    return Execution(
        id=f"x{number:04}",
        state=ExecutionState.FINISHED,
        reason=ExecutionReason.EXITED,
        exit_code=0,
        message=message or None,
        accepted_at=datetime(2026, 1, 1, 0, number // 60, number % 60, tzinfo=UTC),
    )


@given(st.lists(st.text(max_size=300), max_size=40), st.integers(0, 40))
def test_termination_message_always_fits(messages: list[str], collected: int) -> None:
    executions = [execution(number, text) for number, text in enumerate(messages)]
    raw = termination_message("Idle", executions[collected:], executions[:collected])
    assert len(raw) <= LONGEST
    message = TerminationMessage.model_validate_json(raw)
    uncollected = [e.id for e in executions[collected:]]
    shown = [e.id for e in message.executions]
    assert shown == sorted(shown)
    kept = [identity for identity in shown if identity in uncollected]
    assert kept == uncollected[: len(kept)]
    assert message.dropped == len(uncollected) - len(kept)


@pytest.mark.parametrize(
    "message",
    [
        protocol.Hello(["oom"], {"landlockAbi": 7}),
        protocol.Ended("x", 9, 12, kill_reason="WallTimeout"),
        protocol.FilesWritten(3, "file 'x': no", passing=True),
        protocol.Start("x", python=True, handed_over=12.25, context="c", background=True),
        protocol.Signal("x", 15),
        protocol.NewContext("c"),
        protocol.CloseContext("c"),
        protocol.ContextReady("c"),
        protocol.ContextEnded("c", "its interpreter exited with 3"),
        protocol.Kill("x", "Cancelled"),
        protocol.WriteFiles(3),
        protocol.Stop(),
    ],
)
def test_messages_come_back(message: protocol.Message) -> None:
    assert protocol.decode(protocol.encode(message)) == message


@given(st.binary(max_size=60) | st.sampled_from([b'{"type": "Ended"}', b'{"type": "os"}', b"1"]))
def test_junk_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(data)


V1_STAT = b"cache 10\ninactive_file 5\ntotal_inactive_file 400\ntotal_active_file 100\n"
V2_STAT = b"anon 1\nfile 9\ninactive_file 300\nactive_file 50\nshmem 7\nslab_reclaimable 40\n"


@pytest.mark.parametrize(("stat", "held"), [(V1_STAT, 500), (V2_STAT, 610), (b"junk\n\xff", 1000)])
def test_memory_without_file_cache(tmp_path: Path, stat: bytes, held: int) -> None:
    files = fake_cgroup(tmp_path, {"memory.current": b"1000\n", "memory.stat": stat})
    assert files.memory_held() == held


@pytest.mark.parametrize(
    ("limit", "expected"), [(b"max\n", None), (b"9223372036854771712\n", None), (b"4096\n", 4096)]
)
def test_memory_limit(tmp_path: Path, limit: bytes, expected: int | None) -> None:
    assert fake_cgroup(tmp_path, {"memory.max": limit}).memory_limit() == expected


def test_oom_counters(tmp_path: Path) -> None:
    events = b"low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"
    assert fake_cgroup(tmp_path, {"memory.events": events}).oom_kills() == 2
    assert cgroup.CgroupFiles().oom_kills() is None
    v1 = b"oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"
    (tmp_path / "v1" / "memory" / "kubepods").mkdir(parents=True)
    (tmp_path / "v1" / "memory" / "memory.oom_control").write_bytes(v1)
    membership = "5:memory:/kubepods/pod1/c1\n"
    assert cgroup.open_files(tmp_path / "v1", membership).oom_kills() == 5
    assert cgroup.open_files(tmp_path / "nothing", "junk").descriptors == {}


def fake_cgroup(root: Path, files: dict[str, bytes]) -> cgroup.CgroupFiles:
    (root / "cgroup.controllers").touch()
    for name, text in files.items():
        (root / name).write_bytes(text)
    return cgroup.open_files(root, "0::/\n")


def test_disk_meter(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").hardlink_to(tmp_path / "a" / "b" / "file")
    (tmp_path / "etc").symlink_to("/usr")
    meter = DiskMeter((str(tmp_path), str(tmp_path / "missing")))
    while not meter.step():
        pass
    assert 100_000 <= meter.bytes < 140_000


def test_disk_meter_counts_a_page_for_what_is_empty(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).touch()
    (tmp_path / "link").symlink_to("nowhere")
    meter = DiskMeter((str(tmp_path),))
    while not meter.step():
        pass
    assert meter.bytes == 101 * 4096


def test_the_workspace_imports_the_standard_library_only() -> None:
    program = (
        "import sys; import paddock_runtime.workspace.serving;"
        "print([m for m in ('pydantic', 'aiohttp', 'jwt', 'cryptography', 'paddock_api')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True)
    assert json.loads(done.stdout) == []
