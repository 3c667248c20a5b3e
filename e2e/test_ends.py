"""How sessions end before their time: refused, out of time, their pod or themselves deleted."""

import time

import pytest
from e2e.kube import AgentSession, Json, Kube, condition, step
from e2e.sandboxes import bash, pod_of, python, runs, session, template

pytestmark = pytest.mark.usefixtures("paddock")
WORK = python("work", "import time; print('begun', flush=True); time.sleep(25); print('done')")
LATER = bash("later", "echo later")


def failed(seen: Json, reason: str) -> str:
    """Finished's message, after a check that all conditions of a failure tell the same."""
    assert seen["status"]["phase"] == "Failed"
    kinds = {entry["type"]: entry["status"] for entry in seen["status"]["conditions"]}
    assert kinds == {
        "Ready": "False",
        "Stalled": "True",
        "SandboxReady": "False",
        "Finished": "True",
        "Failed": "True",
    }
    finished = condition(seen, "Finished")
    for kind in ("Ready", "Stalled", "Finished", "Failed"):
        told = condition(seen, kind)
        assert (told["reason"], told["message"]) == (reason, finished["message"])
    return str(finished["message"])


def running(kube: Kube, name: str, namespace: str) -> Json:
    """Wait until the first step has been sent; a second later it surely runs."""
    seen = kube.until_session(name, namespace, runs, "runs its first step", 60)
    time.sleep(1)
    return seen


def test_a_timeout_above_the_template_s_ceiling_is_refused_and_never_clamped(
    kube: Kube, shared_namespace: str
) -> None:
    kube.kubectl.apply(template("short", limits={"timeout": "10s"}), shared_namespace)
    long = session("long", bash("wait", "true", timeout="11s"), template={"name": "short"})
    kube.kubectl.apply(long, shared_namespace)
    seen = kube.finished("long", shared_namespace)
    message = failed(seen, "TimeoutAboveCeiling")
    assert "spec.steps[0].timeout is 11s, the template's ceiling is 10s" in message
    assert "Create the session again with less or with another template" in message
    assert seen["status"]["steps"] == [{"name": "wait", "state": "Skipped"}]
    assert "sandbox" not in seen["status"], "nothing was made for it"
    kube.until_empty(shared_namespace)


def test_a_step_that_still_runs_at_max_duration_is_cancelled_and_its_output_kept(
    kube: Kube, shared_namespace: str
) -> None:
    late = session("late", WORK, LATER, lifetime={"maxDuration": "10s"})
    kube.kubectl.apply(late, shared_namespace)
    seen = kube.finished("late", shared_namespace)
    message = failed(seen, "DeadlineExceeded")
    assert "the session reached its maxDuration" in message
    assert "Raise spec.lifetime.maxDuration" in message
    work = step(seen, "work")
    assert (work["state"], work["reason"]) == ("Finished", "Cancelled")
    assert (work["stdoutTail"], work["stdoutBytes"]) == ("begun\n", 6)
    assert 1000 < work["durationMs"] < 11_000
    assert step(seen, "later") == {"name": "later", "state": "Skipped"}
    assert seen["status"]["result"]["reason"] == "Cancelled"
    kube.until_empty(shared_namespace)


@pytest.mark.parametrize(
    "flags", [(), ("--grace-period=0", "--force")], ids=["politely", "by-force"]
)
def test_a_step_whose_pod_is_deleted_is_lost_and_never_runs_again(
    kube: Kube, namespace: str, flags: tuple[str, ...]
) -> None:
    kube.kubectl.apply(session("robbed", WORK, LATER), namespace)
    seen = running(kube, "robbed", namespace)
    pod = pod_of(kube, seen)["metadata"]["name"]
    kube.kubectl("delete", "pod", pod, "--wait=false", *flags, namespace=namespace)
    seen = kube.finished("robbed", namespace)
    message = failed(seen, "PodDeleted")
    assert pod in message
    assert "Create the session again to start over" in message
    work = step(seen, "work")
    # Asked politely, the runtime still says what became of it. By force it is stopped all the
    # same, and its last answer and the news that its pod is gone come in any order.
    told = work["reason"], work.get("stdoutTail", "")
    either = [("Cancelled", "begun\n"), ("SandboxLost", "")]
    assert work["state"] == "Finished"
    assert told in (either if flags else either[:1])
    assert "exitCode" not in work
    assert step(seen, "later") == {"name": "later", "state": "Skipped"}
    kube.until_empty(namespace)
    time.sleep(1)
    kube.until_empty(namespace, timeout=0)
    assert kube.session("robbed", namespace)["status"] == seen["status"], "it stays as it is"


def test_a_session_deleted_while_it_runs_leaves_nothing(kube: Kube, namespace: str) -> None:
    kube.kubectl.apply(session("unwanted", WORK), namespace)
    running(kube, "unwanted", namespace)
    kube.kubectl("delete", "ags", "unwanted", namespace=namespace)
    assert kube.find(AgentSession, "unwanted", namespace) is None
    kube.until_empty(namespace)


def test_a_session_of_the_same_name_made_again_at_once_is_another_one(
    kube: Kube, namespace: str
) -> None:
    kube.kubectl.apply(session("again", WORK), namespace)
    first = running(kube, "again", namespace)
    kube.kubectl("delete", "ags", "again", namespace=namespace)
    kube.kubectl.apply(session("again", bash("work", "echo second")), namespace)
    second = kube.finished("again", namespace)
    assert second["status"]["phase"] == "Succeeded"
    assert step(second, "work")["stdoutTail"] == "second\n"
    assert second["status"]["sandbox"]["name"] != first["status"]["sandbox"]["name"]
    kube.until_empty(namespace)


def test_a_session_that_never_starts_ends_at_max_duration_and_says_why(
    kube: Kube, shared_namespace: str
) -> None:
    stuck = session("stuck", LATER, template={"name": "nowhere"}, lifetime={"maxDuration": "3s"})
    kube.kubectl.apply(stuck, shared_namespace)
    seen = kube.finished("stuck", shared_namespace)
    message = failed(seen, "DeadlineExceeded")
    assert "Last: SandboxTemplate/nowhere does not exist" in message
    assert seen["status"]["steps"] == [{"name": "later", "state": "Skipped"}]


def test_events_of_a_lost_session_say_what_was_lost(kube: Kube, namespace: str) -> None:
    kube.kubectl.apply(session("robbed", WORK), namespace)
    seen = running(kube, "robbed", namespace)
    pod = pod_of(kube, seen)["metadata"]["name"]
    kube.kubectl("delete", "pod", pod, "--wait=false", namespace=namespace)
    kube.finished("robbed", namespace)
    story = kube.until_event(namespace, "robbed", "PodDeleted")
    assert sorted(story) == ["PodDeleted", "SandboxReady", "StepFailed"]
