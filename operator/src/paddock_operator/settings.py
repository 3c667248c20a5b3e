"""The operator's configuration: environment variables, read once, each with a clear error."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(Exception):
    """A variable that cannot be used; the message names it, its value and what it takes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the chart tells the operator."""

    namespace: str
    """PADDOCK_NAMESPACE: the operator's own, where the Secret `paddock-signing` lives."""
    runtime_image: str
    """PADDOCK_RUNTIME_IMAGE: of the runtime container, and of workspaces without an image."""
    sandbox_uid_base: int = 200_000
    """PADDOCK_SANDBOX_UID_BASE: workspaces run as this uid plus the lowest free number. From 65536
    on: below are people, daemons, and the runtime container itself (65531)."""
    http_port: int = 8080
    """PADDOCK_HTTP_PORT: /metrics, /livez, /readyz."""
    log_level: str = "INFO"
    """PADDOCK_LOG_LEVEL."""
    image_pull_policy: str = "IfNotPresent"
    """PADDOCK_IMAGE_PULL_POLICY, of both containers of a sandbox."""
    workers: int = 8
    """PADDOCK_WORKERS: objects reconciled at the same time."""
    kubeconfig: str | None = None
    """KUBECONFIG: to run outside of a cluster; unset uses the pod's service account."""
    crash_after_write: int | None = None
    """PADDOCK_CRASH_AFTER_WRITE: for the crash tests only."""
    instance: str = "paddock-operator"
    """HOSTNAME: the reporting instance of Events."""
    pod_uid: str | None = None
    """PADDOCK_POD_UID: makes the identity in the lease. A container that is restarted in its pod
    takes its own lease back at once; unset, every process is somebody else."""
    lease_duration_s: int = 15
    """PADDOCK_LEASE_DURATION_S: so long after a leader died without a word another takes over;
    a leader that cannot renew stops after two thirds of it."""


def from_env(env: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; raises SettingsError."""
    return Settings(
        namespace=_required(env, "PADDOCK_NAMESPACE", "the namespace the operator runs in"),
        runtime_image=_required(
            env, "PADDOCK_RUNTIME_IMAGE", "an image reference such as registry/paddock-runtime:1"
        ),
        sandbox_uid_base=_number(env, "PADDOCK_SANDBOX_UID_BASE", 200_000, 65_536, 2**31 - 100_000),
        http_port=_number(env, "PADDOCK_HTTP_PORT", 8080, 0, 65535),
        log_level=_choice(env, "PADDOCK_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        image_pull_policy=_choice(
            env, "PADDOCK_IMAGE_PULL_POLICY", "IfNotPresent", ("Always", "IfNotPresent", "Never")
        ),
        workers=_number(env, "PADDOCK_WORKERS", 8, 1, 256),
        kubeconfig=env.get("KUBECONFIG") or None,
        crash_after_write=_number(env, "PADDOCK_CRASH_AFTER_WRITE", 0, 0, 10**6) or None,
        instance=env.get("HOSTNAME") or "paddock-operator",
        pod_uid=env.get("PADDOCK_POD_UID") or None,
        lease_duration_s=_number(env, "PADDOCK_LEASE_DURATION_S", 15, 3, 300),
    )


def _required(env: Mapping[str, str], name: str, what: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set: it takes {what}.")
    return value


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    raw = env.get(name) or str(default)
    if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
        raise SettingsError(f"{name} is {raw!r}: it takes a whole number from {low} to {high}.")
    return int(raw)


def _choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name) or default
    if value not in allowed:
        raise SettingsError(f"{name} is {value!r}: it takes one of {', '.join(allowed)}.")
    return value
