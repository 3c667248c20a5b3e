"""The CustomResourceDefinitions, and the command that writes them.

python -m paddock_api.crds --out crds            write one file per kind
python -m paddock_api.crds --out crds --check    exit 1 with a diff where they differ
"""

import argparse
import difflib
import sys
from dataclasses import dataclass, field
from pathlib import Path

from paddock_api.base import CATEGORY, GROUP, VERSION, Object, Resource
from paddock_api.rules import JsonDict
from paddock_api.sandbox import Sandbox, SandboxStatus
from paddock_api.session import AgentSession
from paddock_api.session_status import AgentSessionStatus
from paddock_api.structural import structural_schema
from paddock_api.template import ClusterSandboxTemplate, SandboxTemplate


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False

    def to_dict(self) -> JsonDict:
        """The entry of additionalPrinterColumns."""
        column: JsonDict = {
            "name": self.name,
            "type": self.type,
            "description": self.description,
            "jsonPath": self.path,
        }
        if self.wide:
            column["priority"] = 1
        return column


@dataclass(frozen=True)
class Kind:
    """One kind and all that a CRD says besides its schema."""

    model: type[Object]
    plural: str
    short: str
    columns: list[Column]
    selectable: list[str] = field(default_factory=list)
    namespaced: bool = True
    status: type[Resource] | None = None
    """None: nothing writes one, so the schema has none and it never looks unfinished."""

    @property
    def name(self) -> str:
        """The kind as in `kind:`."""
        return self.model.__name__


