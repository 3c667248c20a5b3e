"""The operator as a process on this machine, by its own ServiceAccount's token.

It is the same program with the same rights as in the pod, but it can be told to crash, and a
crash costs a process start instead of a pod's.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import yaml
from e2e.installation import Paddock
from e2e.kube import ROOT, Kube
from tests.end_with_parent import end_with_parent

CRASHED = 86
"""paddock_operator.cluster.crash.EXIT_CODE."""
PASSED_ON = ("PADDOCK_RUNTIME_IMAGE", "PADDOCK_IMAGE_PULL_POLICY", "PADDOCK_SANDBOX_UID_BASE")


class HostOperator:
    """One life after the other; never two at once."""

    def __init__(self, paddock: Paddock, kubeconfig: Path, log: Path) -> None:
        self._paddock = paddock
        self._log = log
        self._file: IO[bytes] = log.open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(log.parent),
            "KUBECONFIG": str(kubeconfig),
            "PADDOCK_NAMESPACE": paddock.namespace,
            # All its lives are one pod's: each takes the lease of the one before at once.
            "PADDOCK_POD_UID": "host",
            "PADDOCK_HTTP_PORT": "0",
            **{
                name: paddock.environment[name] for name in PASSED_ON if name in paddock.environment
            },
        }

    def start(self, crash_after: int | None = None) -> None:
        """Begin a life; with a number, one that ends right after so many writes."""
        assert self._process is None or self._process.poll() is not None, "one at a time"
        environment = dict(self._environment)
        if crash_after is not None:
            environment["PADDOCK_CRASH_AFTER_WRITE"] = str(crash_after)
        self._file.write(f"--- a life, crash after {crash_after}\n".encode())
        self._file.flush()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "paddock_operator"],
            cwd=ROOT,
            env=environment,
            stdout=self._file,
            stderr=self._file,
            preexec_fn=end_with_parent,
        )

    @property
    def has_crashed(self) -> bool:
        """Whether the planned crash has come. Any other end of the process fails the test."""
        assert self._process is not None
        code = self._process.poll()
        assert code in (None, CRASHED), f"the operator ended with {code}:\n{self.log()}"
        return code is not None

    def stop(self) -> None:
        """SIGKILL: no life of it is ever told that it ends."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def log(self) -> str:
        """The end of what all its lives logged."""
        return self._log.read_text(errors="replace")[-6000:]

    def close(self) -> None:
        self.stop()
        self._file.close()


@contextmanager
def instead_of_the_deployment(paddock: Paddock, folder: Path) -> Iterator[HostOperator]:
    """The Deployment at zero replicas, and an operator on this machine, not started yet."""
    kubeconfig = _kubeconfig(paddock.kube, paddock, folder)
    paddock.scale(0)
    operator = HostOperator(paddock, kubeconfig, folder / "operator.log")
    paddock.host_log = operator.log
    try:
        yield operator
    finally:
        operator.close()
        paddock.host_log = str
        paddock.scale(1)


def _kubeconfig(kube: Kube, paddock: Paddock, folder: Path) -> Path:
    """The administrator's kubeconfig with the operator's own token instead."""
    config = yaml.safe_load(kube.kubeconfig.read_text())
    account = paddock.service_account
    token = kube.kubectl(
        "create", "token", account, "--duration=1h", namespace=paddock.namespace
    ).stdout.strip()
    config["users"] = [
        {"name": entry["name"], "user": {"token": token}} for entry in config["users"]
    ]
    path = folder / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path
