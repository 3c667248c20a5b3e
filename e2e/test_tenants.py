"""Who may do what, and what the API server refuses before anything is made."""

import pytest
from e2e.installation import Paddock
from e2e.kube import Json, Kube
from e2e.sandboxes import bash, session, template

BOB = "--as=bob"
STEP = bash("work", "true")


@pytest.fixture(scope="module")
def tenancy(kube: Kube, paddock: Paddock, shared_namespace: str) -> str:
    """A namespace in which user bob has the chart's ClusterRole for tenants."""
    role = f"--clusterrole={paddock.name}-tenant"
    kube.kubectl("create", "rolebinding", "bob", role, "--user=bob", namespace=shared_namespace)
    return shared_namespace


def as_bob(kube: Kube, manifest: Json, namespace: str) -> str:
    """What the API server says to bob."""
    told = kube.kubectl("create", "-f", "-", BOB, namespace=namespace, stdin=manifest, check=False)
    return told.stdout + told.stderr


def test_a_tenant_creates_watches_and_deletes_sessions(kube: Kube, tenancy: str) -> None:
    assert "created" in as_bob(kube, session("mine", STEP), tenancy)
    kube.kubectl("wait", "--for=condition=Finished", "ags/mine", BOB, namespace=tenancy)
    assert "mine" in kube.kubectl("get", "ags", BOB, namespace=tenancy).stdout
    kube.kubectl("delete", "ags", "mine", BOB, namespace=tenancy)


def test_a_tenant_sees_the_templates_and_sandboxes_of_the_namespace(
    kube: Kube, tenancy: str
) -> None:
    kube.kubectl.apply(template("choice"), tenancy)
    assert "choice" in kube.kubectl("get", "sbt", BOB, namespace=tenancy).stdout
    kube.kubectl("get", "sbx", BOB, namespace=tenancy)


@pytest.mark.parametrize(
    ("manifest", "resource"),
    [
        (template("mine"), "sandboxtemplates"),
        (template("mine") | {"kind": "ClusterSandboxTemplate"}, "clustersandboxtemplates"),
        (
            session("mine") | {"kind": "Sandbox", "spec": {"templateRef": {"name": "python"}}},
            "sandboxes",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "mine"},
                "spec": {"containers": [{"name": "main", "image": "localhost/none"}]},
            },
            "pods",
        ),
    ],
    ids=["template", "cluster-template", "sandbox", "pod"],
)
def test_a_tenant_creates_nothing_else(
    kube: Kube, tenancy: str, manifest: Json, resource: str
) -> None:
    told = as_bob(kube, manifest, tenancy)
    assert 'User "bob" cannot' in told
    assert f'resource "{resource}"' in told


@pytest.mark.parametrize(
    "question",
    [
        ("patch", "agentsessions", "--subresource=status"),
        ("delete", "sandboxes"),
        ("create", "pods", "--subresource=exec"),
        ("get", "secrets"),
    ],
    ids=" ".join,
)
def test_a_tenant_may_not(kube: Kube, tenancy: str, question: tuple[str, ...]) -> None:
    told = kube.kubectl("auth", "can-i", *question, BOB, namespace=tenancy, check=False)
    assert told.stdout.strip() == "no"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"step": []}, 'unknown field "spec.step"'),
        ({"lifetime": {"maxDuraton": "1h"}}, 'unknown field "spec.lifetime.maxDuraton"'),
        (
            {"steps": [STEP | {"timeOut": "1s"}]},
            'unknown field "spec.steps[0].timeOut"',
        ),
    ],
    ids=["spec", "lifetime", "step"],
)
def test_a_typo_in_a_manifest_is_refused_with_the_field_s_name(
    kube: Kube, shared_namespace: str, change: Json, field: str
) -> None:
    told = kube.kubectl(
        "apply",
        "-f",
        "-",
        namespace=shared_namespace,
        stdin=session("typo", **change),
        check=False,
    )
    assert told.returncode != 0
    assert field in told.stderr


def test_the_operator_itself_may_neither_write_sessions_nor_read_secrets(
    kube: Kube, paddock: Paddock, shared_namespace: str
) -> None:
    who = f"--as={paddock.identity}"
    for question in (
        ("create", "agentsessions"),
        ("update", "agentsessions"),
        ("patch", "sandboxtemplates"),
        ("patch", "pods"),
        ("get", "secrets"),
        ("create", "pods", "--subresource=exec"),
    ):
        told = kube.kubectl(
            "auth", "can-i", *question, who, namespace=shared_namespace, check=False
        )
        assert told.stdout.strip() == "no", question
