"""Measures what a user waits for, interleaved with the baselines in one run.

    KUBECONFIG=… python bench [--rounds 20] [--executions 200]

Each round creates, one after the other: a bare pod of the same image with a readiness probe
every second, an open session, a one-step session, and a `kubectl exec` into the bare pod. The
open session of the last round then answers one-line executions over one connection.
"""

import argparse
import asyncio
import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from kube import Json, Kube, condition
from report import table

from paddock_api.messages import RUNTIME_PORT
from paddock_operator.runtime_client.tokens import TokenIssuer

NAMESPACE = "paddock-bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SESSIONS = f"/apis/paddock.dev/v1alpha1/namespaces/{NAMESPACE}/agentsessions"
SANDBOXES = f"/apis/paddock.dev/v1alpha1/namespaces/{NAMESPACE}/sandboxes"
BARE, READY, FINISHED = "bare pod -> Ready", "session -> Ready", "apply -> Finished, one step"
EXECUTE, EXEC = "one-liner in the pod, keep-alive", "kubectl exec of a one-liner"
_SERVER = (
    "import http.server as h\n"
    "class A(h.BaseHTTPRequestHandler):\n"
    "    def do_GET(self): self.send_response(200); self.end_headers()\n"
    "    def log_message(self, *a): pass\n"
    "h.ThreadingHTTPServer(('', 8090), A).serve_forever()"
)


def bare_pod(name: str, image: str) -> Json:
    """One container of the sandbox's image that answers its readiness probe at once."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["python3", "-I", "-S", "-c", _SERVER],
                    "readinessProbe": {
                        "httpGet": {"path": "/", "port": RUNTIME_PORT},
                        "periodSeconds": 1,
                    },
                    "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
                }
            ],
        },
    }


def session(name: str, code: str | None) -> Json:
    """An open session, or one with a single step."""
    steps = [{"name": "one", "language": "python", "code": code}] if code else []
    return {
        "apiVersion": "paddock.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": {"name": name},
        "spec": {
            "user": "bench",
            "templateRef": {"kind": "ClusterSandboxTemplate", "name": "python"},
            **({"steps": steps} if steps else {}),
        },
    }


async def kubectl_exec(pod: str) -> float:
    """Seconds of one `kubectl exec` of a Python one-liner."""
    command = ["kubectl", "exec", "-n", NAMESPACE, pod, "--", "python3", "-c", "print(1+1)"]
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if out != b"2\n":
        raise RuntimeError(f"kubectl exec answered {out!r}")
    return time.perf_counter() - begun


async def executions(kube: Kube, opened: Json, count: int) -> list[float]:
    """One-liners one after another over one connection, as the operator's client sends them."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = await kube.call("GET", "/api/v1/namespaces/paddock-system/secrets/paddock-signing")
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret["data"]["current"]))
    sandbox = await kube.call("GET", f"{SANDBOXES}/{opened['status']['sandbox']['name']}")
    token = TokenIssuer(key).token(sandbox["metadata"]["uid"])
    url = f"http://{sandbox['status']['podIP']}:{RUNTIME_PORT}/v1/executions?wait=20s"
    samples: list[float] = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        for number in range(count + 10):
            body = {"id": f"bench-{number}", "language": "python", "code": "print(1+1)"}
            begun = time.perf_counter()
            async with http.post(url, json=body) as response:
                answer: dict[str, Any] = await response.json()
            took = time.perf_counter() - begun
            if answer.get("exitCode") != 0 or answer["stdout"]["head"] != "2\n":
                raise RuntimeError(f"execution answered {answer}")
            if number >= 10:
                samples.append(took)
    return samples


async def measure(rounds: int, count: int) -> dict[str, list[float]]:
    """All samples in seconds."""
    rows: dict[str, list[float]] = {name: [] for name in (BARE, READY, FINISHED, EXEC, EXECUTE)}
    async with Kube.connect(os.environ["KUBECONFIG"]) as kube:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        if not (
            await kube.call("GET", f"/api/v1/namespaces?fieldSelector=metadata.name={NAMESPACE}")
        )["items"]:
            await kube.call("POST", "/api/v1/namespaces", namespace)
        deployment = await kube.call(
            "GET", "/apis/apps/v1/namespaces/paddock-system/deployments/paddock-operator"
        )
        env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        image = next(var["value"] for var in env if var["name"] == "PADDOCK_RUNTIME_IMAGE")
        for number in range(rounds):
            run = f"{os.getpid()}-{number}"
            pod, opened, single = f"bare-{run}", f"open-{run}", f"one-{run}"
            took, _ = await kube.time_until(
                PODS, bare_pod(pod, image), lambda o: condition(o, "Ready")
            )
            rows[BARE].append(took)
            rows[EXEC].append(await kubectl_exec(pod))
            await kube.gone(f"{PODS}/{pod}")
            took, ready = await kube.time_until(
                SESSIONS, session(opened, None), lambda o: condition(o, "Ready")
            )
            rows[READY].append(took)
            if number == rounds - 1:
                rows[EXECUTE] = await executions(kube, ready, count)
            await kube.gone(f"{SESSIONS}/{opened}")
            took, _ = await kube.time_until(
                SESSIONS, session(single, "print(1+1)"), lambda o: condition(o, "Finished")
            )
            rows[FINISHED].append(took)
            await kube.gone(f"{SESSIONS}/{single}")
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return rows


def main() -> None:
    """Print the table and keep the samples in build/bench.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--executions", type=int, default=200)
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.rounds, arguments.executions))
    print(table(rows, {READY: BARE, FINISHED: BARE, EXECUTE: EXEC}))
    out = Path(__file__).parent.parent / "build" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
