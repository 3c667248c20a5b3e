"""The volume of a workspace: one claim per sandbox, made once, found again, never a stranger's."""

from typing import Any

import pytest
from tests.operator.objects import (
    NAME,
    SANDBOX_UID,
    WORKSPACE_UID,
    Json,
    after,
    condition,
    ready_status,
    sandbox,
)
from tests.operator.planning import kinds, new_status, plan_sandbox

from paddock_api.conditions import ConditionReason as R
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Create, Plan
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.views import ObjectView, PodView
from paddock_operator.plan.volumes import claim_of

PLAIN = SandboxTemplateSpec()
DISK = SandboxTemplateSpec.read({"workspace": {"volume": {"size": "2Gi"}}})
FAST = SandboxTemplateSpec.read(
    {"workspace": {"volume": {"size": "500M", "storageClassName": "fast"}}}
)
CLAIM, POD = "Create PersistentVolumeClaim", "Create Pod"


def suspended(**more: Any) -> Json:
    """A sandbox that had a pod and has none, and may go on."""
    asleep = condition("Suspended", "True", "Suspended")
    status = ready_status(conditions=[asleep], **more)
    status = {name: value for name, value in status.items() if name not in ("podUid", "podIP")}
    return sandbox(status=status, suspend=False)


def made_pod(plan: Plan) -> PodView:
    (create,) = (a for a in plan.actions if isinstance(a, Create) and a.key.kind == "Pod")
    return PodView(dict(create.manifest))


def test_without_a_volume_there_is_no_claim() -> None:
    assert claim_of(ObjectView(sandbox()), PLAIN) is None
    plan = plan_sandbox(sandbox(), template=PLAIN)
    assert kinds(plan) == [POD]
    assert made_pod(plan).volume_claim is None


@pytest.mark.parametrize(
    ("template", "size", "storage_class"), [(DISK, "2Gi", None), (FAST, "500M", "fast")]
)
def test_the_claim_comes_before_the_pod_and_is_the_sandboxes(
    template: SandboxTemplateSpec, size: str, storage_class: str | None
) -> None:
    plan = plan_sandbox(sandbox(), template=template)
    assert kinds(plan) == [CLAIM, POD]
    claim = plan.actions[0]
    assert isinstance(claim, Create)
    assert (claim.key.name, claim.owner_uid) == (NAME, SANDBOX_UID)
    (owner,) = claim.manifest["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (SANDBOX_UID, True)
    spec = claim.manifest["spec"]
    assert spec["resources"] == {"requests": {"storage": size}}
    assert spec["accessModes"] == ["ReadWriteOnce"]
    assert spec.get("storageClassName") == storage_class
    assert made_pod(plan).volume_claim == NAME


def test_only_the_workspace_mounts_it_and_its_files_are_its_users() -> None:
    pod = made_pod(plan_sandbox(sandbox(), template=DISK))
    (runtime, workspace) = pod.spec["containers"]
    mounted = [mount["name"] for mount in runtime["volumeMounts"]]
    assert "workspace" not in mounted
    assert {"name": "workspace", "mountPath": "/workspace"} in workspace["volumeMounts"]
    assert pod.spec["securityContext"]["fsGroup"] == WORKSPACE_UID
    plain = made_pod(plan_sandbox(sandbox(), template=PLAIN))
    assert "fsGroup" not in plain.spec["securityContext"]


@pytest.mark.parametrize("template", [PLAIN, DISK, FAST])
def test_the_claim_of_before_a_suspension_is_used_again(template: SandboxTemplateSpec) -> None:
    """Whatever the template has come to say, and without asking for it again."""
    plan = plan_sandbox(suspended(volumeClaimName="of-before"), template=template)
    assert kinds(plan) == [POD]
    assert made_pod(plan).volume_claim == "of-before"


def test_one_that_had_none_gets_none() -> None:
    plan = plan_sandbox(suspended(), template=DISK)
    assert kinds(plan) == [POD]
    assert made_pod(plan).volume_claim is None


def test_a_refused_claim_is_told_and_no_pod_is_made_without_it() -> None:
    """The engine stops at the first action that is refused."""
    refused = Trouble(R.QUOTA_EXCEEDED, "persistentvolumeclaim/x: exceeded quota.")
    plan = plan_sandbox(sandbox(), template=DISK, trouble=refused)
    assert kinds(plan) == ["PatchStatus Sandbox", CLAIM, POD]
    told = sandbox(status=new_status(plan))
    assert kinds(plan_sandbox(told, template=DISK, trouble=refused)) == [CLAIM, POD]


def test_the_claim_is_in_the_status_as_soon_as_anything_is_and_stays_there() -> None:
    made = made_pod(plan_sandbox(sandbox(), template=DISK)).obj
    pod = {**made, "metadata": {**made["metadata"], "uid": "p"}, "status": {"phase": "Running"}}
    ready = plan_sandbox(sandbox(), pod, answering=True, template=DISK)
    status = new_status(ready)
    assert (status["volumeClaimName"], status["podUid"]) == (NAME, "p")
    for seen in (pod, None):
        asleep = new_status(plan_sandbox(sandbox(status=status, suspend=True), seen, now=after(9)))
        assert asleep["volumeClaimName"] == NAME
        assert asleep["workspaceUid"] == WORKSPACE_UID
        assert not {"podUid", "podName", "podIP"} & asleep.keys()
