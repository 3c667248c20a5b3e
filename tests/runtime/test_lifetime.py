"""maxDuration and idleTimeout, kept by the runtime alone; what counts as use; how both end."""

import contextlib
import os
import signal
import time
from typing import Any

import pytest
from tests.runtime.pod import AS_ROOT, Pod, text
from tests.runtime.waiting import PATIENCE, eventually

from paddock_api.executions import TerminationMessage

IGNORES_ALL = """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
open("deaf", "w").close()
while True: time.sleep(1)
"""


def ended_with(pod: Pod) -> TerminationMessage:
    raw = (pod.base / "termination-log").read_bytes()
    assert len(raw) <= 4096
    return TerminationMessage.model_validate_json(raw)


def lived(pod: Pod, since: float) -> float:
    """Seconds until both containers had ended, with 0."""
    assert pod.runtime is not None
    assert pod.workspace is not None
    assert (pod.runtime.wait(PATIENCE), pod.workspace.wait(PATIENCE)) == (0, 0)
    return time.monotonic() - since


def configured(pod: Pod, **message: Any) -> float:
    """When it was told; every test counts from there."""
    status, answer = pod.configure(**message)
    assert status == 200, answer
    return time.monotonic()


def wait_until(pod: Pod, name: str) -> None:
    eventually((pod.work / name).exists, name)


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", IGNORES_ALL], ids=["", "deaf"])
def test_the_deadline_ends_what_runs_and_both_containers(code: str) -> None:
    with Pod() as pod:
        began = configured(pod, expiresInMs=1500)
        assert text(pod.bash("echo first")) == "first\n"
        pod.submit(id="second", language="python", code=code)
        assert 1.4 < lived(pod, began) < 4
        message = ended_with(pod)
        assert message.reason == "DeadlineExceeded"
        assert [execution.reason for execution in message.executions] == ["Exited", "Cancelled"]
        assert message.executions[1].message == "the sandbox ended (DeadlineExceeded)"
        if AS_ROOT:
            assert pod.user_processes() == []


def test_a_deadline_that_has_passed_ends_it_at_once() -> None:
    with Pod() as pod:
        began = configured(pod, expiresInMs=1)
        assert lived(pod, began) < 3
        assert ended_with(pod).reason == "DeadlineExceeded"


@pytest.mark.parametrize(("first", "then"), [(60_000, 800), (300, 60_000)])
def test_the_deadline_is_moved_by_configuring_again(first: int, then: int) -> None:
    with Pod() as pod:
        configured(pod, expiresInMs=first)
        began = configured(pod, expiresInMs=then)
        if then > first:
            time.sleep(0.6)
            assert text(pod.bash("echo alive")) == "alive\n"
        else:
            assert 0.75 < lived(pod, began) < 3
            assert ended_with(pod).reason == "DeadlineExceeded"


def test_idleness_begins_with_being_configured() -> None:
    with Pod() as pod:
        time.sleep(0.5)  # nobody had it yet
        began = configured(pod, idleTimeoutMs=700)
        assert 0.65 < lived(pod, began) < 3
        assert ended_with(pod).reason == "Idle"


def test_asking_and_being_configured_again_are_no_use() -> None:
    with Pod() as pod:
        began = configured(pod, idleTimeoutMs=900)
        pod.bash("true", id="x")
        assert pod.runtime is not None
        with contextlib.suppress(OSError, AssertionError):  # until it is gone
            while pod.runtime.poll() is None and time.monotonic() - began < 5:
                pod.get("x", "?wait=1s")
                pod.call("GET", "/v1/journal")
                pod.call("GET", "/readyz")
                pod.configure(idleTimeoutMs=900)
                time.sleep(0.05)
        assert 0.85 < lived(pod, began) < 3.5
        assert ended_with(pod).reason == "Idle"


def test_what_runs_or_waits_is_use_however_quiet_it_is() -> None:
    with Pod(limits={"concurrency": 1}) as pod:
        configured(pod, idleTimeoutMs=500)
        pod.submit(language="bash", code="sleep 0.8")
        waiting = pod.submit(language="bash", code="sleep 0.8")
        ended = pod.get(waiting["id"], "?wait=10s")
        began = time.monotonic()
        assert ended["reason"] == "Exited"
        assert 0.4 < lived(pod, began) < 3
        assert ended_with(pod).reason == "Idle"


