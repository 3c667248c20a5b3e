"""The images tool: what names an image, what is left out of it, and how it fails."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import urllib.error
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from images.bin import apply
from images.imagetool import base, inputs, steps, tree
from tests.chart.helm import ROOT


def tool(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "images", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )


def test_list_says_what_to_do_when_nothing_is_built(tmp_path: Path) -> None:
    done = tool(tmp_path, "list", "--engine=buildah", "operator")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "python3 images build operator" in done.stderr


def test_an_unknown_image_is_named(tmp_path: Path) -> None:
    done = tool(tmp_path, "build", "gateway")
    assert done.returncode == 1
    assert "'gateway'" in done.stderr
    assert "operator or runtime" in done.stderr


def test_clean_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "paddock" / "images"
    (folder / "deps-operator-1").mkdir(parents=True)
    for name in ("operator-1.tar", "pause-1.tar"):
        (folder / name).touch()
    assert tool(tmp_path, "clean").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "pause-1.tar"]


def test_a_failed_step_tells_the_last_lines_and_the_way_out() -> None:
    with pytest.raises(steps.StepFailed) as failed:
        steps.run("counting", ["sh", "-c", "seq 100; exit 3"], way_out="count less")
    said = str(failed.value)
    assert said.startswith("counting failed")
    assert "| 100" in said
    assert "exit status 3" in said
    assert said.endswith("way out: count less")
    assert "| 50\n" not in said


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository with the files of the operator's image."""
    image = inputs.IMAGES["operator"]
    for name in ("images/operator.Containerfile", "requirements/operator.txt", *image.scripts):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for part in image.packages:
        package = tmp_path / part / "package"
        package.mkdir(parents=True)
        (package / "module.py").write_text("x = 1\n")
        name = f'[project]\nname = "paddock-{Path(part).parts[0]}"\nversion = "1.2.3"\n'
        (tmp_path / part).parent.joinpath("pyproject.toml").write_text(name)
    monkeypatch.setattr(inputs, "ROOT", tmp_path)
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    monkeypatch.setattr(inputs, "recipe_files", list)
    return tmp_path


def test_the_tag_follows_the_inputs_and_only_them(checkout: Path) -> None:
    image = inputs.IMAGES["operator"]
    first = inputs.image_digest(image, "base")
    (checkout / "operator/src/package/__pycache__").mkdir()
    (checkout / "operator/src/package/__pycache__/module.pyc").touch()
    (checkout / "operator/src/package/module.py").touch()
    (checkout / "operator/src/package/module.py").chmod(0o600)
    assert inputs.image_digest(image, "base") == first
    assert inputs.image_digest(image, "another base") != first
    for name in (
        "operator/src/package/module.py",
        "operator/pyproject.toml",
        "images/bin/operator.py",
        "images/operator.Containerfile",
        "requirements/operator.txt",
    ):
        before = inputs.image_digest(image, "base")
        with (checkout / name).open("a") as file:
            file.write("# changed\n")
        assert inputs.image_digest(image, "base") != before, name
    assert inputs.reference(image, first) == f"localhost/paddock-operator:dev-{first[:12]}"


def test_missing_sources_are_named(checkout: Path) -> None:
    (checkout / "images/bin/operator.py").unlink()
    with pytest.raises(steps.StepFailed, match="operator image") as failed:
        inputs.image_digest(inputs.IMAGES["operator"], "base")
    assert "images/bin/operator.py" in str(failed.value)


