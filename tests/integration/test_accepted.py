"""Good manifests, among them one at each bound: the refusals' positive controls.

What the API server takes must also be what our own models read.
"""

from typing import Any

import pytest
from tests.integration.conftest import Kubectl
from tests.integration.manifests import Manifest, sandbox, session, steps, template

from paddock_api.sandbox import Sandbox
from paddock_api.session import AgentSession
from paddock_api.template import ClusterSandboxTemplate, SandboxTemplate

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]

NO_CODE = {"language": ..., "code": ...}
MODELS: dict[str, Any] = {
    model.__name__: model
    for model in (AgentSession, Sandbox, SandboxTemplate, ClusterSandboxTemplate)
}
LONGEST_PATH = "/".join(["p" * 255] * 3 + ["p" * 254, "p"])
assert len(LONGEST_PATH) == 1024

GOOD: dict[str, Manifest] = {
    "one step": session(),
    "no steps": session(steps=...),
    "empty lists": session(steps=[], env=[], files=[]),
    "cluster template": session(templateRef={"kind": "ClusterSandboxTemplate", "name": "a.b"}),
    "user of 253": session(user="a" * 253),
    "users as identity providers name them": session(user="auth0|5f7c8ec7c33c6c004bbafe82"),
    "user that is an address": session(user="alice+test@example.com"),
    "user that is a service account": session(user="system:serviceaccount:team-a:agent"),
    "shortest duration": session(lifetime={"maxDuration": "1ms"}),
    "longest duration": session(lifetime={"maxDuration": "168h"}),
    "longest duration in other words": session(lifetime={"maxDuration": "167h59m59s1000ms"}),
    "unit twice": session(lifetime={"maxDuration": "30m30m"}),
    "every lifetime": session(
        lifetime={"maxDuration": "2h", "idleTimeout": "10m", "ttlAfterFinished": "168h"}
    ),
    "shortest lifetimes": session(lifetime={"idleTimeout": "1ms", "ttlAfterFinished": "1ms"}),
    "idle for as long as it may live": session(
        lifetime={"maxDuration": "60m", "idleTimeout": "1h"}
    ),
    "sandbox that was made of a short session and a patient template": sandbox(
        lifetime={"maxDuration": "1m", "idleTimeout": "168h"}
    ),
    "suspended from the start": session(suspend=True),
    "timeout as long as the session": session(
        lifetime={"maxDuration": "60m"},
        steps=[{"name": "a", "argv": ["true"], "timeout": "1h"}],
    ),
    "timeout without a lifetime": steps({"timeout": "168h"}),
    "32 steps": steps(*[{}] * 32),
    "step name of 63": steps({"name": "a" * 63}),
    "code of 64 KiB": steps({"code": "x" * 65536}),
    "code of 64 KiB in 2-byte characters": steps({"code": "ü" * 32768}),
    "code in 4-byte characters": steps({"code": "🐎" * 16384}),
    "48 arguments of 4096": steps(NO_CODE | {"argv": ["x" * 4096] * 48}),
    "empty argument": steps(NO_CODE | {"argv": ["echo", ""]}),
    "stdin of 128 KiB": steps({"stdin": "x" * 131072}),
    "stdin with NUL": steps({"stdin": "a\0b"}),
    "everything together exactly 192 KiB": session(
        env=[{"name": "ENV", "value": "é" * 2048}],  # 3 + 4096
        files=[{"path": "f", "content": "c" * 100_000}],  # 1 + 100000
        steps=[
            {"name": "a", "language": "bash", "code": "x" * 65_536, "stdin": "y" * 22_876},
            {"name": "b", "argv": ["true", "z" * 4092]},
        ],
    ),
    "as many of everything as there may be": session(
        env=[{"name": f"E{number:02}", "value": "v" * 500} for number in range(64)],
        files=[{"path": f"{number:02}" + LONGEST_PATH[2:], "content": "c"} for number in range(64)],
        steps=[{"name": f"s{number}", "argv": ["x" * 40] * 48} for number in range(32)],
        lifetime={"maxDuration": "168h"},
    ),
    "longest path": session(files=[{"path": LONGEST_PATH}]),
    "paths that only look odd": session(
        files=[
            {"path": path}
            for path in (
                "..a",
                "a..",
                "...",
                ".bashrc",
                "a/...b/c",
                "a b",
                "ü/🐎",
                "-x",
                "~",
                "a\\b",
            )
        ]
    ),
    "neighbours that share a beginning": session(files=[{"path": "a"}, {"path": "ab/c"}]),
    "env value of 32768": session(env=[{"name": "_A1", "value": "x" * 32768}]),
    "env value in lines": session(env=[{"name": "A", "value": "one\ntwo\t=\n"}]),
    "sandbox": sandbox(lifetime={"maxDuration": "10m"}),
    "sandbox with every lifetime, suspended": sandbox(
        lifetime={"maxDuration": "10m", "idleTimeout": "10m", "ttlAfterFinished": "1s"},
        suspend=True,
    ),
    "smallest volume": template(workspace={"volume": {"size": "1Mi"}}),
    "largest volume of a class": template(
        workspace={"volume": {"size": "16Ti", "storageClassName": "fast.example.com"}}
    ),
    "no volume": template(workspace={}),
    "default idleness longer than the default life": template(
        lifetime={"maxDuration": "1m", "idleTimeout": "1h"}
    ),
    "sandbox name of 63": sandbox("a" * 63),
    "empty template": template(),
    "template without a spec": {
        name: value for name, value in template().items() if name != "spec"
    },
    "empty cluster template": template("ClusterSandboxTemplate"),
    "quantities as numbers": template(
        resources={"cpu": 2, "memory": 1 << 29, "disk": 1 << 30},
        limits={"outputBytes": 1, "outputKillBytes": 1000, "fileBytes": 1},
    ),
    "template at its lower bounds": template(
        resources={"cpu": "10m", "memory": "64Mi", "disk": "1Mi", "processes": 8},
        limits={
            "timeout": "1ms",
            "cpuTime": "1ms",
            "outputIdleTimeout": "1ms",
            "outputBytes": "1",
            "outputKillBytes": "1",
            "fileBytes": "1",
            "concurrency": 1,
        },
        lifetime={"maxDuration": "1ms", "maxDurationLimit": "1ms"},
        network={"mode": "None"},
    ),
    "template at its upper bounds": template(
        image="i" * 1024,
        languages=["bash", "python"],
        resources={"cpu": "256", "memory": "4Ti", "disk": "16Ti", "processes": 32768},
        limits={
            "timeout": "168h",
            "cpuTime": "168h",
            "outputIdleTimeout": "168h",
            "outputBytes": "64Ki",
            "outputKillBytes": "1Ti",
            "fileBytes": "16Ti",
            "concurrency": 256,
        },
        lifetime={"maxDuration": "168h", "maxDurationLimit": "168h"},
        env=[{"name": f"E{number:02}", "value": "v" * 253} for number in range(64)],  # 16384
    ),
    "the most output of one execution": template(limits={"outputBytes": "4Mi", "concurrency": 4}),
    "the most executions by default": template(limits={"concurrency": 16}),
    "quantities with fractions": template(resources={"cpu": "1.5", "memory": "0.5Gi"}),
    "default as long as its ceiling": template(
        lifetime={"maxDuration": "24h", "maxDurationLimit": "1440m"}
    ),
}


