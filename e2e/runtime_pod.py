"""A sandbox pod of the cluster as the cases of tests/runtime/cases want it.

One Sandbox made by hand of a SandboxTemplate of its own. The runtime is talked to as the
operator does, at the pod's address and with a token signed by the operator's key.
"""

import base64
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykube
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from e2e import sandboxes
from e2e.installation import NAMESPACE
from e2e.kube import Json, Kube, Sandbox
from tests.runtime.box import Box, ElsewhereError, Template

from paddock_api.messages import RUNTIME_PORT, Limits
from paddock_api.template import SandboxTemplateSpec

RUNTIME, WORKSPACE = "/opt/paddock/bin/runtime.py", "/opt/paddock/bin/workspace.py"


class RealPod(Box):
    """Made and deleted by `running`."""

    def __init__(self, kube: Kube, namespace: str, name: str, key: Ed25519PrivateKey) -> None:
        super().__init__()
        self.key = key
        self.port = RUNTIME_PORT
        self._kube, self._namespace, self._name = kube, namespace, name
        seen = sandboxes.until_sandbox(kube, name, namespace, "Ready")
        self.host = seen["status"]["podIP"]
        self.audience = seen["metadata"]["uid"]

    def end(self) -> None:
        self._kube.delete(Sandbox, self._name, self._namespace)

    def crash_runtime(self) -> None:
        _kill(self.runtime_pid())

    def crash_workspace(self) -> None:
        _kill(self._process(WORKSPACE))

    def kill_fork_server(self) -> None:
        supervisor = self._process(WORKSPACE)
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        _kill(int(children[0]))

    def runtime_pid(self) -> int:
        return self._process(RUNTIME)

    def why(self) -> str:
        told = [
            self._kube.kubectl("logs", self._name, "-c", name, namespace=self._namespace)
            for name in ("runtime", "workspace")
        ]
        return ":\n" + "\n".join(part.stdout for part in told)

    def _process(self, program: str) -> int:
        """The first one in its container that runs this; it was started with our settings."""
        for pid in sorted(int(name.name) for name in Path("/proc").glob("[0-9]*")):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if program.encode() in command and self.audience.encode() in _environment(pid):
                    return pid
        raise ElsewhereError(
            f"{program} of {self._name} is not among this machine's processes: the node is "
            "another machine (kind), or these may not be seen by whoever runs this"
        )


@contextlib.contextmanager
def running(kube: Kube, namespace: str, name: str, template: Template) -> Iterator[RealPod]:
    """A ready sandbox; it and its template are deleted at the end, which nobody waits for."""
    key = signing_key(kube)
    manifest = sandboxes.template(name, **spec_of(template))
    told = SandboxTemplateSpec.model_validate(manifest["spec"]).to_limits()
    assert told == template.limits, "the template says something else than the case wants"
    kube.kubectl.apply(manifest, namespace)
    kube.create(Sandbox, sandboxes.sandbox(name, {"name": name}), namespace)
    try:
        pod = RealPod(kube, namespace, name, key)
        pod.wait_ready()
        yield pod
    finally:
        both = ("delete", "sbt,sbx", name, "--ignore-not-found", "--wait=false")
        kube.kubectl(*both, namespace=namespace)


def signing_key(kube: Kube) -> Ed25519PrivateKey:
    """What the operator signs with."""
    secret = kube.find(pykube.Secret, "paddock-signing", NAMESPACE)
    assert secret is not None, "the operator has not made its key yet"
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret["data"]["current"]))


def spec_of(template: Template) -> Json:
    """The spec of a SandboxTemplate that gives just these limits."""
    wanted: Limits = template.limits
    limits: dict[str, Any] = {
        "timeout": _duration(wanted.timeout_ms),
        "cpuTime": _duration(wanted.cpu_time_ms),
        "outputIdleTimeout": _duration(wanted.output_idle_timeout_ms),
        "outputBytes": wanted.output_bytes,
        "outputKillBytes": wanted.output_kill_bytes,
        "fileBytes": wanted.file_bytes,
        "concurrency": wanted.concurrency,
    }
    return {
        "resources": {
            "cpu": f"{wanted.cpu_millis}m",
            "memory": str(wanted.memory_bytes),
            "disk": str(wanted.disk_bytes),
            "processes": wanted.processes,
        },
        "limits": {name: value for name, value in limits.items() if value is not None},
        "env": [{"name": name, "value": value} for name, value in template.env.items()],
    }


def _duration(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds}ms"


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone: what answers afterwards is another one."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while "State:\tZ" not in _status(pid) and _status(pid):
        assert time.monotonic() < deadline, f"{pid} did not die"
        time.sleep(0.01)


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
