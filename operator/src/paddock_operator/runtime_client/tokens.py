"""Short-lived tokens for exactly one sandbox: JWT, EdDSA, audience = the sandbox's uid."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LIFETIME_S = 60
"""The longest that a runtime accepts."""
RENEW_BEFORE_S = 30
"""A cached token is used for half its life, so clocks may differ by the other half."""
_CACHE_BOUND = 10_000


class TokenIssuer:
    """Signs, and remembers what is still fresh: one signature per sandbox and half minute."""

    def __init__(
        self, key: Ed25519PrivateKey, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._key = key
        self._now = now
        self._cache: dict[str, tuple[float, str]] = {}

    def token(self, sandbox_uid: str) -> str:
        """A token that lives for at least half a minute."""
        now = self._now().timestamp()
        cached = self._cache.get(sandbox_uid)
        # Not one from before the clock was set right, which ends later than any that we make.
        if cached is not None and RENEW_BEFORE_S < cached[0] - now <= LIFETIME_S:
            return cached[1]
        expires = now + LIFETIME_S
        claims = {
            "iss": "paddock-operator",
            "aud": sandbox_uid,
            "iat": int(now),
            "exp": int(expires),
            "jti": uuid.uuid4().hex,
        }
        token = jwt.encode(claims, self._key, algorithm="EdDSA")
        if len(self._cache) >= _CACHE_BOUND:
            self._cache.clear()
        self._cache[sandbox_uid] = (expires, token)
        return token
