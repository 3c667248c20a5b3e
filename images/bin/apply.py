"""Applies the chart's default template: a Job of the chart runs this after install and upgrade.

Helm cannot create an object of a kind that the same release defines, and a plain hook would race
with the API server that has just learnt the kind. This waits until it is served, and makes a
ClusterRole of the release the template's owner: when Helm removes that, the template goes too.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PATIENCE_S = 80.0
PAUSE_S = 0.5
ALREADY_EXISTS = 409
REFUSED = 2  # exit status: the Job does not try again
# Not served yet, permissions not seen yet, a busy or restarting API server.
WORTH_A_RETRY = {401, 403, 404, 408, 409, 429, 500, 502, 503, 504}


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the API server, as the pod's service account."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{address}:{port}{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        },
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        result: dict[str, Any] = json.load(answer)
    return result


def apply(manifest: dict[str, Any], owner_name: str) -> str:
    """Create the template, or give the one that is there this spec, these labels and this owner."""
    owner = call("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{owner_name}")
    metadata = manifest["metadata"]
    metadata["ownerReferences"] = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": owner_name,
            "uid": owner["metadata"]["uid"],
        }
    ]
    path, options = (
        f"/apis/{manifest['apiVersion']}/clustersandboxtemplates",
        "fieldValidation=Strict",
    )
    try:
        call("POST", f"{path}?{options}", manifest)
    except urllib.error.HTTPError as error:
        if error.code != ALREADY_EXISTS:
            raise
    else:
        return "created"
    there = call("GET", f"{path}/{metadata['name']}")
    labels = there["metadata"].get("labels", {}) | metadata["labels"]
    wanted = there["metadata"] | metadata | {"labels": labels}
    call("PUT", f"{path}/{metadata['name']}?{options}", manifest | {"metadata": wanted})
    return "up to date"


def said(error: Exception) -> str:
    """What the API server says, not only its status code."""
    if isinstance(error, urllib.error.HTTPError):
        text = error.read().decode(errors="replace")
        try:
            return f"{error.code}: {json.loads(text)['message']}"
        except (ValueError, KeyError, TypeError):
            return f"{error.code}: {text[:500]}"
    return str(error)


def main() -> int:
    """Apply, again and again until it worked, is refused for good or time is up."""
    manifest = json.loads(os.environ["PADDOCK_TEMPLATE"])
    name = f"ClusterSandboxTemplate {manifest['metadata']['name']}"
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            outcome = apply(manifest, os.environ["PADDOCK_OWNER"])
        except (OSError, ValueError, KeyError) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code not in WORTH_A_RETRY
            if final or time.monotonic() > end:
                hint = (
                    "correct defaultTemplate.spec"
                    if final
                    else "see whether the CRDs are installed (crds.enabled)"
                )
                print(f"{name} was not applied: {said(error)}; {hint}", file=sys.stderr)
                return REFUSED if final else 1
            time.sleep(PAUSE_S)
        else:
            print(f"{name} {outcome}")
            return 0


if __name__ == "__main__":
    sys.exit(main())