def _condition(kind: str, key: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{key}'


_AGE = Column("Age", ".metadata.creationTimestamp", "Since creation.", type="date")
_TEMPLATE_COLUMNS = [
    Column("Languages", ".spec.languages", "Languages that steps may name."),
    Column("CPU", ".spec.resources.cpu", "CPUs of the workspace."),
    Column("Memory", ".spec.resources.memory", "Memory of the workspace."),
    Column("Timeout", ".spec.limits.timeout", "Wall clock of one execution."),
    _AGE,
    Column("Image", ".spec.image", "Image; the operator's own when empty.", wide=True),
    Column("Network", ".spec.network.mode", "How far user code reaches.", wide=True),
    Column("Lifetime", ".spec.lifetime.maxDuration", "Life of a silent session.", wide=True),
]

KINDS = [
    Kind(
        AgentSession,
        plural="agentsessions",
        short="ags",
        status=AgentSessionStatus,
        selectable=[".spec.user", ".status.phase"],
        columns=[
            Column("Phase", ".status.phase", "The conditions in one word."),
            Column("Result", ".status.result.reason", "Why the last or first failed step ended."),
            Column("Exit", ".status.result.exitCode", "Its exit code.", type="integer"),
            Column("Duration", ".status.result.duration", "How long it ran."),
            _AGE,
            Column("User", ".spec.user", "Whose session it is.", wide=True),
            Column("Sandbox", ".status.sandbox.name", "The sandbox that serves it.", wide=True),
            Column("Launch", ".status.sandbox.launch", "Warm or Cold.", wide=True),
            Column("Message", _condition("Ready", "message"), "What to know.", wide=True),
        ],
    ),
    Kind(
        Sandbox,
        plural="sandboxes",
        short="sbx",
        status=SandboxStatus,
        selectable=[".spec.templateRef.name"],
        columns=[
            Column("Ready", _condition("Ready", "status"), "Whether it answers."),
            Column("Reason", _condition("Ready", "reason"), "Why."),
            Column("Owner", ".metadata.ownerReferences[?(@.controller==true)].name", "Whose."),
            Column("Launch", ".status.launch", "Warm or Cold."),
            _AGE,
            Column("Template", ".spec.templateRef.name", "What it is made from.", wide=True),
            Column("IP", ".status.podIP", "Address of its runtime.", wide=True),
            Column("UID", ".status.workspaceUid", "User id of its code.", "integer", wide=True),
            Column("Message", _condition("Ready", "message"), "What to know.", wide=True),
        ],
    ),
    Kind(
        SandboxTemplate,
        plural="sandboxtemplates",
        short="sbt",
        columns=_TEMPLATE_COLUMNS,
    ),
    Kind(
        ClusterSandboxTemplate,
        plural="clustersandboxtemplates",
        short="csbt",
        columns=_TEMPLATE_COLUMNS,
        namespaced=False,
    ),
]


def _initial_status(model: type[Resource]) -> JsonDict:
    """What an object says before the operator saw it.

    Without it `kubectl wait`, Helm and GitOps tools take an object without conditions for a
    finished one. The generation of -1 is one that no object ever has.
    """
    condition: JsonDict = {
        "status": "Unknown",
        "reason": "Pending",
        "message": "waiting for the Paddock operator",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
    status: JsonDict = {
        "observedGeneration": -1,
        "conditions": [
            {"type": "Ready", **condition},
            {"type": "Reconciling", **condition, "status": "True"},
        ],
    }
    return {"phase": "Pending", **status} if "phase" in model.model_fields else status


def _schema(kind: Kind) -> JsonDict:
    """The schema of the whole object; the API server owns what metadata means."""
    schema = structural_schema(kind.model)
    properties = schema["properties"]
    # Declared as far as rules point at it; the API server puts in the rest.
    properties["metadata"] = {"type": "object"}
    if "x-kubernetes-validations" in schema:
        properties["metadata"]["properties"] = {"name": {"type": "string"}}
    own: JsonDict = {
        "apiVersion": {
            "type": "string",
            "description": f"Version of this schema, {GROUP}/{VERSION}.",
        },
        "kind": {"type": "string", "description": f"{kind.name}."},
        "metadata": properties["metadata"],
        "spec": properties["spec"],
    }
    if kind.status:
        own["status"] = properties["status"]
        own["status"]["default"] = _initial_status(kind.status)
    schema["properties"] = own
    schema["required"] = [name for name in schema.get("required", []) if name == "spec"]
    if not schema["required"]:
        del schema["required"]
    return schema


def build_crd(kind: Kind) -> JsonDict:
    """The CustomResourceDefinition of a kind as plain JSON data."""
    version: JsonDict = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [column.to_dict() for column in kind.columns],
        "schema": {"openAPIV3Schema": _schema(kind)},
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    if kind.status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": [CATEGORY],
            },
            # The API server's default, said here so that what is applied is what is stored.
            "conversion": {"strategy": "None"},
            "versions": [version],
        },
    }


def render_crds() -> dict[str, str]:
    """The YAML text of every CRD by file name; needs PyYAML, which is a tool's dependency."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Without anchors, and with block text where a string has lines."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    header = "# Generated by `make crds` from api/src/paddock_api; never edited by hand.\n"
    return {
        f"{GROUP}_{kind.plural}.yaml": header
        + yaml.dump(build_crd(kind), Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)
        for kind in KINDS
    }


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; 1 where a check found a difference."""
    parser = argparse.ArgumentParser(prog="python -m paddock_api.crds", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("crds"), help="folder of the files")
    parser.add_argument("--check", action="store_true", help="write nothing, show differences")
    options = parser.parse_args(arguments)
    wanted = render_crds()
    found = {path.name: path.read_text() for path in sorted(options.out.glob("*.yaml"))}
    if not options.check:
        options.out.mkdir(parents=True, exist_ok=True)
        for name in found.keys() - wanted.keys():
            (options.out / name).unlink()
        for name, text in wanted.items():
            (options.out / name).write_text(text)
        return 0
    for name in sorted(found.keys() | wanted.keys()):
        before, after = found.get(name, ""), wanted.get(name, "")
        sys.stdout.writelines(
            difflib.unified_diff(
                before.splitlines(keepends=True),
                after.splitlines(keepends=True),
                fromfile=f"{options.out / name}",
                tofile="generated",
            )
        )
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main())
