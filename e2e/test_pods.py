"""The pods that the operator really created: limits, no token, a user id each, no way out.

They were admitted into a namespace that enforces Pod Security `restricted`, and the watch of the
examples' run kept what the API server had of them.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pykube
import pytest
from e2e.examples import ExamplesRun, PodRecord
from e2e.kube import Json, Kube
from e2e.test_examples import CASES


@pytest.fixture(scope="module")
def records(examples: ExamplesRun) -> list[PodRecord]:
    """The pods of all examples."""
    for name in CASES:
        examples.finished(name)
    return list(examples.watch.records.values())


def containers(pod: Json) -> Iterator[tuple[str, Json]]:
    return ((entry["name"], entry) for entry in pod["spec"]["containers"])


def limits(pod: Json, name: str) -> dict[str, Any]:
    found: dict[str, Any] = dict(containers(pod))[name]["resources"]
    return found


def workspace_uid(pod: Json) -> int:
    return int(dict(containers(pod))["workspace"]["securityContext"]["runAsUser"])


def test_the_namespace_they_were_admitted_to_enforces_restricted(
    kube: Kube, examples: ExamplesRun
) -> None:
    namespace = kube.find(pykube.Namespace, examples.namespace)
    assert namespace is not None
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    refused = kube.kubectl(
        "run", "root", "--image=localhost/none", namespace=examples.namespace, check=False
    )
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_the_workspace_carries_the_limits_of_the_chart_s_template(examples: ExamplesRun) -> None:
    (record,) = examples.pods_of(examples.finished("hello"))
    assert _in_bytes(limits(record.pod, "workspace")) == {
        "limits": {"cpu": "500m", "memory": 512 << 20, "ephemeral-storage": 4 << 30},
        "requests": {"cpu": "50m", "memory": 512 << 20, "ephemeral-storage": 1 << 30},
    }


def test_the_workspace_carries_the_limits_of_a_team_s_own_template(examples: ExamplesRun) -> None:
    (record,) = examples.pods_of(examples.finished("own-template"))
    assert _in_bytes(limits(record.pod, "workspace")) == {
        "limits": {"cpu": "250m", "memory": 128 << 20, "ephemeral-storage": 256 << 20},
        "requests": {"cpu": "25m", "memory": 128 << 20, "ephemeral-storage": 64 << 20},
    }
    assert record.pod["spec"]["activeDeadlineSeconds"] > 10 * 60


def test_the_runtime_is_limited_too_and_small(records: list[PodRecord]) -> None:
    for record in records:
        assert _in_bytes(limits(record.pod, "runtime")) == {
            "limits": {"cpu": 1, "memory": 128 << 20, "ephemeral-storage": 768 << 20},
            "requests": {"cpu": "25m", "memory": 64 << 20, "ephemeral-storage": 64 << 20},
        }


def test_no_pod_holds_a_token_or_learns_of_services(records: list[PodRecord]) -> None:
    for record in records:
        spec = record.pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds == {"emptyDir"}, "no projected token, Secret, ConfigMap or host path"
        for name, container in containers(record.pod):
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert not [path for path in paths if path.startswith("/var/run/secrets")], name
            assert "envFrom" not in container
            assert not [entry for entry in container["env"] if "valueFrom" in entry]


def test_every_container_is_confined(records: list[PodRecord]) -> None:
    for record in records:
        spec = record.pod["spec"]
        assert not [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
        assert spec["restartPolicy"] == "Never"
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec.get("initContainers")
        assert [name for name, _ in containers(record.pod)] == ["runtime", "workspace"]
        for _, container in containers(record.pod):
            confined = container["securityContext"]
            assert confined["runAsNonRoot"] is True
            assert confined["runAsUser"] == confined["runAsGroup"] > 10_000
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["privileged"] is False
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["capabilities"] == {"drop": ["ALL"]}


def test_the_runtime_does_not_mount_what_user_code_writes(records: list[PodRecord]) -> None:
    for record in records:
        mounted = {
            name: {mount["name"] for mount in container["volumeMounts"]}
            for name, container in containers(record.pod)
        }
        assert mounted["runtime"] & mounted["workspace"] == {"control"}


def test_sandboxes_that_live_at_the_same_time_have_different_user_ids(
    records: list[PodRecord],
) -> None:
    overlapping = [
        (one, other)
        for one, other in combinations(records, 2)
        if one.added < (other.deleted or one.added + 1)
        and other.added < (one.deleted or other.added + 1)
    ]
    assert len(overlapping) > 20, "the examples ran side by side"
    for one, other in overlapping:
        assert workspace_uid(one.pod) != workspace_uid(other.pod)


def test_a_pod_is_its_sandbox_s_and_the_sandbox_its_session_s(examples: ExamplesRun) -> None:
    session = examples.finished("hello")
    sandbox = session["status"]["sandbox"]
    (record,) = examples.pods_of(session)
    (owner,) = record.pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
        "Sandbox",
        sandbox["name"],
        sandbox["uid"],
        True,
    )


def _in_bytes(resources: dict[str, dict[str, str]]) -> dict[str, dict[str, object]]:
    """Sizes as numbers: the API server keeps a quantity as it was spelt."""
    units = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

    def size(text: str) -> object:
        number, unit = text[:-2], text[-2:]
        if text.isdigit():
            return int(text)
        return int(number) * units[unit] if unit in units else text

    return {
        kind: {name: size(amount) for name, amount in amounts.items()}
        for kind, amounts in resources.items()
    }
