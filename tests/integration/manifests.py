"""Builders of manifests: a valid one, changed by the test that asks for it."""

from typing import Any

Manifest = dict[str, Any]

STEP: Manifest = {"name": "greet", "language": "python", "code": "print('hello')"}


def _object(kind: str, spec: Manifest, **meta: Any) -> Manifest:
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "it", **meta},
        "spec": {name: value for name, value in spec.items() if value is not ...},
    }


def session(**spec: Any) -> Manifest:
    """A valid AgentSession `it` with these fields of its spec; `...` leaves one out."""
    base = {"user": "alice", "templateRef": {"name": "python"}, "steps": [STEP]}
    return _object("AgentSession", base | spec)


def steps(*changes: Manifest) -> Manifest:
    """A session with one step per argument: valid but for what the argument says."""
    return session(
        steps=[
            {
                name: value
                for name, value in {**STEP, "name": f"s{number}", **change}.items()
                if value is not ...
            }
            for number, change in enumerate(changes)
        ]
    )


def sandbox(name: str = "it", **spec: Any) -> Manifest:
    """A valid Sandbox with these fields of its spec."""
    return _object("Sandbox", {"templateRef": {"name": "python"}} | spec, name=name)


def template(kind: str = "SandboxTemplate", **spec: Any) -> Manifest:
    """A SandboxTemplate (or of the given kind) with these fields of its spec."""
    return _object(kind, spec)
