"""A real etcd and a real kube-apiserver on free loopback ports, for the time of a test run.

Nothing of it is shared with a cluster: own ports, own certificates, own folder. There is no
controller manager and no kubelet: nothing is garbage collected, a deleted namespace stays
Terminating, and a pod that is created stays Pending, which is what tests of the API want.
"""

import base64
import datetime
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.end_with_parent import end_with_parent

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 60.0
_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
"""


def binaries() -> Path:
    """The folder of etcd and kube-apiserver: `PADDOCK_BIN`, else what `cluster bin` prints.

    Raises RuntimeError when it has none, since skipping would hide that nothing was tested.
    """
    folder = os.environ.get("PADDOCK_BIN")
    if not folder:
        command = [sys.executable, "cluster", "bin"]
        asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if asked.returncode != 0 or not asked.stdout.strip():
            raise RuntimeError(
                f"{' '.join(command)} printed no folder; build the binaries with "
                f"`python3 cluster build` or set PADDOCK_BIN\n{asked.stderr}"
            )
        folder = asked.stdout.strip().splitlines()[-1]
    path = Path(folder)
    for name in ("etcd", "kube-apiserver"):
        if not (path / name).exists():
            raise RuntimeError(f"{path} has no {name}")
    return path


class Authority:
    """A certificate authority that lives as long as the test run."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paddock-tests")])
        self.certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, groups: list[str], addresses: list[str]) -> tuple[bytes, bytes]:
        """Certificate and key, as PEM, for a user in groups or a server at addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *attributes])
        builder = self._builder(subject, key)
        if addresses:
            entries = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName("localhost"), *entries]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), private_pem(key)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as unencrypted PEM, in the one form of EC keys that Kubernetes signs tokens with."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for entry in sockets:
            entry.bind(("127.0.0.1", 0))
        return [entry.getsockname()[1] for entry in sockets]
    finally:
        for entry in sockets:
            entry.close()


class ControlPlane:
    """etcd and kube-apiserver with RBAC, certificates for any user, and an audit log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = binaries()
        self.authority = Authority()
        self.audit_log = folder / "audit.log"
        self.url = ""
        self.kubeconfig = folder / "admin.kubeconfig"
        """Of a member of system:masters."""
        self.etcd = ""
        """Its client URL, for what the API server would not let through."""
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self) -> None:
        """Returns when the API server says that it is ready; raises with its log if not."""
        client, peer, secure = _free_ports(3)
        self.url = f"https://127.0.0.1:{secure}"
        self.etcd = f"http://127.0.0.1:{client}"
        self._write_files()
        # A test run has nothing to lose by a power cut, and fsync is most of etcd's time.
        self._spawn(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        )
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{client}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            # Endpoints of the `kubernetes` service must not be loopback; nothing here uses it.
            "--endpoint-reconciler-type=none",
            f"--secure-port={secure}",
            f"--tls-cert-file={self.folder / 'server.crt'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
            f"--client-ca-file={self.folder / 'ca.crt'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'sa.key'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            "--service-cluster-ip-range=10.98.0.0/24",
            "--authorization-mode=RBAC",
            f"--audit-policy-file={self.folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
        )
        self._wait_ready()

    def stop(self) -> None:
        """SIGKILL: there is no state worth a goodbye."""
        while self._processes:
            _, process = self._processes.pop()
            process.kill()
            process.wait()

    def kubeconfig_for(self, user: str, groups: list[str] | None = None) -> Path:
        """A kubeconfig that authenticates as this user; it may only do what RBAC gives it."""
        path = self.folder / f"{user.replace(':', '_').replace('/', '_')}.kubeconfig"
        self._write_kubeconfig(path, user, groups or [])
        return path

    def audit_events(self, user: str | None = None) -> list[dict[str, Any]]:
        """Every mutating request that was answered so far, oldest first, of one user or all.

        What controllers inside of the API server do is left out. The log is written before
        the response is sent, so a client's own requests are always in it.
        """
        if not self.audit_log.exists():
            return []
        events = [json.loads(line) for line in self.audit_log.read_text().splitlines()]
        if user:
            return [event for event in events if event["user"]["username"] == user]
        return [event for event in events if event["user"]["username"] != "system:apiserver"]

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        certificate, key = self.authority.issue("kube-apiserver", [], ["127.0.0.1"])
        (self.folder / "ca.crt").write_bytes(self.authority.pem)
        (self.folder / "server.crt").write_bytes(certificate)
        (self.folder / "server.key").write_bytes(key)
        signing_key = ec.generate_private_key(ec.SECP256R1())
        (self.folder / "sa.key").write_bytes(private_pem(signing_key))
        (self.folder / "audit-policy.yaml").write_text(_AUDIT_POLICY)
        self._write_kubeconfig(self.kubeconfig, "admin", ["system:masters"])

    def _write_kubeconfig(self, path: Path, user: str, groups: list[str]) -> None:
        certificate, key = self.authority.issue(user, groups, [])

        def inline(data: bytes) -> str:
            return base64.b64encode(data).decode()

        cluster = {"server": self.url, "certificate-authority-data": inline(self.authority.pem)}
        who = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": user, "user": who}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "current-context": "tests",
        }
        path.write_text(json.dumps(config))  # JSON is YAML
        path.chmod(0o600)

    def _spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self.bin / name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
            )
        self._processes.append((name, process))

    def _wait_ready(self) -> None:
        trusted = ssl.create_default_context(cadata=self.authority.pem.decode())
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            for name, process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}{self._logs()}")
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", context=trusted, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    message = f"the API server was not ready after {START_TIMEOUT:.0f} s"
                    raise RuntimeError(message + self._logs()) from None
                time.sleep(0.05)

    def _logs(self) -> str:
        """The last lines of each log, for an error's text."""
        tails = []
        for name, _ in self._processes:
            lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
            tails.append("\n".join(["", f"--- {name}.log", *lines[-15:]]))
        return "".join(tails)
