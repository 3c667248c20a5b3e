"""Names of children: the same parent always gives the same name.

A crashed operator that starts over asks for the very name it asked for before, so the API
server's 409 is what keeps a second child from being made.
"""

import hashlib
import re

MAX_NAME = 63
"""A DNS label: a pod's name is also its host name."""
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, so no words by accident
_SHORT, _LONG = 5, 10
_NOT_LABEL = re.compile(r"[^a-z0-9-]+")


def child_name(parent: str, uid: str) -> str:
    """The name of the one child of the object `parent` with this uid, a DNS label.

    The suffix is a hash of the uid, so a parent deleted and made again has another child.
    It is longer where the parent's name had to be cut or changed: only then can many living
    parents share the part before it.
    """
    stem = _NOT_LABEL.sub("-", parent.lower()).strip("-") or "x"
    length = _SHORT
    if stem != parent or len(stem) > MAX_NAME - 1 - _SHORT:
        length = _LONG
        stem = stem[: MAX_NAME - 1 - length].rstrip("-")
    return f"{stem}-{_suffix(uid, length)}"


def sandbox_name(session_name: str, session_uid: str) -> str:
    """The name of the Sandbox that the operator makes for a session."""
    return child_name(session_name, session_uid)


def execution_id(session_uid: str, step: str) -> str:
    """The id under which the runtime accepts a session's step, once."""
    return f"{session_uid}.{step}"


def _suffix(uid: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(uid.encode()).digest())
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)
