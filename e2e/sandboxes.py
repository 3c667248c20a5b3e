"""Manifests that tests make themselves: sessions and templates, short to write."""

import json
from typing import Any

import pykube
from e2e.kube import Json, Kube, Sandbox, condition, until

CLUSTER_TEMPLATE = {"kind": "ClusterSandboxTemplate", "name": "python"}


def session(name: str, *steps: Json, template: Json | None = None, **spec: Any) -> Json:
    """An AgentSession of alice with the chart's template or another."""
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": {"name": name},
        "spec": {
            "user": "alice",
            "templateRef": template or CLUSTER_TEMPLATE,
            **({"steps": list(steps)} if steps else {}),
            **spec,
        },
    }


def python(name: str, code: str, **more: Any) -> Json:
    """A step in Python."""
    return {"name": name, "language": "python", "code": code, **more}


def bash(name: str, code: str, **more: Any) -> Json:
    """A step in bash."""
    return {"name": name, "language": "bash", "code": code, **more}


def template(name: str, **spec: Any) -> Json:
    """A SandboxTemplate."""
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "SandboxTemplate",
        "metadata": {"name": name},
        "spec": spec,
    }


def until_ready(kube: Kube, name: str, namespace: str, timeout: float = 60) -> Json:
    """Wait until the session's sandbox answers."""

    def answers(seen: Json) -> bool:
        return bool((seen.get("status") or {}).get("readyAt"))

    return kube.until_session(name, namespace, answers, "has a sandbox that answers", timeout)


def pod_of(kube: Kube, session: Json) -> Json:
    """The pod of a session that has one."""
    name = session["status"]["sandbox"]["name"]
    found = kube.find(pykube.Pod, name, session["metadata"]["namespace"])
    assert found is not None, f"pod {name} is not there"
    return found


def foreign_sandbox(name: str, labels: dict[str, str]) -> Json:
    """A Sandbox made by hand, which waits for a template that never comes."""
    made = sandbox(name, {"name": "never"})
    made["metadata"]["labels"] = labels
    return made


def foreign_pod(name: str, labels: dict[str, str], image: str) -> Json:
    """A pod that nobody will ever schedule."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeSelector": {"paddock.dev/nowhere": "true"},
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def edit(kube: Kube, name: str, namespace: str, kind: str = "ags", **spec: Any) -> None:
    """Change fields of an object's spec."""
    patch = json.dumps({"spec": spec})
    kube.kubectl("patch", kind, name, "--type=merge", "-p", patch, namespace=namespace)


def runs(seen: Json) -> bool:
    """Whether its first step has been sent."""
    return bool((seen["status"].get("steps") or [{}])[0].get("state") == "Running")


def how(seen: Json) -> tuple[str, str]:
    """Phase and reason of a session's end."""
    return seen["status"]["phase"], condition(seen, "Finished")["reason"]


def sandbox(name: str, template: Json | None = None, **spec: Any) -> Json:
    """A Sandbox made by hand."""
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": name},
        "spec": {"templateRef": template or CLUSTER_TEMPLATE, **spec},
    }


def until_sandbox(kube: Kube, name: str, namespace: str, kind: str, timeout: float = 40) -> Json:
    """Wait until this condition of the sandbox is True."""

    def look() -> Json | None:
        seen = kube.find(Sandbox, name, namespace)
        assert seen is not None, f"sandbox/{name} is gone"
        found = [c for c in seen["status"].get("conditions", ()) if c["type"] == kind]
        return seen if found and found[0]["status"] == "True" else None

    return until(look, f"{kind} of sandbox/{name}", timeout)
