"""From evidence to a reason: a table, and what holds for all evidence."""

import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddock_api.messages import Limits
from paddock_api.reasons import ExecutionReason as Reason
from paddock_runtime.server.decide import Evidence, Verdict, decide, explain, signal_name

KILL, XCPU, SEGV = int(signal.SIGKILL), int(signal.SIGXCPU), int(signal.SIGSEGV)


def exited(code: int) -> int:
    return code << 8


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(exited(0)), Verdict(Reason.EXITED, exit_code=0)),
        (Evidence(exited(255)), Verdict(Reason.EXITED, exit_code=255)),
        (Evidence(exited(137), oom_kills=2), Verdict(Reason.EXITED, exit_code=137)),
        # It ended by itself while it was about to be killed: what it said counts.
        (Evidence(exited(0), kill_reason="WallTimeout"), Verdict(Reason.EXITED, exit_code=0)),
        (Evidence(KILL, kill_reason="WallTimeout"), Verdict(Reason.WALL_TIMEOUT)),
        (Evidence(64, kill_reason="OutputIdleTimeout"), Verdict(Reason.OUTPUT_IDLE_TIMEOUT)),
        (Evidence(KILL, kill_reason="OutputLimit"), Verdict(Reason.OUTPUT_LIMIT)),
        (Evidence(KILL, kill_reason="DiskLimit"), Verdict(Reason.DISK_LIMIT)),
        (Evidence(KILL, kill_reason="ProcessLimit"), Verdict(Reason.PROCESS_LIMIT)),
        (Evidence(KILL, kill_reason="Cancelled", oom_kills=1), Verdict(Reason.CANCELLED)),
        (Evidence(SEGV, kill_reason="Cancelled"), Verdict(Reason.SIGNALED, signal="SIGSEGV")),
        (Evidence(KILL, kill_reason="MemoryLimit"), Verdict(Reason.MEMORY_LIMIT)),
        (Evidence(KILL, oom_kills=1), Verdict(Reason.MEMORY_LIMIT)),
        (Evidence(KILL), Verdict(Reason.SIGNALED, signal="SIGKILL")),
        (Evidence(SEGV, oom_kills=1), Verdict(Reason.SIGNALED, signal="SIGSEGV")),
        (Evidence(SEGV | 0x80), Verdict(Reason.SIGNALED, signal="SIGSEGV")),
        (Evidence(XCPU, cpu_limit_ms=1000), Verdict(Reason.CPU_LIMIT)),
        (Evidence(XCPU), Verdict(Reason.SIGNALED, signal="SIGXCPU")),
        (Evidence(KILL, cpu_ms=2000, cpu_limit_ms=1000), Verdict(Reason.CPU_LIMIT)),
        (Evidence(KILL, cpu_ms=10, cpu_limit_ms=1000), Verdict(Reason.SIGNALED, signal="SIGKILL")),
        (
            Evidence(KILL, cpu_ms=2000, cpu_limit_ms=1000, oom_kills=1),
            Verdict(Reason.MEMORY_LIMIT),
        ),
        (Evidence(exited(126), start_error=126), Verdict(Reason.START_FAILED, exit_code=126)),
        (Evidence(None), Verdict(Reason.WORKSPACE_LOST)),
        (Evidence(None, oom_kills=1), Verdict(Reason.MEMORY_LIMIT)),
        (Evidence(None, kill_reason="WallTimeout", oom_kills=1), Verdict(Reason.WALL_TIMEOUT)),
        (Evidence(None, kill_reason="Cancelled"), Verdict(Reason.CANCELLED)),
        (Evidence(None, start_error=126), Verdict(Reason.START_FAILED, exit_code=126)),
    ],
)
def test_table(evidence: Evidence, verdict: Verdict) -> None:
    assert decide(evidence) == verdict


ours = ["WallTimeout", "OutputIdleTimeout", "OutputLimit", "Cancelled", "MemoryLimit", "DiskLimit"]


@given(
    st.builds(
        Evidence,
        status=st.none() | st.integers(0, 255).map(exited) | st.integers(1, 64),
        kill_reason=st.none() | st.sampled_from([*ours, "ProcessLimit", "CpuLimit"]),
        start_error=st.none() | st.sampled_from([126, 127]),
        oom_kills=st.integers(0, 2),
        cpu_ms=st.integers(0, 3000),
        cpu_limit_ms=st.none() | st.just(1000),
    )
)
def test_always_one_reason_and_only_its_own_fields(evidence: Evidence) -> None:
    verdict = decide(evidence)
    has_code = verdict.reason in (Reason.EXITED, Reason.START_FAILED)
    assert (verdict.exit_code is not None) == has_code
    assert (verdict.signal is not None) == (verdict.reason is Reason.SIGNALED)


def test_sentences_name_the_number() -> None:
    limits = Limits(memory_bytes=4096, cpu_time_ms=700, file_bytes=99)
    assert "4096 bytes" in str(explain(Verdict(Reason.MEMORY_LIMIT), limits))
    assert "700 ms" in str(explain(Verdict(Reason.CPU_LIMIT), limits))
    assert "99 bytes" in str(explain(Verdict(Reason.SIGNALED, signal="SIGXFSZ"), limits))
    assert explain(Verdict(Reason.SIGNALED, signal="SIGXFSZ"), Limits()) is None
    assert explain(Verdict(Reason.EXITED, exit_code=1), limits) is None


def test_signal_names() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(35) == "SIGRTMIN+1"
    assert signal_name(64) == "SIGRTMAX"


def test_a_kill_that_a_client_sent_is_not_taken_for_the_kernel_s() -> None:
    killed = Evidence(status=9, oom_kills=3)
    assert decide(killed).reason == "MemoryLimit"
    assert decide(replace(killed, client_killed=True)).reason == "Signaled"
