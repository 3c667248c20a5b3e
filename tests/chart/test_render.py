"""The chart renders, always the same, and refuses what it cannot honour."""

import json

import pytest
import yaml
from tests.chart.helm import (
    CHART,
    NAMESPACE,
    ROOT,
    Helm,
    Manifest,
    Refused,
    environment,
    of_kind,
    only,
    settings,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4
CRD_FILES = sorted((ROOT / "crds").glob("*.yaml"))


def test_lint_is_silent(helm: Helm) -> None:
    said = helm.run("lint", "--strict", "--kube-version=1.36.0", str(CHART))
    assert "[WARNING]" not in said
    assert "[ERROR]" not in said


def test_two_renders_are_equal(helm: Helm) -> None:
    assert helm.text() == helm.text()


def test_an_old_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(Refused, match="kubeVersion"):
        helm.text(kubernetes="1.30.9")


@pytest.mark.parametrize(
    "value",
    [
        "typo=1",
        "operator.imagePolicy=x",
        "operator.image.digest=latest",
        "operator.logLevel=verbose",
        "operator.replicas=0",
        "operator.httpPort=80",
        "operator.otlpEndpoint=collector:4318",
        "operator.extraEnv[0].valu=x",
        "runtime.image.pullPolicy=Sometimes",
        "sandboxUids.base=0",
        "crds.enabled=maybe",
        "defaultTemplate.name=Python",
        "metrics.service.enable=true",
    ],
)
def test_values_that_nothing_honours_are_refused(helm: Helm, value: str) -> None:
    name = value.split("=")[0].rsplit(".", 1)[-1]
    with pytest.raises(Refused) as refused:
        helm.text(f"--set={value}")
    assert "schema" in str(refused.value)
    assert name in str(refused.value)


def test_every_value_is_in_the_schema_and_explained() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    lines = (CHART / "values.yaml").read_text().splitlines()
    values = yaml.safe_load("\n".join(lines))

    def names(properties: Manifest) -> set[str]:
        return set(properties) - {"global"}

    assert set(values) == names(schema["properties"])
    for part in ("operator", "runtime", "crds", "rbac", "serviceAccount", "defaultTemplate"):
        allowed = set(schema["properties"][part]["properties"])
        assert set(values[part]) == allowed, part
    assert len([line for line in lines if line.lstrip().startswith("#")]) > len(lines) / 4


# --- CRDs


def test_crds_are_those_of_the_models(rendered: list[Manifest]) -> None:
    ours = {crd["metadata"]["name"]: crd for crd in of_kind(rendered, "CustomResourceDefinition")}
    generated = {
        crd["metadata"]["name"]: crd
        for crd in (yaml.safe_load(file.read_text()) for file in CRD_FILES)
    }
    assert ours.keys() == generated.keys()
    for name, crd in generated.items():
        assert ours[name]["spec"] == crd["spec"], f"{name}: run `make crds`"


def test_crds_are_kept_unless_told_otherwise(helm: Helm, rendered: list[Manifest]) -> None:
    key = "helm.sh/resource-policy"
    kept = of_kind(rendered, "CustomResourceDefinition")
    assert {crd["metadata"]["annotations"][key] for crd in kept} == {"keep"}
    loose = of_kind(helm.render(*settings(crds__keep="false")), "CustomResourceDefinition")
    assert loose
    assert not any(key in crd["metadata"].get("annotations", {}) for crd in loose)


def test_crds_can_be_left_out_and_annotated(helm: Helm) -> None:
    assert not of_kind(helm.render("--set=crds.enabled=false"), "CustomResourceDefinition")
    annotated = helm.render("--set-string=crds.annotations.team=a")
    for crd in of_kind(annotated, "CustomResourceDefinition"):
        assert crd["metadata"]["annotations"]["team"] == "a"


# --- the operator


def test_environment_is_what_the_operator_reads(rendered: list[Manifest]) -> None:
    found = environment(rendered)
    fields = {"PADDOCK_NAMESPACE": "metadata.namespace", "PADDOCK_POD_UID": "metadata.uid"}
    for name, path in fields.items():
        assert found.pop(name)["valueFrom"] == {"fieldRef": {"fieldPath": path}}
    assert {name: entry["value"] for name, entry in found.items()} == {
        "PADDOCK_RUNTIME_IMAGE": "localhost/paddock-runtime:0.1.0",
        "PADDOCK_IMAGE_PULL_POLICY": "IfNotPresent",
        "PADDOCK_SANDBOX_UID_BASE": "200000",
        "PADDOCK_HTTP_PORT": "8080",
        "PADDOCK_LOG_LEVEL": "INFO",
        "PADDOCK_WORKERS": "8",
    }


def test_large_numbers_stay_numbers(helm: Helm) -> None:
    """Helm keeps numbers as floats: 1000660000 once rendered as 1.00066e+09."""
    manifests = helm.render(*settings(sandboxUids__base="1000660000"))
    assert environment(manifests)["PADDOCK_SANDBOX_UID_BASE"]["value"] == "1000660000"


def test_traces_and_more_variables(helm: Helm) -> None:
    values = settings(
        operator__otlpEndpoint="http://collector:4318",
        **{"operator__extraEnv[0]__name": "LANG", "operator__extraEnv[0]__value": "C.UTF-8"},
    )
    found = environment(helm.render(*values))
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == "http://collector:4318"
    assert found["LANG"]["value"] == "C.UTF-8"


def test_probes_ask_the_named_port(rendered: list[Manifest]) -> None:
    deployment = only(rendered, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert [(p["name"], p["containerPort"]) for p in container["ports"]] == [("http", 8080)]
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}


def test_two_replicas_that_are_replaced_one_by_one_and_spread(rendered: list[Manifest]) -> None:
    spec = only(rendered, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert spread["labelSelector"] == spec["selector"]


def test_a_budget_for_disruptions_where_there_is_somebody_to_take_over(
    helm: Helm, rendered: list[Manifest]
) -> None:
    budget = only(rendered, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == only(rendered, "Deployment")["spec"]["selector"]
    alone = helm.render(*settings(operator__replicas="1"))
    assert only(alone, "Deployment")["spec"]["replicas"] == 1
    assert not of_kind(alone, "PodDisruptionBudget")


def test_images_by_tag_digest_and_mirror(helm: Helm) -> None:
    manifests = helm.render(
        *settings(
            operator__image__registry="mirror.example/team",
            operator__image__tag="1.2",
            runtime__image__registry="",
            runtime__image__tag="ignored",
            runtime__image__digest=DIGEST,
            runtime__image__pullPolicy="Always",
        )
    )
    found = environment(manifests)
    assert found["PADDOCK_RUNTIME_IMAGE"]["value"] == f"paddock-runtime@{DIGEST}"
    assert found["PADDOCK_IMAGE_PULL_POLICY"]["value"] == "Always"
    for kind in ("Deployment", "Job"):
        (container,) = only(manifests, kind)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "mirror.example/team/paddock-operator:1.2"


def test_placement(helm: Helm) -> None:
    manifests = helm.render(
        *settings(
            operator__priorityClassName="system-cluster-critical",
            operator__nodeSelector__pool="infra",
            **{"operator__tolerations[0]__key": "infra", "imagePullSecrets[0]__name": "pull"},
        ),
        '--set-json=operator.affinity={"nodeAffinity":{}}',
    )
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "infra"}
    assert pod["tolerations"] == [{"key": "infra"}]
    assert pod["affinity"] == {"nodeAffinity": {}}
    assert pod["imagePullSecrets"] == [{"name": "pull"}]


def test_metrics_service_selects_the_operator(helm: Helm, rendered: list[Manifest]) -> None:
    assert not of_kind(rendered, "Service")
    manifests = helm.render("--set=metrics.service.enabled=true")
    service = only(manifests, "Service")
    labels = only(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_names_follow_the_release(helm: Helm) -> None:
    manifests = helm.render(release="blue")
    names = {m["metadata"]["name"] for m in manifests if m["kind"] != "CustomResourceDefinition"}
    assert all(name.startswith("blue-paddock") for name in names), names
    spaces = {m["metadata"].get("namespace", NAMESPACE) for m in manifests}
    assert spaces == {NAMESPACE}


# --- the default template


def test_default_template_is_applied_by_a_job_after_install(rendered: list[Manifest]) -> None:
    job = only(rendered, "Job")
    hooks = job["metadata"]["annotations"]["helm.sh/hook"].split(",")
    assert {"post-install", "post-upgrade"} <= set(hooks)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert only(rendered, "ClusterRole", variables["PADDOCK_OWNER"])
    template = json.loads(variables["PADDOCK_TEMPLATE"])
    assert (template["kind"], template["metadata"]["name"]) == ("ClusterSandboxTemplate", "python")
    assert template["spec"] == {
        "languages": ["python", "bash"],
        "resources": {"cpu": "500m", "memory": "512Mi", "disk": "1Gi", "processes": 128},
        "network": {"mode": "None"},
    }


def test_default_template_is_valid_for_the_models(rendered: list[Manifest]) -> None:
    from paddock_api.template import SandboxTemplateSpec

    (container,) = only(rendered, "Job")["spec"]["template"]["spec"]["containers"]
    template = json.loads(container["env"][1]["value"])
    assert SandboxTemplateSpec.model_validate(template["spec"])


def test_default_template_off_leaves_nothing_of_it(helm: Helm) -> None:
    manifests = helm.render("--set=defaultTemplate.enabled=false")
    assert not of_kind(manifests, "Job")
    assert not [m for m in manifests if m["metadata"]["name"].endswith("default-template")]
