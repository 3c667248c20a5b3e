"""Whatever is taken away first, nothing hangs: no object of ours has a finalizer."""

import json
import subprocess
import time
from collections.abc import Iterator

import pykube
import pytest
from e2e import audit, installation
from e2e.installation import Paddock
from e2e.kube import ROOT, Json, Kube, until
from e2e.namespaces import Namespaces
from e2e.sandboxes import bash, python, sandbox, session, until_ready, until_sandbox

GONE_S = 60.0
SLOW = python("slow", "import time; time.sleep(25)")


@pytest.fixture(scope="module")
def installed(kube: Kube, paddock: Paddock) -> Iterator[Paddock]:
    """The installation, which is whole again afterwards."""
    if audit.local("kubeconfig") != str(kube.kubeconfig.absolute()):
        pytest.skip("only the local cluster's installation can be made whole again from here")
    yield paddock
    _install()
    installation.find(kube).until_ready()


def _install() -> None:
    done = subprocess.run(
        ["dev/installed", "true"], cwd=ROOT, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr


def live_objects(kube: Kube, namespace: str) -> None:
    """A session of each state, and a sandbox made by hand."""
    kube.kubectl.apply(session("over", bash("greet", "true")), namespace)
    kube.kubectl.apply(session("runs", SLOW), namespace)
    kube.kubectl.apply(session("open"), namespace)
    kube.kubectl.apply(session("suspended", suspend=True), namespace)
    kube.kubectl.apply(sandbox("by-hand"), namespace)
    kube.finished("over", namespace)
    for name in ("runs", "open"):
        until_ready(kube, name, namespace)
    until_sandbox(kube, "by-hand", namespace, "Ready")


@pytest.mark.parametrize("operator", [True, False], ids=["with the operator", "without it"])
def test_a_namespace_goes_with_all_that_is_in_it(
    kube: Kube, installed: Paddock, namespaces: Namespaces, operator: bool
) -> None:
    name = namespaces.create("goes")
    live_objects(kube, name)
    if not operator:
        installed.scale(0)
    try:
        kube.kubectl("delete", "namespace", name, f"--timeout={GONE_S:.0f}s", timeout=GONE_S + 10)
    finally:
        if not operator:
            installed.scale(1)


def test_the_crds_may_go_first_and_come_back(
    kube: Kube, installed: Paddock, namespaces: Namespaces
) -> None:
    name = namespaces.create("crds-first")
    live_objects(kube, name)
    crds = [
        crd["metadata"]["name"]
        for crd in _crds(kube)
        if crd["metadata"]["name"].endswith(".paddock.dev")
    ]
    kube.kubectl("delete", "crd", *crds, f"--timeout={GONE_S:.0f}s", timeout=GONE_S + 10)
    until(lambda: not kube.all(pykube.Pod, name), "the pods went with their sandboxes", GONE_S)
    kube.kubectl("apply", "--server-side", "-f", str(ROOT / "charts/paddock/files/crds"))
    names = [f"crd/{crd}" for crd in crds]
    kube.kubectl("wait", "--for=condition=Established", *names)
    # As Helm would have made them, so that the installation can be made whole again.
    release = f"meta.helm.sh/release-name={installed.name}"
    space = f"meta.helm.sh/release-namespace={installed.namespace}"
    kube.kubectl("label", *names, "--overwrite", "app.kubernetes.io/managed-by=Helm")
    kube.kubectl("annotate", *names, "--overwrite", release, space)
    kube.kubectl.apply(
        {
            "apiVersion": "paddock.dev/v1alpha1",
            "kind": "ClusterSandboxTemplate",
            "metadata": {"name": "python"},
            "spec": {},
        }
    )
    kube.kubectl.apply(session("again", bash("greet", "true")), name)
    seen = kube.finished("again", name, timeout=60)
    assert seen["status"]["phase"] == "Succeeded", "the operator found them again by itself"
    namespaces.delete(name)


def test_the_operator_may_go_first(kube: Kube, installed: Paddock, namespaces: Namespaces) -> None:
    name = namespaces.create("operator-first")
    live_objects(kube, name)
    done = subprocess.run(
        ["dev/uninstall.sh"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    begun = time.monotonic()
    within = f"--timeout={GONE_S:.0f}s"
    kube.kubectl("delete", "ags,sbx", "--all", within, namespace=name, timeout=GONE_S + 10)
    until(lambda: not kube.all(pykube.Pod, name), "the pods went with their sandboxes", GONE_S)
    assert time.monotonic() - begun < GONE_S
    namespaces.delete(name)


def _crds(kube: Kube) -> list[Json]:
    found = kube.kubectl("get", "crd", "-o", "json").stdout
    items: list[Json] = json.loads(found)["items"] if found else []
    return items
