"""Our CRDs as a real API server keeps, explains and prints them."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.conftest import Kubectl
from tests.integration.control_plane import ROOT, ControlPlane
from tests.integration.manifests import sandbox, session, template

from paddock_api.conditions import Condition, ConditionReason, ConditionStatus, ConditionType
from paddock_api.crds import KINDS, Kind, build_crd
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_api.sandbox import Launch
from paddock_api.session_status import (
    AgentSessionStatus,
    SessionPhase,
    SessionResult,
    SessionSandbox,
    StepStatus,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def condition(kind: ConditionType, status: ConditionStatus, reason: ConditionReason) -> Condition:
    now = datetime.now(UTC)
    return Condition(
        type=kind, status=status, last_transition_time=now, reason=reason, message="1/1 done"
    )


def patch_session(kubectl: Kubectl, namespace: str, patch: Any, *options: str) -> None:
    text = json.dumps(patch)
    kubectl("patch", "ags", "it", "--type=merge", *options, "-p", text, namespace=namespace)


def write_status(kubectl: Kubectl, namespace: str, status: dict[str, Any]) -> None:
    patch_session(kubectl, namespace, {"status": status}, "--subresource=status")


@every_kind
def test_what_is_kept_is_what_was_generated(kubectl: Kubectl, kind: Kind) -> None:
    wanted = build_crd(kind)
    kept = kubectl.json("get", "crd", wanted["metadata"]["name"])
    assert kept["spec"] == wanted["spec"]
    conditions = {entry["type"]: entry["status"] for entry in kept["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema") != "True"


def test_applying_the_crds_again_changes_nothing(kubectl: Kubectl, crds: list[str]) -> None:
    said = kubectl("apply", "-f", str(ROOT / "crds")).stdout.splitlines()
    assert len(said) == len(crds) == 4
    assert all(line.endswith("unchanged") for line in said)


def objects_of(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    """Paths of all objects below, as kubectl explain takes them, with their schemas."""
    found = [(path, schema)]
    for name, child in schema["properties"].items():
        inner = child.get("items", child)
        if "properties" in inner and name != "metadata":
            found += objects_of(inner, f"{path}.{name}")
    return found


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@every_kind
def test_kubectl_explains_every_field(kubectl: Kubectl, kind: Kind) -> None:
    schema = build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in objects_of(schema, kind.plural):
        shown = squeezed(kubectl("explain", path).stdout)
        for name, child in node["properties"].items():
            if name in ("apiVersion", "kind", "metadata"):
                continue
            assert f" {name} <" in shown, f"{path}.{name}"
            assert squeezed(child["description"]) in shown, f"{path}.{name}"


def test_a_new_object_is_not_ready_before_anyone_looked(kubectl: Kubectl, namespace: str) -> None:
    for manifest in (session(), sandbox()):
        for created in (
            kubectl.json("create", "-f", "-", stdin=manifest, namespace=namespace),
            kubectl.json("get", manifest["kind"], "it", namespace=namespace),
        ):
            said = {entry["type"]: entry["status"] for entry in created["status"]["conditions"]}
            assert said == {"Ready": "Unknown", "Reconciling": "True"}
            assert created["status"]["observedGeneration"] == -1
            assert created["metadata"]["generation"] == 1


def test_a_status_sent_with_the_object_is_ignored(kubectl: Kubectl, namespace: str) -> None:
    forged = session() | {"status": {"phase": "Succeeded", "conditions": []}}
    created = kubectl.json("create", "-f", "-", stdin=forged, namespace=namespace)
    assert created["status"]["phase"] == "Pending"
    write_status(kubectl, namespace, {"phase": "Running"})
    kubectl("replace", "-f", "-", stdin=forged, namespace=namespace)
    patch_session(kubectl, namespace, {"status": {"phase": "Failed"}})
    assert kubectl.json("get", "ags", "it", namespace=namespace)["status"]["phase"] == "Running"


def test_a_status_write_never_changes_the_spec(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", stdin=session(), namespace=namespace)
    patch = {"spec": {"user": "mallory"}, "status": {"phase": "Ready"}}
    patch_session(kubectl, namespace, patch, "--subresource=status")
    kept = kubectl.json("get", "ags", "it", namespace=namespace)
    assert (kept["spec"]["user"], kept["status"]["phase"]) == ("alice", "Ready")
    assert kept["metadata"]["generation"] == 1


def test_the_full_status_of_the_models_is_kept_whole(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", stdin=session(), namespace=namespace)
    status = finished_status().to_dict()
    write_status(kubectl, namespace, status)
    kept = kubectl.json("get", "ags", "it", namespace=namespace)["status"]
    assert kept == status
    assert AgentSessionStatus.read(kept).to_dict() == status


def finished_status() -> AgentSessionStatus:
    now = datetime.now(UTC)
    done = ConditionReason.COMPLETED
    return AgentSessionStatus(
        observed_generation=1,
        phase=SessionPhase.SUCCEEDED,
        conditions=[
            condition(kind, ConditionStatus.TRUE, done)
            for kind in (ConditionType.READY, ConditionType.FINISHED, ConditionType.COMPLETE)
        ],
        sandbox=SessionSandbox(name="it-x7k2p", uid="u" * 36, launch=Launch.COLD),
        started_at=now,
        ready_at=now,
        expires_at=now,
        finished_at=now,
        result=SessionResult(
            step="greet",
            reason=ExecutionReason.EXITED,
            exit_code=0,
            duration_ms=1412,
            steps_done="1/1",
        ),
        steps=[
            StepStatus(
                name="greet",
                execution_id="uid.greet",
                state=ExecutionState.FINISHED,
                reason=ExecutionReason.EXITED,
                exit_code=0,
                duration_ms=1412,
                cpu_ms=9,
                peak_memory_bytes=9338880,
                stdout_bytes=6,
                stderr_bytes=0,
                truncated=False,
                stdout_tail="hello\n",
                stderr_tail="",
                started_at=now,
                finished_at=now,
            )
        ],
    )


def rows(text: str) -> list[dict[str, str]]:
    """Rows of `kubectl get` by column; a column starts where its header does."""
    header, *lines = text.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", header)]
    names = header.split()
    ends = [*starts[1:], None]
    return [
        {
            name: line[start:end].strip()
            for name, start, end in zip(names, starts, ends, strict=True)
        }
        for line in lines
    ]


def test_kubectl_get_shows_what_became_of_a_session(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", stdin=session(), namespace=namespace)
    fresh = rows(kubectl("get", "ags", namespace=namespace).stdout)
    assert list(fresh[0]) == ["NAME", "PHASE", "RESULT", "EXIT", "DURATION", "AGE"]
    assert (fresh[0]["PHASE"], fresh[0]["RESULT"]) == ("Pending", "")
    write_status(kubectl, namespace, finished_status().to_dict())
    (row,) = rows(kubectl("get", "ags", "-o", "wide", namespace=namespace).stdout)
    assert re.fullmatch(r"\d+s", row.pop("AGE"))
    assert row == {
        "NAME": "it",
        "PHASE": "Succeeded",
        "RESULT": "Exited",
        "EXIT": "0",
        "DURATION": "1s412ms",
        "USER": "alice",
        "SANDBOX": "it-x7k2p",
        "LAUNCH": "Cold",
        "MESSAGE": "1/1 done",
    }


def test_kubectl_get_shows_whose_a_sandbox_is(kubectl: Kubectl, namespace: str) -> None:
    owner = kubectl.json("create", "-f", "-", stdin=session(), namespace=namespace)
    child = sandbox()
    child["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "paddock.dev/v1alpha1",
            "kind": "AgentSession",
            "name": "it",
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    kubectl("create", "-f", "-", stdin=child, namespace=namespace)
    (row,) = rows(kubectl("get", "sbx", namespace=namespace).stdout)
    assert list(row) == ["NAME", "READY", "REASON", "OWNER", "LAUNCH", "AGE"]
    assert (row["READY"], row["REASON"], row["OWNER"]) == ("Unknown", "Pending", "it")


def test_kubectl_get_shows_what_a_template_allows(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", stdin=template(), namespace=namespace)
    (row,) = rows(kubectl("get", "sbt", namespace=namespace).stdout)
    row.pop("AGE")
    assert row == {
        "NAME": "it",
        "LANGUAGES": '["python","bash"]',
        "CPU": "500m",
        "MEMORY": "512Mi",
        "TIMEOUT": "30s",
    }


def test_one_word_lists_everything_of_ours(kubectl: Kubectl, namespace: str) -> None:
    for manifest in (session(), sandbox(), template()):
        kubectl("create", "-f", "-", stdin=manifest, namespace=namespace)
    listed = kubectl("get", "paddock", "-o", "name", namespace=namespace).stdout.split()
    assert {name.split(".")[0] for name in listed} >= {"agentsession", "sandbox", "sandboxtemplate"}


def test_sessions_are_selected_by_user_and_phase(kubectl: Kubectl, namespace: str) -> None:
    for name, user in (("a", "alice"), ("b", "bob@example.com")):
        manifest = session(user=user)
        manifest["metadata"]["name"] = name
        kubectl("create", "-f", "-", stdin=manifest, namespace=namespace)
    selector = "spec.user=bob@example.com,status.phase=Pending"
    found = kubectl("get", "ags", "-o", "name", f"--field-selector={selector}", namespace=namespace)
    assert found.stdout.split() == ["agentsession.paddock.dev/b"]


def test_two_managers_share_the_conditions(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", stdin=session(), namespace=namespace)
    for manager, kind in (("one", ConditionType.READY), ("two", ConditionType.FINISHED)):
        entry = condition(kind, ConditionStatus.TRUE, ConditionReason.COMPLETED).to_dict()
        kubectl(
            "apply",
            "--server-side",
            "--subresource=status",
            f"--field-manager={manager}",
            "-f",
            "-",
            stdin={
                "apiVersion": "paddock.dev/v1alpha1",
                "kind": "AgentSession",
                "metadata": {"name": "it"},
                "status": {"conditions": [entry]},
            },
            namespace=namespace,
        )
    kept = kubectl.json("get", "ags", "it", namespace=namespace)["status"]["conditions"]
    assert {"Ready", "Finished"} <= {entry["type"] for entry in kept}


def test_a_tenant_may_do_what_rbac_gives_it(
    apiserver: ControlPlane, kubectl: Kubectl, namespace: str
) -> None:
    tenant = apiserver.kubeconfig_for("tenant")
    refused = kubectl(
        "create", "-f", "-", stdin=session(), namespace=namespace, kubeconfig=tenant, check=False
    )
    assert "is forbidden" in refused.stderr
    kubectl(
        "create", "role", "tenant", "--verb=create", "--resource=agentsessions", namespace=namespace
    )
    kubectl(
        "create", "rolebinding", "tenant", "--role=tenant", "--user=tenant", namespace=namespace
    )
    kubectl("create", "-f", "-", stdin=session(), namespace=namespace, kubeconfig=tenant)
    mine = apiserver.audit_events("tenant")
    assert [event["responseStatus"]["code"] for event in mine][-1] == 201
