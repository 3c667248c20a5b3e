"""Contexts when the runtime or the workspace goes: dead, told so, and made anew at once."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.runtime.pod import Pod


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    """Of its own: contexts are left in it."""
    with Pod() as made:
        yield made


def made(pod: Pod, identity: str) -> None:
    assert pod.call("POST", "/v1/contexts", {"id": identity})[0] == 201


def state(pod: Pod, identity: str) -> Any:
    return pod.call("GET", f"/v1/contexts/{identity}")[1]["state"]


def run(pod: Pod, identity: str) -> tuple[int, Any]:
    body = {"id": pod.new_id(), "language": "python", "code": "print(1)", "context": identity}
    return pod.call("POST", "/v1/executions?wait=10s", body)


def test_an_environment_that_is_kept_in_the_journal_is_small(pod: Pod) -> None:
    env = [{"name": f"V{number}", "value": "ü" * 10_000} for number in range(7)]
    status, problem = pod.call("POST", "/v1/contexts", {"id": "large", "env": env})
    assert (status, problem["code"]) == (422, "InvalidRequest")
    assert problem["detail"].startswith("env: ")
    assert "140014 bytes" in problem["detail"], "names and UTF-8"
    assert "131072" in problem["detail"]
    made = {"id": "large", "env": env[:6]}
    assert pod.call("POST", "/v1/contexts", made)[0] == 201
    assert pod.call("DELETE", "/v1/contexts/large")[0] == 204


@pytest.mark.parametrize("then", ["restart", "delete"])
def test_after_a_restart_of_the_runtime_they_are_dead(pod: Pod, then: str) -> None:
    made(pod, then)
    pod.crash_runtime()
    pod.wait_ready()
    assert state(pod, then) == "Dead"
    status, problem = run(pod, then)
    assert (status, problem["code"]) == (409, "ContextDied")
    assert "the runtime's container restarted" in problem["detail"]
    began = time.monotonic()
    if then == "restart":
        assert pod.call("POST", f"/v1/contexts/{then}/restart")[0] == 200
    else:
        assert pod.call("DELETE", f"/v1/contexts/{then}")[0] == 204
        made(pod, then)
    assert time.monotonic() - began < 5, "not after patience"
    assert run(pod, then)[1]["exitCode"] == 0


def test_a_restart_without_a_workspace_can_be_sent_again(pod: Pod) -> None:
    made(pod, "again")
    pod.kill_fork_server()
    deadline = time.monotonic() + 20
    while (answered := pod.call("POST", "/v1/contexts/again/restart"))[0] != 200:
        assert answered[1]["code"] == "WorkspaceNotReady", answered
        assert state(pod, "again") == "Dead"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert run(pod, "again")[1]["exitCode"] == 0
