"""The pod that the operator makes: hardened whatever the template says."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.objects import NAME, POD_SETTINGS, SANDBOX_UID, WORKSPACE_UID, Json, sandbox
from tests.operator.plan.restricted import violations

from paddock_api.messages import SandboxSettings
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.pods import RUNTIME_UID, PodSettings, build_pod
from paddock_operator.plan.views import ObjectView, PodView

HOSTILE = {
    "image": "registry/x:1",
    "env": [{"name": "LD_PRELOAD", "value": '"},{"name":"x","privileged":true}'}],
    "securityContext": {"privileged": True},
    "hostNetwork": True,
    "serviceAccountName": "admin",
    "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
    "command": ["sh"],
    "nodeName": "control-plane",
    "resources": {"memory": "128Mi", "securityContext": {"runAsUser": 0}},
}
EXPECTED_SPEC = {
    "restartPolicy",
    "activeDeadlineSeconds",
    "terminationGracePeriodSeconds",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "dnsPolicy",
    "dnsConfig",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
    "securityContext",
    "containers",
    "volumes",
    "tolerations",
}
EXPECTED_CONTAINER = {
    "name",
    "image",
    "imagePullPolicy",
    "command",
    "env",
    "volumeMounts",
    "resources",
    "securityContext",
    "restartPolicy",
    "restartPolicyRules",
}


def made(template: Json | None = None, settings: PodSettings = POD_SETTINGS) -> Json:
    spec = SandboxTemplateSpec.read(template)
    return build_pod(ObjectView(sandbox()), spec, settings, WORKSPACE_UID)


def container(pod: Json, name: str) -> Json:
    return next(entry for entry in pod["spec"]["containers"] if entry["name"] == name)


def env_of(pod: Json, name: str) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(pod, name)["env"]}


@pytest.mark.parametrize("template", [{}, HOSTILE], ids=["silent", "hostile"])
def test_it_meets_the_level_restricted(template: Json) -> None:
    assert list(violations(made(template))) == []


WEAKENINGS: dict[str, Callable[[Json], Any]] = {
    "host network": lambda pod: pod["spec"].update(hostNetwork=True),
    "host path": lambda pod: pod["spec"]["volumes"].append({"name": "x", "hostPath": {}}),
    "privileged": lambda pod: context(pod).update(privileged=True),
    "escalation": lambda pod: context(pod).pop("allowPrivilegeEscalation"),
    "root": lambda pod: context(pod).update(runAsUser=0),
    "root group": lambda pod: context(pod).pop("runAsGroup"),
    "capabilities": lambda pod: context(pod)["capabilities"].update(add=["NET_RAW"]),
    "seccomp": lambda pod: context(pod).update(seccompProfile={"type": "Unconfined"}),
    "writable root": lambda pod: context(pod).update(readOnlyRootFilesystem=False),
    "host port": lambda pod: pod["spec"]["containers"][0]["ports"][0].update(hostPort=1),
    "init container": lambda pod: pod["spec"].update(initContainers=[{"name": "x"}]),
}


def context(pod: Json) -> Json:
    found: Json = pod["spec"]["containers"][0]["securityContext"]
    return found


@pytest.mark.parametrize("weaken", WEAKENINGS.values(), ids=WEAKENINGS.keys())
def test_the_checker_sees_what_is_wrong(weaken: Callable[[Json], Any]) -> None:
    pod = copy.deepcopy(made())
    weaken(pod)
    assert list(violations(pod)) != []


def test_a_template_chooses_an_image_and_sizes_and_nothing_else() -> None:
    plain, hostile = made(), made(HOSTILE)
    assert set(hostile["spec"]) == EXPECTED_SPEC
    for name in ("runtime", "workspace"):
        extra = {"ports", "readinessProbe"} if name == "runtime" else set()
        assert set(container(hostile, name)) == EXPECTED_CONTAINER | extra
    for pod, template in ((plain, None), (hostile, HOSTILE)):
        changeable = container(pod, "workspace")
        del changeable["image"], changeable["resources"], changeable["env"]
        del container(pod, "runtime")["env"]
        [shared] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "shm"]
        half = shared["emptyDir"].pop("sizeLimit")
        memory = SandboxTemplateSpec.read(template).resources.memory
        assert 2 * int(half) == memory.value, "so that it alone cannot take all memory"
    assert plain == hostile


def test_the_hostile_env_reaches_only_the_settings_as_data() -> None:
    pod = made(HOSTILE)
    assert set(env_of(pod, "workspace")) == {
        "PADDOCK_SETTINGS",
        "PADDOCK_CONTROL_DIR",
        "PADDOCK_RUNTIME_UID",
    }
    told = SandboxSettings.model_validate_json(env_of(pod, "workspace")["PADDOCK_SETTINGS"])
    assert [entry.name for entry in told.env] == ["LD_PRELOAD"]


def test_it_holds_no_token_and_is_told_nothing_about_the_cluster() -> None:
    spec = made()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert "serviceAccountName" not in spec
    assert not any({"projected", "secret"} & set(volume) for volume in spec["volumes"])
    assert spec["dnsConfig"] == {"nameservers": ["127.0.0.1"]}


def test_only_the_runtime_has_the_keys_the_port_and_the_journal() -> None:
    pod = made()
    assert "PADDOCK_VERIFY_KEYS" not in env_of(pod, "workspace")
    assert "ports" not in container(pod, "workspace")
    mounts = {
        name: {mount["name"] for mount in container(pod, name)["volumeMounts"]}
        for name in ("runtime", "workspace")
    }
    assert mounts["runtime"] == {"control", "journal", "runtime-tmp"}
    assert mounts["workspace"] == {"control", "workspace", "tmp", "shm"}
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == set.union(*mounts.values())


def test_the_workspace_runs_as_the_sandboxs_own_user() -> None:
    pod = made()
    assert PodView(pod).workspace_uid == WORKSPACE_UID != RUNTIME_UID
    for name, uid in (("runtime", RUNTIME_UID), ("workspace", WORKSPACE_UID)):
        own = container(pod, name)["securityContext"]
        assert (own["runAsUser"], own["runAsGroup"]) == (uid, uid)
    assert env_of(pod, "runtime")["PADDOCK_WORKSPACE_UID"] == str(WORKSPACE_UID)


def test_the_limits_are_the_templates() -> None:
    pod = made({"resources": {"cpu": "1500m", "memory": "1Gi", "disk": "2Gi"}})
    assert container(pod, "workspace")["resources"] == {
        "requests": {"cpu": "150m", "memory": str(1 << 30), "ephemeral-storage": str(2 << 30)},
        "limits": {"cpu": "1500m", "memory": str(1 << 30), "ephemeral-storage": str(8 << 30)},
    }
    assert container(pod, "runtime") == container(made(), "runtime") | {
        "env": container(pod, "runtime")["env"]
    }


def test_even_the_smallest_cpu_is_requested() -> None:
    requests = container(made({"resources": {"cpu": "10m"}}), "workspace")["resources"]["requests"]
    assert requests["cpu"] == "1m"


def test_every_container_and_volume_is_bounded() -> None:
    pod = made()
    for entry in pod["spec"]["containers"]:
        assert {"cpu", "memory", "ephemeral-storage"} <= set(entry["resources"]["limits"])
    for volume in pod["spec"]["volumes"]:
        assert "sizeLimit" in volume["emptyDir"]


def test_both_containers_are_told_the_same_settings() -> None:
    pod = made({"languages": ["bash"], "limits": {"timeout": "5s"}})
    told = [env_of(pod, name)["PADDOCK_SETTINGS"] for name in ("runtime", "workspace")]
    assert told[0] == told[1]
    settings = SandboxSettings.model_validate_json(told[0])
    assert settings.sandbox_uid == SANDBOX_UID
    assert settings.languages == ["bash"]
    assert settings.limits.timeout_ms == 5000
    assert settings.network_none


def test_the_backstop_is_behind_the_longest_life_a_session_may_ask_for() -> None:
    pod = made({"lifetime": {"maxDuration": "1h", "maxDurationLimit": "2h"}})
    assert pod["spec"]["activeDeadlineSeconds"] > 2 * 3600


def test_its_name_and_controller_are_the_sandboxs() -> None:
    metadata = made()["metadata"]
    assert (metadata["name"], metadata["namespace"]) == (NAME, "team")
    (owner,) = metadata["ownerReferences"]
    assert owner["uid"] == SANDBOX_UID
    assert owner["controller"] is True
    assert "annotations" not in metadata


def test_images_are_the_operators_unless_the_template_has_one() -> None:
    ours, theirs = made(), made({"image": "registry/x:1"})
    assert container(ours, "workspace")["image"] == POD_SETTINGS.runtime_image
    assert container(theirs, "workspace")["image"] == "registry/x:1"
    assert container(theirs, "runtime")["image"] == POD_SETTINGS.runtime_image


def test_restart_rules_are_left_out_where_the_server_does_not_know_them() -> None:
    old = made(settings=PodSettings("r:1", "k", restart_rules=False))
    assert "restartPolicyRules" not in json.dumps(old)
    for name in ("runtime", "workspace"):
        rules = container(made(), name)["restartPolicyRules"]
        assert rules == [{"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "image": st.from_regex(r"[^\s]{1,80}", fullmatch=True),
            "env": st.lists(
                st.fixed_dictionaries(
                    {
                        "name": st.from_regex(r"[A-Z_]{1,9}", fullmatch=True),
                        # Half a surrogate pair is no JSON: the API server has none.
                        "value": st.text(
                            st.characters(codec="utf-8", exclude_characters="\0"), max_size=30
                        ),
                    }
                ),
                max_size=3,
            ),
        },
    )
)
def test_no_text_in_a_template_weakens_the_pod(template: Json) -> None:
    pod = made(template)
    assert list(violations(pod)) == []
    assert set(pod["spec"]) == EXPECTED_SPEC
    assert json.loads(json.dumps(pod)) == pod
