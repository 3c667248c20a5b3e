"""What the API server may answer, as types that callers switch on.

ClusterError
├── Unreachable           no answer: the request may have been carried out or not
├── NotFound              404
├── Conflict              409 on a write that named a resourceVersion or uid: read again
├── AlreadyExists         409 on a create
├── Denied                403
│   ├── QuotaExceeded         a ResourceQuota is used up
│   ├── NamespaceTerminating  nothing can be created there any more
│   └── PodSecurityViolation  the namespace enforces a level that the pod does not meet
├── Invalid               400, 422: the object is wrong, trying again would not help
└── Overloaded            429, 5xx: try again later
"""

from collections.abc import Mapping
from typing import Any


class ClusterError(Exception):
    """Any answer that is not success. `str()` is the API server's own sentence."""

    reason = "ApiError"
    way_out = "See the operator's log."

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(ClusterError):
    """The connection failed or timed out."""

    reason = "ApiUnreachable"


class NotFound(ClusterError):
    """The object is not there."""


class Conflict(ClusterError):
    """The object is not at the version or of the uid that the write named."""


class AlreadyExists(ClusterError):
    """The name is taken."""


class Denied(ClusterError):
    """The operator may not do this."""

    reason = "Forbidden"
    way_out = "Check the operator's ClusterRole and the admission policies of the namespace."


class QuotaExceeded(Denied):
    """A ResourceQuota refuses it until something else is gone."""

    reason = "QuotaExceeded"
    way_out = "Raise the ResourceQuota or wait until other sandboxes of the namespace end."


class NamespaceTerminating(Denied):
    """The namespace is being deleted."""

    reason = "NamespaceTerminating"
    way_out = "Create the session in another namespace."


class PodSecurityViolation(Denied):
    """Pod Security admission refuses the pod."""

    reason = "PodSecurityViolation"
    way_out = "Sandboxes meet the level restricted; check what the namespace enforces beyond it."


class Invalid(ClusterError):
    """The API server finds the object wrong."""

    reason = "Invalid"


class Overloaded(ClusterError):
    """Too many requests, or a fault inside the API server."""

    reason = "ApiOverloaded"


def from_response(status: int, body: Mapping[str, Any], *, creating: bool) -> ClusterError:
    """The error for an HTTP status and the `Status` object in its body."""
    message = str(body.get("message") or f"HTTP {status}")
    kind: type[ClusterError]
    if status == 404:
        kind = NotFound
    elif status == 409:
        kind = AlreadyExists if creating and body.get("reason") == "AlreadyExists" else Conflict
    elif status == 403:
        kind = _denied(body, message)
    elif status in (400, 413, 422):
        kind = Invalid
    elif status == 429 or status >= 500:
        kind = Overloaded
    else:
        kind = ClusterError
    return kind(message, status)


def _denied(body: Mapping[str, Any], message: str) -> type[ClusterError]:
    causes = ((body.get("details") or {}).get("causes")) or ()
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return NamespaceTerminating
    if "exceeded quota" in message or "failed quota" in message:
        return QuotaExceeded
    if "violates PodSecurity" in message:
        return PodSecurityViolation
    return Denied