@pytest.mark.parametrize("change", ["longer", "none"])
def test_the_idle_limit_is_lengthened_and_taken_away(change: str) -> None:
    with Pod() as pod:
        configured(pod, idleTimeoutMs=400)
        configured(pod, **({"idleTimeoutMs": 60_000} if change == "longer" else {}))
        time.sleep(0.8)
        assert text(pod.bash("echo alive")) == "alive\n"


def test_the_idle_limit_is_shortened_and_counts_from_the_last_use() -> None:
    with Pod() as pod:
        configured(pod, idleTimeoutMs=60_000)
        pod.bash("true")
        began = time.monotonic()
        time.sleep(2)
        configured(pod, idleTimeoutMs=2500)
        assert 2.4 < lived(pod, began) < 4.3
        assert ended_with(pod).reason == "Idle"


def test_both_times_go_on_while_the_runtime_restarts() -> None:
    with Pod() as pod:
        began = configured(pod, expiresInMs=8000)
        time.sleep(2)
        pod.kill_runtime()
        pod.start_runtime()
        assert 7.9 < lived(pod, began) < 9.9
        assert ended_with(pod).reason == "DeadlineExceeded"
    with Pod() as pod:
        configured(pod, idleTimeoutMs=8000)
        time.sleep(1)
        pod.bash("true")
        began = time.monotonic()
        time.sleep(2)
        pod.kill_runtime()
        pod.start_runtime()
        assert 7.8 < lived(pod, began) < 9.9
        assert ended_with(pod).reason == "Idle"


def test_what_a_restart_interrupted_was_use_until_then() -> None:
    with Pod() as pod:
        configured(pod, idleTimeoutMs=1500)
        pod.submit(id="x", language="bash", code="sleep 60")
        time.sleep(1.2)
        pod.kill_runtime()
        began = time.monotonic()
        pod.start_runtime()
        assert lived(pod, began) > 1.5
        message = ended_with(pod)
        assert message.reason == "Idle"
        assert [execution.reason for execution in message.executions] == ["RuntimeRestarted"]


@pytest.mark.parametrize("ending", ["DeadlineExceeded", "Idle", "Terminated"])
def test_sigterm_while_it_ends_changes_nothing(ending: str) -> None:
    with Pod() as pod:
        pod.submit(id="x", language="python", code=IGNORES_ALL)
        wait_until(pod, "deaf")
        limits = {"DeadlineExceeded": {"expiresInMs": 200}, "Idle": {"idleTimeoutMs": 200}}
        began = configured(pod, **limits.get(ending, {}))
        if ending == "Idle":
            pod.call("DELETE", "/v1/executions/x?wait=5s")
        elif ending == "DeadlineExceeded":
            time.sleep(0.2)
        assert pod.runtime is not None
        while pod.runtime.poll() is None and time.monotonic() - began < 5:
            if ending == "Terminated" or time.monotonic() - began > 0.25:
                pod.runtime.send_signal(signal.SIGTERM)
            time.sleep(0.003)
        lived(pod, began)
        message = ended_with(pod)
        if ending != "Idle":  # its end and the first signal are too close to tell apart
            assert message.reason == ending
            assert [execution.reason for execution in message.executions] == ["Cancelled"]
        if AS_ROOT:
            assert pod.user_processes() == []


def test_the_workspace_follows_though_its_fork_server_died_at_that_moment() -> None:
    """It is not connected when the runtime says stop, and would wait for it for ever."""
    with Pod() as pod:
        began = configured(pod, expiresInMs=400)
        time.sleep(0.35)
        os.kill(pod.fork_server(), signal.SIGKILL)
        assert lived(pod, began) < 3


def test_a_workspace_that_is_started_when_all_is_over_ends_at_once() -> None:
    with Pod() as pod:
        began = configured(pod, expiresInMs=200)
        lived(pod, began)
        pod.start_workspace()
        assert pod.workspace is not None
        assert pod.workspace.wait(PATIENCE) == 0