@pytest.mark.parametrize("manifest", GOOD.values(), ids=GOOD.keys())
def test_a_good_manifest_is_taken(kubectl: Kubectl, manifest: Manifest) -> None:
    taken = kubectl.json(
        "create", "--dry-run=server", "-f", "-", stdin=manifest, namespace="default"
    )
    model = MODELS[taken["kind"]].model_validate(taken)
    written = model.spec.to_dict()
    for name, value in manifest.get("spec", {}).items():
        if name in ("user", "env", "files", "steps", "image", "languages") and value:
            assert _without_defaults(written[name]) == _without_defaults(value)


def _without_defaults(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    empty: tuple[Any, ...] = ("", False, [])
    return [
        {key: entry for key, entry in item.items() if entry not in empty}
        if isinstance(item, dict)
        else item
        for item in value
    ]


def test_what_may_change_changes(kubectl: Kubectl, namespace: str) -> None:
    for manifest in (session(), sandbox()):
        for longer in ("2h", "3h"):
            manifest["spec"]["lifetime"] = {"maxDuration": longer}
            kubectl("apply", "-f", "-", stdin=manifest, namespace=namespace)
        for other in ({"idleTimeout": "1m"}, {"idleTimeout": "2m", "ttlAfterFinished": "1h"}):
            manifest["spec"]["lifetime"] = other
            kubectl("apply", "-f", "-", stdin=manifest, namespace=namespace)
        for suspend in (True, False, True):
            manifest["spec"]["suspend"] = suspend
            kubectl("apply", "-f", "-", stdin=manifest, namespace=namespace)
        del manifest["spec"]["lifetime"], manifest["spec"]["suspend"]
        kubectl("apply", "-f", "-", stdin=manifest, namespace=namespace)
    kubectl("apply", "-f", "-", stdin=template(), namespace=namespace)
    changed = template(image="x", resources={"cpu": "1"}, env=[{"name": "A"}])
    kubectl("apply", "-f", "-", stdin=changed, namespace=namespace)


def test_applying_the_same_manifest_again_changes_nothing(kubectl: Kubectl, namespace: str) -> None:
    for manifest in (session(env=[{"name": "A"}]), sandbox(), template()):
        by_client, by_server = ["apply"], ["apply", "--server-side", "--force-conflicts"]
        for mode in (by_client, by_client, by_server, by_server):
            kubectl(*mode, "-f", "-", stdin=manifest, namespace=namespace)
        kind = manifest["kind"].lower()
        assert kubectl.json("get", kind, "it", namespace=namespace)["metadata"]["generation"] == 1


def test_a_large_session_of_many_lines_wants_server_side_apply(
    kubectl: Kubectl, namespace: str
) -> None:
    # Client-side apply keeps a second copy in an annotation, where each newline takes two bytes.
    large = session(files=[{"path": name, "content": "\n" * 90_000} for name in ("a", "b")])
    refused = kubectl("apply", "-f", "-", stdin=large, namespace=namespace, check=False)
    assert "metadata.annotations: Too long" in refused.stderr
    kubectl("apply", "--server-side", "-f", "-", stdin=large, namespace=namespace)
