"""Suspend and resume: the pod goes, what is on the volume stays, nothing runs twice."""

from collections.abc import Iterator
from typing import Any

import pykube
import pytest
from e2e.kube import Json, Kube, Sandbox, condition, step, until
from e2e.sandboxes import bash, edit, how, pod_of, python, runs, session, template, until_ready

pytestmark = pytest.mark.usefixtures("paddock")


def suspended(kube: Kube, name: str, namespace: str) -> Json:
    """Wait until it is, and its pod is gone."""
    seen = kube.until_session(
        name, namespace, lambda s: s["status"].get("phase") == "Suspended", "is suspended", 30
    )
    pod = seen["status"]["sandbox"]["name"]
    until(lambda: kube.find(pykube.Pod, pod, namespace) is None, f"pod {pod} is gone", 30)
    return kube.session(name, namespace)


@pytest.fixture
def volume(kube: Kube, namespace: str, tmp_path: Any) -> Iterator[str]:
    """A storage class of one volume: a folder of the node, which is this machine."""
    tmp_path.chmod(0o777)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    name = f"{namespace}-disk"
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": name,
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Delete",
            "hostPath": {"path": str(tmp_path), "type": "Directory"},
        },
    }
    kube.kubectl.apply(manifest)
    yield name
    kube.kubectl("delete", "pv", name, "--wait=false", "--ignore-not-found")


def test_files_on_the_volume_survive_and_a_cancelled_step_is_not_repeated(
    kube: Kube, namespace: str, volume: str
) -> None:
    disk = {"volume": {"size": "100Mi", "storageClassName": volume}}
    kube.kubectl.apply(template("disk", workspace=disk), namespace)
    count = "echo x >> runs; cat given"
    slow = "import time; open('given', 'a').write('changed'); time.sleep(60)"
    steps = [
        bash("first", count),
        python("second", slow, timeout="30s", continueOnFailure=True),
        bash("third", f"{count}; wc -l < runs"),
    ]
    made = session(
        "keeps", *steps, template={"name": "disk"}, files=[{"path": "given", "content": "first "}]
    )
    kube.kubectl.apply(made, namespace)

    def in_second(seen: Json) -> bool:
        steps = seen["status"].get("steps") or [{}, {}]
        return steps[1].get("state") == "Running"

    seen = kube.until_session("keeps", namespace, in_second, "is in its second step", 60)
    before = pod_of(kube, seen)
    edit(kube, "keeps", namespace, suspend=True)
    seen = suspended(kube, "keeps", namespace)
    assert step(seen, "second")["reason"] == "Cancelled"
    assert step(seen, "third")["state"] == "Pending"
    assert condition(seen, "Suspended")["status"] == "True"
    assert condition(seen, "Ready")["reason"] == "Suspended"
    (box,) = kube.all(Sandbox, namespace)
    assert condition(box, "Suspended")["status"] == "True"
    assert "podUid" not in box["status"]
    edit(kube, "keeps", namespace, suspend=False)
    seen = kube.finished("keeps", namespace)
    assert seen["status"]["phase"] == "Succeeded", seen["status"]
    third = step(seen, "third")
    assert third["stdoutTail"] == "first changed2\n", "the volume's files, not the spec's again"
    assert seen["status"]["sandbox"]["uid"] == box["metadata"]["uid"]
    (workspace,) = [c for c in before["spec"]["containers"] if c["name"] == "workspace"]
    assert box["status"]["workspaceUid"] == workspace["securityContext"]["runAsUser"]
    kube.until_empty(namespace)
    until(
        lambda: not kube.all(pykube.PersistentVolumeClaim, namespace), "its claim went with it", 30
    )


def test_an_open_session_comes_back_with_its_files_as_they_were_given(
    kube: Kube, namespace: str
) -> None:
    given = [{"path": "data.csv", "content": "a,b\n"}]
    kube.kubectl.apply(session("open", files=given, lifetime={"idleTimeout": "4s"}), namespace)
    until_ready(kube, "open", namespace)
    edit(kube, "open", namespace, suspend=True)
    seen = suspended(kube, "open", namespace)
    shown = kube.kubectl("get", "ags", "open", namespace=namespace).stdout
    assert "Suspended" in shown
    edit(kube, "open", namespace, suspend=False)
    seen = kube.until_session(
        "open", namespace, lambda s: s["status"]["phase"] == "Ready", "is ready again", 30
    )
    assert condition(seen, "Suspended") | {"lastTransitionTime": ""} == {
        "type": "Suspended",
        "status": "False",
        "reason": "Resumed",
        "message": "spec.suspend is false again.",
        "observedGeneration": seen["metadata"]["generation"],
        "lastTransitionTime": "",
    }
    seen = kube.finished("open", namespace)
    assert condition(seen, "Finished")["reason"] == "Idle", "idleness counts from the return"


def test_max_duration_goes_on_while_it_is_suspended(kube: Kube, namespace: str) -> None:
    made = session("short", lifetime={"maxDuration": "8s"}, suspend=True)
    kube.kubectl.apply(made, namespace)
    kube.until_session(
        "short", namespace, lambda s: s["status"].get("phase") == "Suspended", "is suspended", 20
    )
    assert not kube.all(Sandbox, namespace), "it never needed one"
    seen = kube.finished("short", namespace, timeout=20)
    assert how(seen) == (
        "Expired",
        "Expired",
    )


def test_a_running_step_that_may_not_fail_ends_the_session_when_it_is_suspended(
    kube: Kube, namespace: str
) -> None:
    slow = python("slow", "import time; print('begun', flush=True); time.sleep(60)", timeout="30s")
    kube.kubectl.apply(session("strict", slow, bash("next", "true")), namespace)
    kube.until_session("strict", namespace, runs, "runs", 60)
    edit(kube, "strict", namespace, suspend=True)
    seen = kube.finished("strict", namespace, timeout=20)
    assert how(seen) == (
        "Failed",
        "StepFailed",
    )
    assert step(seen, "slow")["reason"] == "Cancelled"
    assert step(seen, "next")["state"] == "Skipped"
    kube.until_empty(namespace)
