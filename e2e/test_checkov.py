"""An outside opinion: checkov on the Pod JSON that the operator really created."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.examples import ExamplesRun
from e2e.kube import ROOT, Json

REQUIREMENTS = Path(__file__).with_name("checkov-requirements.txt")
MUST_PASS = {
    "CKV_K8S_10": "CPU requests",
    "CKV_K8S_11": "CPU limits",
    "CKV_K8S_12": "memory requests",
    "CKV_K8S_13": "memory limits",
    "CKV_K8S_14": "image tag is fixed",
    "CKV_K8S_16": "not privileged",
    "CKV_K8S_17": "no host PID",
    "CKV_K8S_18": "no host IPC",
    "CKV_K8S_19": "no host network",
    "CKV_K8S_20": "no privilege escalation",
    "CKV_K8S_21": "not in the default namespace",
    "CKV_K8S_22": "read-only root file system",
    "CKV_K8S_23": "no root",
    "CKV_K8S_25": "no added capability",
    "CKV_K8S_26": "no host port",
    "CKV_K8S_27": "no docker socket",
    "CKV_K8S_28": "no NET_RAW",
    "CKV_K8S_29": "a security context of the pod",
    "CKV_K8S_30": "a security context of each container",
    "CKV_K8S_31": "seccomp",
    "CKV_K8S_35": "no secret in an environment variable",
    "CKV_K8S_37": "no capability at all",
    "CKV_K8S_38": "no service account token",
    "CKV_K8S_39": "no CAP_SYS_ADMIN",
    "CKV_K8S_40": "a high user id",
}
DECIDED_OTHERWISE = {
    "CKV_K8S_8": "no liveness probe: restarting a container would lose the session; it ends itself",
    "CKV_K8S_9": "only the runtime is asked; user code's container offers nothing to ask",
    "CKV_K8S_15": "pulling always would make every session wait for the registry",
    "CKV_K8S_43": "digest or tag is the installation's choice (chart value runtime.image.digest)",
    "CKV2_K8S_6": "network None is enforced inside of the pod; a NetworkPolicy is the cluster's",
}


@pytest.fixture(scope="session")
def checkov() -> Path:
    """checkov in a virtualenv of its own, made once per version below the user's cache folder."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:10]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "paddock" / "e2e" / f"checkov-{digest}"
    done = folder / "installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = [sys.executable, "-m", "uv", "--quiet"]
        _run([*uv, "venv", "--python", sys.executable, str(folder)])
        python = folder / "bin" / "python"
        requirements = ["--require-hashes", "--requirements", str(REQUIREMENTS)]
        _run([*uv, "pip", "install", "--python", str(python), *requirements])
        done.touch()
    return folder / "bin" / "checkov"


@pytest.fixture(scope="session")
def findings(
    checkov: Path, examples: ExamplesRun, tmp_path_factory: pytest.TempPathFactory
) -> Json:
    """checkov's report on the pods of two examples: the chart's template and a team's own."""
    folder = tmp_path_factory.mktemp("pods")
    for name in ("hello", "own-template"):
        (record,) = examples.pods_of(examples.finished(name))
        manifest = record.pod | {"apiVersion": "v1", "kind": "Pod"}
        (folder / f"{name}.json").write_text(json.dumps(manifest))
    command = [str(checkov), "--directory", str(folder), "--framework", "kubernetes"]
    told = _run([*command, "--output", "json", "--skip-download", "--soft-fail"], cwd=folder)
    report: Json = json.loads(told)["results"]
    return report


@pytest.mark.timeout(600)
def test_checkov_has_looked_at_both_pods(findings: Json) -> None:
    files = {entry["file_path"] for entry in findings["passed_checks"]}
    assert files == {"/hello.json", "/own-template.json"}
    assert not findings["parsing_errors"]


@pytest.mark.parametrize("check", MUST_PASS, ids=lambda check: f"{check}-{MUST_PASS[check]}")
def test_checkov_finds_nothing(findings: Json, check: str) -> None:
    failed = [entry for entry in findings["failed_checks"] if entry["check_id"] == check]
    assert not failed, [(entry["check_name"], entry["file_path"]) for entry in failed]
    passed = [entry for entry in findings["passed_checks"] if entry["check_id"] == check]
    assert len({entry["file_path"] for entry in passed}) == 2, "the check was made on both"


def test_what_else_checkov_finds_was_decided_otherwise(findings: Json) -> None:
    failed = {entry["check_id"]: entry["check_name"] for entry in findings["failed_checks"]}
    unknown = {check: name for check, name in failed.items() if check not in DECIDED_OTHERWISE}
    assert not unknown


def _run(command: list[str], cwd: Path = ROOT) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, f"{command}: {result.stderr[-3000:]}{result.stdout[-3000:]}"
    return result.stdout
