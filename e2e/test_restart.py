"""The operator is killed while it waits for a step: the step goes on, its result arrives."""

import time

import pytest
from e2e.installation import Paddock
from e2e.kube import Kube, step
from e2e.sandboxes import bash, python, session

WORK = python(
    "work",
    """
import os, time
with open("runs.txt", "a") as file:
    file.write("once\\n")
print("begun", flush=True)
time.sleep(6)
print("done")
""",
)
COUNT = bash("count", "wc -l < runs.txt")


@pytest.mark.parametrize("how", ["kill", "rollout"])
def test_a_long_step_survives_the_operator(
    kube: Kube, paddock: Paddock, namespace: str, how: str
) -> None:
    kube.kubectl.apply(session("patient", WORK, COUNT), namespace)
    kube.until_session(
        "patient",
        namespace,
        lambda seen: bool((seen["status"].get("steps") or [{}])[0].get("executionId")),
        "runs its first step",
        timeout=60,
    )
    time.sleep(1)
    if how == "kill":
        paddock.kill()
    else:
        deployment = f"deploy/{paddock.deployment}"
        kube.kubectl("rollout", "restart", deployment, namespace=paddock.namespace)
    seen = kube.finished("patient", namespace, timeout=60)
    assert seen["status"]["phase"] == "Succeeded"
    work = step(seen, "work")
    assert (work["reason"], work["exitCode"]) == ("Exited", 0)
    assert work["stdoutTail"] == "begun\ndone\n"
    assert 6000 <= work["durationMs"] < 12_000, "it was not interrupted"
    assert step(seen, "count")["stdoutTail"] == "1\n", "it ran once"
    kube.until_empty(namespace)
    paddock.until_ready()