def test_the_context_is_readable_for_anybody(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout under umask 077 must not give an image that its own user cannot read."""
    deps = checkout / "made" / "deps"
    deps.mkdir(parents=True)
    (deps / "wheel.py").write_text("")
    monkeypatch.setattr(tree, "ensure_deps", lambda _: deps)
    for path in (checkout / "operator").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = os.umask(0o077)
    try:
        digest = tree.stage(inputs.IMAGES["operator"], "base", scratch)
    finally:
        os.umask(before)
    assert digest == inputs.image_digest(inputs.IMAGES["operator"], "base")
    ours = scratch / "context" / "paddock"
    modes = {p.relative_to(ours): p.stat().st_mode & 0o777 for p in ours.rglob("*")}
    assert {mode for path, mode in modes.items() if (ours / path).is_file()} == {0o644}
    assert {mode for path, mode in modes.items() if (ours / path).is_dir()} == {0o755}
    note = (ours / "lib/paddock_operator-1.2.3.dist-info/METADATA").read_text()
    assert "Name: paddock-operator\nVersion: 1.2.3\n" in note


def test_the_hash_is_of_what_was_staged(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saves a file while it is being copied: the copy is made again."""
    module = checkout / "operator/src/package/module.py"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    deps = tmp_path / "deps"
    deps.mkdir()
    edits = iter(["x = 2\n", "x = 3\n"])

    def save_meanwhile(_: inputs.Image) -> Path:
        module.write_text(next(edits, module.read_text()))
        return deps

    monkeypatch.setattr(tree, "ensure_deps", save_meanwhile)
    digest = tree.stage(inputs.IMAGES["operator"], "base", scratch)
    assert digest == inputs.image_digest(inputs.IMAGES["operator"], "base")
    copied = scratch / "context/paddock/lib/package/module.py"
    assert copied.read_text() == "x = 3\n"


def test_trim_keeps_licences_and_entry_points(tmp_path: Path) -> None:
    keep = {
        "p/__init__.py", "p/native.so", "p/py.typed", "p-1.dist-info/METADATA",
        "p-1.dist-info/entry_points.txt", "p-1.dist-info/licenses/LICENSE",
        "kubernetes/aio/client/models/__init__.py", "kubernetes/aio/client/api_client.py",
    }  # fmt: skip
    drop = {
        "bin/tool", "p/tests/test_p.py", "p/native.pyx", "p/native.c", "p/__init__.pyi",
        "p-1.dist-info/RECORD", "p-1.dist-info/INSTALLER",
        "kubernetes/aio/client/models/v1_pod.py", "kubernetes/client/api/core_v1_api.py",
    }  # fmt: skip
    for name in keep | drop:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    tree.trim(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == keep


def test_the_operator_needs_nothing_that_trim_drops() -> None:
    """The image has no generated models and API classes of the Kubernetes client."""
    dropped = tuple(name.replace("/", ".") + "." for name in tree.DROPPED_MODULES)
    for file in (ROOT / "operator/src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            if not node.module.startswith("kubernetes"):
                continue
            assert not f"{node.module}.".startswith(dropped), f"{file}: {node.module}"
            for alias in node.names:
                found = getattr(importlib.import_module(node.module), alias.name)
                home = getattr(found, "__module__", "")
                assert not home.startswith(dropped), f"{file}: {alias.name} is of {home}"


def test_containerfiles_fetch_nothing_and_run_as_numbers() -> None:
    for image, user in (("operator", "65530:65530"), ("runtime", "65531:65531")):
        text = (ROOT / f"images/{image}.Containerfile").read_text()
        instructions = [line for line in text.splitlines() if not line.startswith("#")]
        assert "ARG BASE=python:3.11-slim-bookworm" in instructions
        assert f"USER {user}" in instructions
        assert not [i for i in instructions if any(w in i for w in ("apt-get", "://", "curl"))]


def test_the_base_names_no_mirror() -> None:
    assert not [option for option in base.recipe() if "://" in option]


# --- the program of the chart's Job


class Server:
    """An API server of one ClusterRole and at most one template."""

    def __init__(self, *refusals: int) -> None:
        self.refusals = list(refusals)
        self.template: dict[str, Any] | None = None
        self.calls: list[str] = []

    def __call__(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self.calls.append(method)
        if "clusterroles" in path:
            return {"metadata": {"name": path.rsplit("/", 1)[-1], "uid": "role-uid"}}
        if self.refusals:
            raise error(self.refusals.pop(0))
        if method == "POST":
            if self.template:
                raise error(409)
            self.template = body
        if method == "PUT":
            self.template = body
        assert self.template
        copy: dict[str, Any] = json.loads(json.dumps(self.template))
        return copy


def error(code: int) -> urllib.error.HTTPError:
    body = BytesIO(json.dumps({"message": f"sorry {code}"}).encode())
    return urllib.error.HTTPError("https://api", code, "", Message(), body)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    manifest = {
        "apiVersion": "paddock.dev/v1alpha1",
        "metadata": {"name": "python", "labels": {"a": "new"}},
        "spec": {"languages": ["python"]},
    }
    monkeypatch.setenv("PADDOCK_TEMPLATE", json.dumps(manifest))
    monkeypatch.setenv("PADDOCK_OWNER", "paddock-default-template")
    monkeypatch.setattr(apply, "PAUSE_S", 0.001)
    return monkeypatch


def test_job_waits_for_the_kind_and_creates(job: pytest.MonkeyPatch) -> None:
    server = Server(404, 403, 503)
    job.setattr(apply, "call", server)
    assert apply.main() == 0
    assert server.template
    (owner,) = server.template["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ClusterRole", "role-uid")


def test_job_replaces_the_spec_and_keeps_other_labels(job: pytest.MonkeyPatch) -> None:
    server = Server()
    server.template = {
        "metadata": {"name": "python", "resourceVersion": "7", "labels": {"a": "old", "b": "1"}},
        "spec": {"languages": ["bash"], "env": []},
    }
    job.setattr(apply, "call", server)
    assert apply.main() == 0
    assert server.template["spec"] == {"languages": ["python"]}
    assert server.template["metadata"]["resourceVersion"] == "7"
    assert server.template["metadata"]["labels"] == {"a": "new", "b": "1"}


def test_job_gives_up_at_once_on_a_wrong_spec(
    job: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job.setattr(apply, "call", Server(400))
    assert apply.main() == apply.REFUSED
    said = capsys.readouterr().err
    assert "sorry 400" in said
    assert "defaultTemplate.spec" in said


def test_job_gives_up_in_the_end(
    job: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job.setattr(apply, "PATIENCE_S", 0.05)
    job.setattr(apply, "call", Server(*[404] * 10_000))
    assert apply.main() == 1
    assert "crds.enabled" in capsys.readouterr().err
