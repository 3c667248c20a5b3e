"""curl to the runtime of a session's sandbox, for people who try it: dev/sandbox_curl.py --help.

    .venv/bin/python dev/sandbox_curl.py hello -n paddock-demo /v1/capabilities
    .venv/bin/python dev/sandbox_curl.py hello '/v1/executions?wait=20s' --json '{"id": "a", …}'

Signs a token as the operator does, so it needs to read the Secret paddock-signing; and the pod's
network must be reachable from here, as it is on the local cluster.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paddock_api.messages import RUNTIME_PORT
from paddock_operator.runtime_client.tokens import TokenIssuer


def get(kind: str, name: str, namespace: str | None) -> Any:
    """One object, with whatever kubectl and kubeconfig the environment has."""
    where = ["-n", namespace] if namespace else []
    command = ["kubectl", "get", kind, name, *where, "-o", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def sandbox_of(session: str, namespace: str | None) -> Any:
    """One that answers."""
    status = get("agentsession", session, namespace).get("status", {})
    phase = status.get("phase", "Pending")
    finished = any(
        condition["type"] == "Finished" and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )
    if finished or "sandbox" not in status:
        sys.exit(f"session {session} has no sandbox: it is {phase}")
    sandbox = get("sandbox", status["sandbox"]["name"], namespace)
    if "podIP" not in sandbox.get("status", {}):
        sys.exit(f"the sandbox of session {session} does not answer just now: it is {phase}")
    return sandbox


def main() -> None:
    """Becomes curl; what is not ours in the arguments is curl's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("session")
    parser.add_argument("-n", "--namespace", help="the kubeconfig's if it is not given")
    parser.add_argument("path", help="/v1/…")
    arguments, more = parser.parse_known_args()
    if not arguments.path.startswith("/"):
        sys.exit(f"path: {arguments.path!r} does not begin with / as /v1/executions does")
    sandbox = sandbox_of(arguments.session, arguments.namespace)
    secret = get("secret", "paddock-signing", "paddock-system")
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret["data"]["current"]))
    token = TokenIssuer(key).token(sandbox["metadata"]["uid"])
    url = f"http://{sandbox['status']['podIP']}:{RUNTIME_PORT}{arguments.path}"
    os.execvp("curl", ["curl", "-sS", "-H", f"Authorization: Bearer {token}", *more, url])


if __name__ == "__main__":
    main()
