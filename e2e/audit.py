"""Counting writes outside of the operator: in the API server's audit log, by identity."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.kube import ROOT

MUTATING = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Write:
    """One mutating request."""

    verb: str
    resource: str
    """With the subresource, such as `agentsessions/status`."""
    namespace: str
    name: str
    code: int

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}/{self.name}: {self.code}"


class AuditLog:
    """One line of JSON per write that the API server carried out or refused."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mark(self) -> int:
        """Where the log ends now."""
        return self._path.stat().st_size

    def writes(self, identity: str, since: int) -> list[Write]:
        """Writes of an identity after a mark, Events among them.

        Not those of its lease: a leader renews every two seconds, whatever there is to do.
        """
        assert self._path.stat().st_size >= since, "the audit log was rotated; run this test again"
        found = []
        with self._path.open("rb") as file:
            file.seek(since)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                if entry["user"]["username"] != identity or entry["verb"] not in MUTATING:
                    continue
                write = _write(entry)
                if entry["stage"] == "ResponseComplete" and write.resource != "leases":
                    found.append(write)
        return found


def find(kubeconfig: Path) -> AuditLog:
    """The cluster's audit log; skips the test where there is none to be read."""
    named = os.environ.get("PADDOCK_E2E_AUDIT_LOG")
    path = Path(named) if named else _of_the_local_cluster(kubeconfig)
    if path is None or not os.access(path, os.R_OK):
        pytest.skip(
            "this cluster's API server writes no audit log that can be read here (kind does not; "
            "set PADDOCK_E2E_AUDIT_LOG to the path of one)"
        )
    return AuditLog(path)


def without_events(writes: list[Write]) -> list[Write]:
    """Events are counted apart."""
    return [write for write in writes if write.resource != "events"]


def local(verb: str) -> str:
    """What the local cluster's tool says, '' if that cluster is not there."""
    told = subprocess.run(
        [sys.executable, "cluster", verb], cwd=ROOT, capture_output=True, text=True
    )
    return told.stdout.strip() if told.returncode == 0 else ""


def _of_the_local_cluster(kubeconfig: Path) -> Path | None:
    if local("kubeconfig") != str(kubeconfig.absolute()):
        return None
    path = local("audit-log")
    return Path(path) if path else None


def _write(entry: dict[str, dict[str, str]]) -> Write:
    target = entry.get("objectRef") or {}
    resource = target.get("resource", "")
    if "subresource" in target:
        resource += f"/{target['subresource']}"
    return Write(
        verb=str(entry["verb"]),
        resource=resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=int((entry.get("responseStatus") or {}).get("code", 0)),
    )
