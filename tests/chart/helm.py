"""Runs helm on the chart; nothing here needs a network or a cluster."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "paddock"
NAMESPACE = "paddock-system"
# A helm that is built from its module believes in Kubernetes 1.20 when there is no cluster.
KUBERNETES = "1.36.0"

Manifest = dict[str, Any]


class Refused(Exception):
    """helm ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Helm:
    program: Path

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": os.devnull},
        )
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def text(self, *options: str, release: str = "paddock", kubernetes: str = KUBERNETES) -> str:
        """What the chart renders to."""
        version = f"--kube-version={kubernetes}"
        return self.run("template", release, str(CHART), "-n", NAMESPACE, version, *options)

    def render(self, *options: str, release: str = "paddock") -> list[Manifest]:
        documents = yaml.safe_load_all(self.text(*options, release=release))
        return [document for document in documents if document]


def settings(**values: str) -> list[str]:
    """--set options; a double underscore stands for a dot."""
    return [f"--set={name.replace('__', '.')}={value}" for name, value in values.items()]


def only(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    found = [m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [m for m in manifests if m["kind"] in kinds]


def pod_templates(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Every pod template in the release, by `Kind/name`."""
    return {
        f"{m['kind']}/{m['metadata']['name']}": m["spec"]["template"]
        for m in manifests
        if m["kind"] in ("Deployment", "Job", "DaemonSet", "StatefulSet")
    }


def environment(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The operator's environment variables by name."""
    deployment = only(manifests, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry for entry in container["env"]}
