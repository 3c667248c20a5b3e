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


def get(kind: str, name: str, namespace: str) -> Any:
    """One object, with whatever kubectl and kubeconfig the environment has."""
    command = ["kubectl", "get", kind, name, "-n", namespace, "-o", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def main() -> None:
    """Becomes curl; what is not ours in the arguments is curl's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("session")
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("path", help="/v1/…")
    arguments, more = parser.parse_known_args()
    status = get("agentsession", arguments.session, arguments.namespace).get("status", {})
    if "sandbox" not in status:
        sys.exit(f"session {arguments.session} has no sandbox: it is {status.get('phase')}")
    sandbox = get("sandbox", status["sandbox"]["name"], arguments.namespace)
    secret = get("secret", "paddock-signing", "paddock-system")
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret["data"]["current"]))
    token = TokenIssuer(key).token(sandbox["metadata"]["uid"])
    url = f"http://{sandbox['status']['podIP']}:{RUNTIME_PORT}{arguments.path}"
    os.execvp("curl", ["curl", "-sS", "-H", f"Authorization: Bearer {token}", *more, url])


if __name__ == "__main__":
    main()
