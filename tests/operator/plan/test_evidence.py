"""What a pod's status proves: the table of troubles and ends."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.objects import NOW, RUNNING, Json, after, ended_text, pod, terminated, waiting

from paddock_api.conditions import ConditionReason as R
from paddock_operator.plan.evidence import PodEnd, last_words_until, pod_end, pod_trouble
from paddock_operator.plan.views import PodView

UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient memory.",
}


def trouble_of(**fields: Any) -> tuple[R, str] | None:
    found = pod_trouble(PodView(pod(**fields)))
    return (found.reason, found.message) if found else None


def end_of(**fields: Any) -> R | None:
    end = pod_end(PodView(pod(**fields)), NOW)
    return end.reason if end else None


@pytest.mark.parametrize(
    "reason",
    [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
    ],
)
def test_an_image_that_cannot_be_had_is_told_with_the_kubelets_words(reason: str) -> None:
    found = trouble_of(workspace=waiting(reason, "pull access denied"), phase="Pending")
    assert found is not None
    assert found[0] is R.IMAGE_UNAVAILABLE
    for word in ("workspace", reason, "Check the template's image", "pull access denied"):
        assert word in found[1]


@pytest.mark.parametrize(
    "reason",
    [
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "CrashLoopBackOff",
    ],
)
def test_a_container_that_cannot_start_is_told(reason: str) -> None:
    found = trouble_of(runtime=waiting(reason, "no such user"))
    assert found is not None
    assert found[0] is R.CONTAINER_START_FAILED
    assert "runtime" in found[1]
    assert "no such user" in found[1]


def test_a_full_cluster_is_told_before_anything_else() -> None:
    found = trouble_of(
        phase="Pending", conditions=[UNSCHEDULABLE], runtime=waiting("ErrImagePull"), ip=""
    )
    assert found is not None
    assert found[0] is R.UNSCHEDULABLE
    assert "Insufficient memory" in found[1]


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_a_young_pod_is_no_trouble(reason: str) -> None:
    assert trouble_of(runtime=waiting(reason), workspace=waiting(reason), ip="") is None


def test_a_pod_without_any_status_is_neither_trouble_nor_end() -> None:
    bare = pod()
    del bare["status"]
    assert pod_trouble(PodView(bare)) is None
    assert pod_end(PodView(bare), NOW) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({}, None, id="running"),
        pytest.param({"phase": "Pending", "ip": "", "runtime": {}}, None, id="pending"),
        pytest.param({"phase": "Unknown"}, None, id="unknown-may-come-back"),
        pytest.param({"runtime": terminated(1)}, R.RUNTIME_FAILED, id="runtime-1"),
        pytest.param({"runtime": terminated(137)}, None, id="runtime-137-restarts"),
        pytest.param(
            {"runtime": terminated(137), "restart_rules": False}, R.RUNTIME_FAILED, id="runtime-137"
        ),
        pytest.param({"workspace": terminated(0)}, R.WORKSPACE_LOST, id="workspace-0"),
        pytest.param({"workspace": terminated(1)}, R.WORKSPACE_LOST, id="workspace-1"),
        pytest.param({"workspace": terminated(139)}, R.WORKSPACE_LOST, id="workspace-139"),
        pytest.param({"workspace": terminated(137)}, None, id="workspace-137-restarts"),
        pytest.param(
            {"workspace": terminated(137, "OOMKilled")}, None, id="workspace-oom-restarts"
        ),
        pytest.param(
            {"workspace": terminated(137), "restart_rules": False},
            R.WORKSPACE_LOST,
            id="workspace-137",
        ),
        pytest.param(
            {"workspace": terminated(137, "OOMKilled"), "restart_rules": False},
            R.OOM_KILLED,
            id="workspace-oom",
        ),
        pytest.param(
            {"phase": "Failed", "workspace": terminated(137, "OOMKilled")},
            R.OOM_KILLED,
            id="failed-oom",
        ),
        pytest.param(
            {"phase": "Failed", "workspace": terminated(1)}, R.WORKSPACE_LOST, id="failed-workspace"
        ),
        pytest.param(
            {"phase": "Failed", "runtime": terminated(2)}, R.RUNTIME_FAILED, id="failed-runtime"
        ),
        pytest.param({"phase": "Failed", "reason": "Evicted"}, R.EVICTED, id="evicted"),
        pytest.param(
            {"phase": "Failed", "reason": "DeadlineExceeded"}, R.DEADLINE_EXCEEDED, id="deadline"
        ),
        pytest.param({"phase": "Failed", "reason": "Preempting"}, R.PREEMPTED, id="preempted"),
        pytest.param({"phase": "Failed", "reason": "NodeLost"}, R.NODE_LOST, id="node-lost"),
        pytest.param({"phase": "Failed", "reason": "NodeShutdown"}, R.NODE_LOST, id="shutdown"),
        pytest.param({"phase": "Failed", "reason": "Terminated"}, R.NODE_LOST, id="terminated"),
        pytest.param({"phase": "Failed"}, R.SANDBOX_LOST, id="failed-without-a-word"),
        pytest.param(
            {"phase": "Failed", "reason": "UnexpectedAdmissionError"},
            R.SANDBOX_LOST,
            id="failed-otherwise",
        ),
        pytest.param({"phase": "Succeeded"}, R.SANDBOX_LOST, id="succeeded-without-a-word"),
        pytest.param({"deleting": True}, None, id="being-deleted-and-has-the-last-word"),
        pytest.param(
            {"deleting": True, "runtime": terminated(137)}, R.POD_DELETED, id="being-deleted"
        ),
        pytest.param({"deleting": True, "runtime": {}}, R.POD_DELETED, id="deleted-unstarted"),
        pytest.param({"deleting": True, "workspace": terminated(0)}, None, id="runtime-lives-on"),
        pytest.param(
            {"deleting": True, "runtime": terminated(1), "disrupted": "EvictionByEvictionAPI"},
            R.EVICTED,
            id="drained",
        ),
        pytest.param(
            {"phase": "Failed", "disrupted": "PreemptionByScheduler"}, R.PREEMPTED, id="displaced"
        ),
        pytest.param(
            {"phase": "Failed", "reason": "Preempting", "disrupted": "TerminationByKubelet"},
            R.PREEMPTED,
            id="displaced-by-the-kubelet",
        ),
        pytest.param(
            {"phase": "Failed", "reason": "Terminated", "disrupted": "TerminationByKubelet"},
            R.NODE_LOST,
            id="node-shut-down",
        ),
        pytest.param(
            {"phase": "Failed", "reason": "Evicted", "disrupted": "TerminationByKubelet"},
            R.EVICTED,
            id="evicted-by-the-kubelet",
        ),
        pytest.param(
            {"deleting": True, "runtime": {}, "disrupted": "DeletionByTaintManager"},
            R.NODE_LOST,
            id="node-unreachable",
        ),
        pytest.param(
            {"phase": "Failed", "disrupted": "DeletionByPodGC"}, R.NODE_LOST, id="node-deleted"
        ),
        pytest.param(
            {"phase": "Failed", "disrupted": "SomethingNew"}, R.SANDBOX_LOST, id="unknown-reason"
        ),
    ],
)
def test_every_end_has_its_reason(fields: dict[str, Any], reason: R | None) -> None:
    assert end_of(**fields) is reason


def test_a_pod_that_does_not_go_is_not_waited_for_longer_than_its_grace() -> None:
    leaving = PodView(pod(deleting=True))
    assert last_words_until(leaving) == after(2)
    assert pod_end(leaving, after(1.9)) is None
    assert (pod_end(leaving, after(2)) or PodEnd(R.IDLE, "")).reason is R.POD_DELETED
    assert last_words_until(PodView(pod())) is None


def test_an_eviction_quotes_what_ran_out() -> None:
    evicted = pod(
        phase="Failed", reason="Evicted", message="Usage of EmptyDir volume exceeds the limit"
    )
    end = pod_end(PodView(evicted), NOW)
    assert end is not None
    assert "EmptyDir" in end.message


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("DeadlineExceeded", R.DEADLINE_EXCEEDED),
        ("Idle", R.IDLE),
        ("Terminated", R.TERMINATED),
        ("Bored", R.RUNTIME_FAILED),
        ("", R.RUNTIME_FAILED),
    ],
)
def test_the_runtimes_own_word_is_the_strongest(word: str, reason: R) -> None:
    text = json.dumps({"reason": word})
    assert end_of(runtime=terminated(0, "Completed", text)) is reason
    assert end_of(phase="Succeeded", runtime=terminated(0, "Completed", text)) is reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, R.EVICTED),
        ({"phase": "Failed", "reason": "NodeShutdown"}, R.NODE_LOST),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, R.DEADLINE_EXCEEDED),
        ({"deleting": True}, R.POD_DELETED),
    ],
)
def test_who_asked_the_runtime_to_stop_is_told_when_the_pod_says_it(
    fields: Json, reason: R
) -> None:
    said = json.dumps({"reason": "Terminated", "executions": [ended_text("a.greet")]})
    end = pod_end(PodView(pod(runtime=terminated(0, "Completed", said), **fields)), NOW)
    assert end is not None
    assert end.reason is reason
    assert [execution.id for execution in end.executions] == ["a.greet"]


def test_ends_in_the_termination_message_are_kept() -> None:
    text = json.dumps({"reason": "DeadlineExceeded", "executions": [ended_text("a.greet")]})
    end = pod_end(PodView(pod(runtime=terminated(0, "Completed", text))), NOW)
    assert end is not None
    assert [execution.id for execution in end.executions] == ["a.greet"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        '{"reason": 3}',
        '{"reason": "Idle", "extra": 1}',
        '{"reason": "Idle", "executions": [{"id": "a"}]}',
        '{"reason": "Idle", "executions": [{"id": "a", "state": "Finished", "acceptedAt": "x"}]}',
        '{"reason": "\ud800"}',
        "[" * 2000,
        "\x00\x01\x02",
        "Terminated",
    ],
)
def test_a_message_that_is_not_the_runtimes_is_a_runtime_failure(text: str) -> None:
    assert end_of(runtime=terminated(0, "Completed", text)) is R.RUNTIME_FAILED


def test_a_message_beside_another_exit_code_is_not_read() -> None:
    text = json.dumps({"reason": "Idle"})
    assert end_of(runtime=terminated(1, "Error", text)) is R.RUNTIME_FAILED


@given(st.text(), st.integers(0, 255), st.booleans())
def test_any_termination_message_gives_an_answer(text: str, code: int, rules: bool) -> None:
    end_of(runtime=terminated(code, "Error", text), restart_rules=rules)


@given(
    st.sampled_from(["Pending", "Running", "Failed", "Succeeded", "Unknown"]),
    st.text(max_size=20),
    st.sampled_from([RUNNING, {}, waiting("x"), terminated(0), terminated(137), terminated(3)]),
    st.sampled_from([RUNNING, {}, waiting("x"), terminated(0), terminated(137), terminated(3)]),
)
def test_a_pod_that_has_ended_never_reads_as_alive(
    phase: str, reason: str, runtime: Json, workspace: Json
) -> None:
    end = end_of(phase=phase, reason=reason, runtime=runtime, workspace=workspace)
    if phase in ("Failed", "Succeeded"):
        assert end is not None
