"""Checks of the bearer tokens that the operator signs."""

import base64
import binascii
import time
from collections.abc import Sequence

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LONGEST_LIFE = 60
"""Seconds between `iat` and `exp`: a leaked token is soon useless."""
LEEWAY = 5
"""Seconds that two nodes' clocks may differ."""
_REMEMBERED = 64


class BadToken(Exception):
    """A sentence that says what is wrong with the token, never the token."""


def read_keys(text: str) -> list[Ed25519PublicKey]:
    """Comma-separated base64 of raw 32-byte keys. Raises ValueError."""
    keys = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            raw = base64.b64decode(part, validate=True)
        except binascii.Error as error:
            raise ValueError(f"a verification key is not base64: {error}") from error
        keys.append(Ed25519PublicKey.from_public_bytes(raw))
    if not keys:
        raise ValueError("PADDOCK_VERIFY_KEYS holds no key: nobody could be let in")
    return keys


class Verifier:
    """Accepts EdDSA tokens for one audience, signed by one of the keys."""

    def __init__(self, keys: Sequence[Ed25519PublicKey], audience: str) -> None:
        self._keys = keys
        self._audience = audience
        self._accepted: dict[str, float] = {}

    def verify(self, authorization: str | None) -> None:
        """Check an Authorization header. Raises BadToken."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise BadToken("send Authorization: Bearer with a token signed for this sandbox")
        token = token.strip()
        if self._accepted.get(token, 0) > time.time():
            return
        claims = self._claims(token)
        lifetime = claims["exp"] - claims["iat"]
        if not 0 < lifetime <= LONGEST_LIFE:
            raise BadToken(f"the token lives longer than {LONGEST_LIFE} s")
        if len(self._accepted) >= _REMEMBERED:
            self._accepted.clear()
        self._accepted[token] = claims["exp"]

    def _claims(self, token: str) -> dict[str, int]:
        for key in self._keys:
            try:
                claims: dict[str, int] = jwt.decode(
                    token,
                    key,
                    algorithms=["EdDSA"],
                    audience=self._audience,
                    leeway=LEEWAY,
                    options={"require": ["exp", "iat", "aud"], "strict_aud": True},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                raise BadToken(f"the token is refused: {error}") from error
            if not all(type(claims[name]) is int for name in ("exp", "iat")):
                raise BadToken("exp and iat must be whole seconds")
            return claims
        raise BadToken("no key of this sandbox made the token's signature")
