"""The cluster's certificates, made once with openssl.

Three authorities, as upstream advises: what etcd or the aggregation layer accepts must not be
what makes somebody an administrator of the API, and the other way round.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster.report import ClusterError
from cluster.settings import LOOPBACK, NODE_IP, NODE_NAME, SERVICE_IP, Settings

AUTHORITIES = ("ca", "etcd-ca", "front-proxy-ca")


@dataclass(frozen=True)
class Certificate:
    """One leaf certificate; `names` are its subjectAltNames, for those that serve."""

    name: str
    subject: str
    authority: str = "ca"
    names: tuple[str, ...] = ()


CERTIFICATES = (
    Certificate(
        "apiserver",
        "/CN=kube-apiserver",
        names=(
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            "DNS:kubernetes.default.svc.cluster.local",
            "DNS:localhost",
            f"IP:{LOOPBACK}",
            f"IP:{SERVICE_IP}",
            f"IP:{NODE_IP}",
        ),
    ),
    Certificate(
        "kubelet",
        f"/O=system:nodes/CN=system:node:{NODE_NAME}",
        names=(f"DNS:{NODE_NAME}", f"IP:{NODE_IP}"),
    ),
    Certificate("admin", "/O=system:masters/CN=kubernetes-admin"),
    # Not the administrator's, so that the audit log and the kubelet can tell them apart.
    Certificate("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
    Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("kube-scheduler", "/CN=system:kube-scheduler"),
    Certificate("kube-proxy", "/CN=system:kube-proxy"),
    Certificate("etcd", "/CN=etcd", "etcd-ca", ("DNS:localhost", f"IP:{LOOPBACK}")),
    Certificate("apiserver-etcd", "/CN=kube-apiserver-etcd-client", "etcd-ca"),
    Certificate("front-proxy", "/CN=front-proxy-client", "front-proxy-ca"),
)

# Fixed dates, long before and after: a machine restored from a snapshot may start with its clock
# behind the day of an earlier boot, and then fresh certificates would not be valid yet.
VALID_FROM = "20200101000000Z"
VALID_UNTIL = "20491231235959Z"

_NEW_KEY = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def authority_config(folder: Path) -> str:
    """Render the configuration of `openssl ca`, the one command of OpenSSL 3.0 that sets dates."""
    return f"""\
[ca]
default_ca = authority
[authority]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
[policy]
organizationName = optional
commonName = supplied
"""


def extensions(certificate: Certificate | None) -> str:
    """Render the extensions of a leaf certificate, or of an authority for None."""
    if certificate is None:
        return "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        f"extendedKeyUsage=clientAuth{',serverAuth' if certificate.names else ''}",
    ]
    if certificate.names:
        lines.append(f"subjectAltName={','.join(certificate.names)}")
    return "\n".join(lines) + "\n"


def recipe() -> str:
    """Return a hash of all that decides what the certificates say."""
    parts = [extensions(None), *_NEW_KEY, VALID_FROM, VALID_UNTIL, *AUTHORITIES]
    for certificate in CERTIFICATES:
        parts += [repr(certificate), extensions(certificate)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def ensure_pki(settings: Settings) -> None:
    """Make all keys and certificates, in a folder that gets its name when it is complete.

    A tool that needs other certificates than it did (another name or address) makes them anew.
    """
    made_by = settings.pki / "recipe"
    if made_by.is_file() and made_by.read_text() == recipe():
        return
    work = settings.pki.with_name(".pki")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, mode=0o700)
    for authority in AUTHORITIES:
        folder = work / f".{authority}"
        folder.mkdir()
        (folder / "index.txt").touch()
        (folder / "config").write_text(authority_config(folder))
        _sign(work, authority, authority, f"/CN=paddock-{authority}", None)
    for certificate in CERTIFICATES:
        _sign(work, certificate.name, certificate.authority, certificate.subject, certificate)
    _openssl(work, "genpkey", *_NEW_KEY, "-out", "service-account.key")
    # The API server takes no public key out of a PKCS #8 private one.
    public = ("-pubout", "-out", "service-account.pub")
    _openssl(work, "pkey", "-in", "service-account.key", *public)
    (work / "recipe").write_text(recipe())
    shutil.rmtree(settings.pki, ignore_errors=True)
    work.rename(settings.pki)


def _sign(
    work: Path, name: str, authority: str, subject: str, certificate: Certificate | None
) -> None:
    folder = work / f".{authority}"
    (folder / "extensions").write_text(extensions(certificate))
    key = f"{name}.key"
    _openssl(work, "genpkey", *_NEW_KEY, "-out", key)
    request = str(folder / "request")
    _openssl(work, "req", "-new", "-key", key, "-subj", subject, "-out", request)
    signer = ["-selfsign"] if certificate is None else ["-cert", f"{authority}.crt"]
    _openssl(
        work,
        *("ca", "-batch", "-notext", "-config", str(folder / "config")),
        *("-extfile", str(folder / "extensions"), "-in", request, "-out", f"{name}.crt"),
        *("-startdate", VALID_FROM, "-enddate", VALID_UNTIL, "-keyfile", f"{authority}.key"),
        *signer,
    )


def _openssl(work: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], cwd=work, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ClusterError(f"`openssl {arguments[0]}` failed: {done.stderr.strip()[-800:]}")
