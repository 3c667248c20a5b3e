"""What the chart's pods may do and whom its roles let do what."""

from itertools import product

import pytest
from tests.chart.helm import Helm, Manifest, of_kind, only, pod_templates

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip


def restricted(pod: Manifest) -> list[str]:
    """What the Pod Security Standard `restricted` would refuse in this pod's spec."""
    spec = pod["spec"]
    wrong = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for volume in spec.get("volumes", []):
        if not VOLUMES & volume.keys():
            wrong.append(f"volume {volume['name']}")
    whole = spec.get("securityContext", {})
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    for container in containers:
        context = {**whole, **container.get("securityContext", {})}
        own = container.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        checks = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser": context.get("runAsUser") != 0,
            "seccompProfile": context.get("seccompProfile", {}).get("type")
            in ("RuntimeDefault", "Localhost"),
            "capabilities.drop": "ALL" in capabilities.get("drop", []),
            "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "procMount": own.get("procMount", "Default") == "Default",
        }
        wrong += [f"{container['name']}: {name}" for name, fine in checks.items() if not fine]
    return wrong


def test_the_check_sees_what_is_wrong() -> None:
    bare = {"spec": {"hostNetwork": True, "volumes": [{"name": "v", "hostPath": {}}],
                     "containers": [{"name": "c"}]}}  # fmt: skip
    assert {"hostNetwork", "volume v", "c: runAsNonRoot", "c: capabilities.drop"} <= set(
        restricted(bare)
    )


def test_pods_pass_restricted_and_more(rendered: list[Manifest]) -> None:
    pods = pod_templates(rendered)
    assert set(pods) == {"Deployment/paddock-operator", "Job/paddock-default-template"}
    for name, pod in pods.items():
        assert restricted(pod) == [], name
        spec = pod["spec"]
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsGroup"] == 65530, name
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name


def test_only_pods_that_need_a_token_get_one(rendered: list[Manifest]) -> None:
    for account in of_kind(rendered, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    for name, pod in pod_templates(rendered).items():
        assert pod["spec"]["automountServiceAccountToken"] is True, name
        assert pod["spec"]["serviceAccountName"] != "default", name


def grants(role: Manifest) -> set[tuple[str, str, str, str]]:
    """(group, resource, verb, name or '') of everything that a role allows."""
    return {
        (group, resource, verb, name)
        for rule in role["rules"]
        for group, resource, verb, name in product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    }


def test_no_role_has_a_wildcard_or_reads_secrets(rendered: list[Manifest]) -> None:
    roles = of_kind(rendered, "Role", "ClusterRole")
    assert roles
    for role in roles:
        for group, resource, verb, name in grants(role):
            where = role["metadata"]["name"], resource, verb
            assert "*" not in (group + resource + verb), where
            assert verb not in ("escalate", "bind", "impersonate"), where
            assert resource not in ("pods/exec", "pods/attach", "nodes", "serviceaccounts/token")
            if resource == "secrets":
                assert role["kind"] == "Role", where
                assert verb == "create" or (verb in ("get", "update") and name), where


def test_the_operator_may_do_exactly_this(rendered: list[Manifest]) -> None:
    role = only(rendered, "ClusterRole", "paddock-operator")
    read = ("get", "list", "watch")
    ours = "paddock.dev"
    expected = {
        *product([ours], ["sandboxtemplates", "clustersandboxtemplates"], read),
        *product([ours], ["agentsessions"], (*read, "delete")),
        *product([ours], ["sandboxes"], (*read, "create", "delete", "patch")),
        *product([ours], ["agentsessions/status", "sandboxes/status"], ("get", "update", "patch")),
        *product([ours], ["agentsessions/finalizers", "sandboxes/finalizers"], ["update"]),
        *product([""], ["pods"], (*read, "create", "delete")),
        *product([""], ["persistentvolumeclaims"], ("get", "create")),
        *product(["", "events.k8s.io"], ["events"], ("create", "patch")),
    }
    assert grants(role) == {(*grant, "") for grant in expected}
    own_namespace = only(rendered, "Role", "paddock-operator")
    assert grants(own_namespace) == {
        ("", "secrets", "create", ""),
        ("", "secrets", "get", "paddock-signing"),
        ("", "secrets", "update", "paddock-signing"),
        ("coordination.k8s.io", "leases", "create", ""),
        ("coordination.k8s.io", "leases", "get", "paddock-operator"),
        ("coordination.k8s.io", "leases", "update", "paddock-operator"),
    }


def test_tenants_have_sessions_and_only_read_the_rest(rendered: list[Manifest]) -> None:
    tenant = only(rendered, "ClusterRole", "paddock-tenant")
    view = only(rendered, "ClusterRole", "paddock-view")
    changes = {g[1] for g in grants(tenant) if g[2] not in ("get", "list", "watch")}
    assert changes == {"agentsessions"}
    assert {g[2] for g in grants(tenant) if g[1] == "agentsessions"} == {
        "get", "list", "watch", "create", "update", "patch", "delete"
    }  # fmt: skip
    assert {g[2] for g in grants(view)} == {"get", "list", "watch"}
    for kind in ("sandboxtemplates", "clustersandboxtemplates"):
        assert ("paddock.dev", kind, "get", "") in grants(tenant) & grants(view)


@pytest.mark.parametrize(
    ("role", "into"), [("paddock-tenant", ("edit", "admin")), ("paddock-view", ("view",))]
)
def test_aggregation_can_be_switched_off(helm: Helm, role: str, into: tuple[str, ...]) -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    for switch in ("true", "false"):
        manifests = helm.render(f"--set=rbac.aggregate={switch}")
        labels = only(manifests, "ClusterRole", role)["metadata"]["labels"]
        found = {name for name in labels if name.startswith(prefix)}
        assert found == ({prefix + name for name in into} if switch == "true" else set())
    gone = helm.render("--set=rbac.userRoles=false")
    assert role not in [m["metadata"]["name"] for m in gone]


def test_every_binding_points_at_a_role_and_an_account_of_the_chart(helm: Helm) -> None:
    for options in ([], ["--set=serviceAccount.name=other"]):
        manifests = helm.render(*options)
        for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
            reference = binding["roleRef"]
            assert only(manifests, reference["kind"], reference["name"])
            for subject in binding["subjects"]:
                assert only(manifests, "ServiceAccount", subject["name"])
