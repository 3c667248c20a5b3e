"""Fixtures that start a real API server once per run and hand out namespaces.

`apiserver` has `url`, `kubeconfig` (a member of system:masters), `kubeconfig_for(user)` and
`audit_events(user)`. `kubectl` runs kubectl against it. `crds` has our CRDs Established.
`namespace` is a fresh one with a `default` service account, so that pods can be created.
"""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.control_plane import ROOT, ControlPlane


class Kubectl:
    """`kubectl("get", "pods", namespace=…)`: the finished process, output as text.

    `stdin` may be text or an object, which is sent as JSON. A failure raises AssertionError
    with what kubectl said, unless `check=False`.
    """

    def __init__(self, apiserver: ControlPlane) -> None:
        found = shutil.which("kubectl", path=f"{apiserver.bin}:{os.environ['PATH']}")
        assert found, f"no kubectl in {apiserver.bin} nor in PATH"
        self._apiserver = apiserver
        self._program = found
        # A home of its own: kubectl reads preferences and keeps its discovery cache there.
        self._environment = {"HOME": str(apiserver.folder), "PATH": os.environ["PATH"]}

    def __call__(
        self,
        *arguments: str,
        stdin: str | dict[str, Any] | None = None,
        namespace: str | None = None,
        kubeconfig: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        scope = ["--namespace", namespace] if namespace else []
        config = str(kubeconfig or self._apiserver.kubeconfig)
        result = subprocess.run(
            [self._program, "--kubeconfig", config, *scope, *arguments],
            input=json.dumps(stdin) if isinstance(stdin, dict) else stdin,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check:
            said = f"kubectl {' '.join(arguments)}: {result.stderr}{result.stdout}"
            assert result.returncode == 0, said[:4000]
        return result

    def json(self, *arguments: str, **options: Any) -> dict[str, Any]:
        """The same with `-o json`, parsed."""
        parsed: dict[str, Any] = json.loads(self(*arguments, "-o", "json", **options).stdout)
        return parsed


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running etcd and kube-apiserver, one pair for the whole run."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    try:
        control_plane.start()
        yield control_plane
    finally:
        control_plane.stop()


@pytest.fixture(scope="session")
def kubectl(apiserver: ControlPlane) -> Kubectl:
    """kubectl as cluster administrator, or by another kubeconfig."""
    return Kubectl(apiserver)


@pytest.fixture(scope="session")
def crds(kubectl: Kubectl) -> list[str]:
    """The names of our CRDs, applied from `crds/` as a user would and Established."""
    kubectl("apply", "-f", str(ROOT / "crds"))
    names = [
        entry["metadata"]["name"]
        for entry in kubectl.json("get", "crd")["items"]
        if entry["spec"]["group"] == "paddock.dev"
    ]
    targets = [f"crd/{name}" for name in names]
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *targets)
    return names


@pytest.fixture
def namespace(kubectl: Kubectl) -> str:
    """A namespace of this test alone; it dies with the API server."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    # No controller manager makes it, and admission refuses pods without it.
    kubectl("create", "serviceaccount", "default", namespace=name)
    return name
