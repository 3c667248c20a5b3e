"""The Secret `paddock-signing`: the operator's private keys, made once.

The pods hold only the public halves, so reading a sandbox's environment gains nothing.
"""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from paddock_operator.cluster.client import Api, path_of
from paddock_operator.cluster.errors import AlreadyExists, ClusterError, NotFound

SECRET = "paddock-signing"  # noqa: S105 - a name, not a secret
CURRENT = "current"
"""Key of the Secret that tokens are signed with; `next` is verified already, for rotation."""
NEXT = "next"


class SigningKeys:
    """The key to sign with and the public keys that new pods are told."""

    def __init__(self, current: Ed25519PrivateKey, public: list[bytes]) -> None:
        self.current = current
        self.verify_keys = ",".join(base64.b64encode(raw).decode() for raw in public)


async def load_or_create(api: Api, namespace: str) -> SigningKeys:
    """Read the Secret, or make it; two operators that make it at once agree on the first."""
    path = path_of("Secret", namespace, SECRET)
    try:
        secret = await api.request("GET", path)
    except NotFound:
        raw = Ed25519PrivateKey.generate().private_bytes(
            Encoding.Raw, PrivateFormat.Raw, NoEncryption()
        )
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": namespace},
            "type": "Opaque",
            "data": {CURRENT: base64.b64encode(raw).decode()},
        }
        try:
            secret = await api.request("POST", path_of("Secret", namespace), body=body)
        except AlreadyExists:
            secret = await api.request("GET", path)
    return _parse(secret.get("data") or {}, namespace)


def _parse(data: dict[str, str], namespace: str) -> SigningKeys:
    keys = []
    for name in (CURRENT, NEXT):
        if name not in data:
            continue
        try:
            keys.append(Ed25519PrivateKey.from_private_bytes(base64.b64decode(data[name])))
        except ValueError as error:
            raise ClusterError(
                f"Secret {namespace}/{SECRET}: {name} is not a base64 Ed25519 private key of 32 "
                "bytes. Delete the Secret to have a new one made; open sandboxes end then."
            ) from error
    if not keys:
        raise ClusterError(f"Secret {namespace}/{SECRET} has no key '{CURRENT}'. Delete it.")
    public = [key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in keys]
    return SigningKeys(keys[0], public)
