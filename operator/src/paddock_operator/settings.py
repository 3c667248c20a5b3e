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
    """PADDOCK_SANDBOX_UID_BASE: workspaces run as this uid plus the lowest free number."""
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


def from_env(env: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; raises SettingsError."""
    return Settings(
        namespace=_required(env, "PADDOCK_NAMESPACE", "the namespace the operator runs in"),
        runtime_image=_required(
            env, "PADDOCK_RUNTIME_IMAGE", "an image reference such as registry/paddock-runtime:1"
        ),
        sandbox_uid_base=_number(env, "PADDOCK_SANDBOX_UID_BASE", 200_000, 1000, 2**31 - 100_000),
        http_port=_number(env, "PADDOCK_HTTP_PORT", 8080, 0, 65535),
        log_level=_choice(env, "PADDOCK_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        image_pull_policy=_choice(
            env, "PADDOCK_IMAGE_PULL_POLICY", "IfNotPresent", ("Always", "IfNotPresent", "Never")
        ),
        workers=_number(env, "PADDOCK_WORKERS", 8, 1, 256),
        kubeconfig=env.get("KUBECONFIG") or None,
        crash_after_write=_number(env, "PADDOCK_CRASH_AFTER_WRITE", 0, 0, 10**6) or None,
        instance=env.get("HOSTNAME") or "paddock-operator",
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
