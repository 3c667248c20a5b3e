"""Pod Security Standards, level `restricted` (and a few things stricter), as a checker."""

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def violations(pod: Mapping[str, Any]) -> Iterator[str]:
    """Every field of a Pod manifest that the level `restricted` does not allow."""
    spec = pod["spec"]
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"spec.{name}"
    if spec.get("hostUsers") is True or spec.get("hostname") or spec.get("hostAliases"):
        yield "spec.host*"
    for volume in spec.get("volumes", ()):
        if set(volume) - {"name"} - _VOLUMES:
            yield f"volume {volume}"
    shared = spec.get("securityContext", {})
    if set(shared.get("sysctls", ())):
        yield "sysctls"
    if shared.get("runAsUser") == 0 or shared.get("supplementalGroups"):
        yield "pod user or groups"
    yield from _profiles(shared, "pod")
    everyone = [
        *spec.get("containers", ()),
        *spec.get("initContainers", ()),
        *spec.get("ephemeralContainers", ()),
    ]
    if not everyone:
        yield "no containers"
    for container in everyone:
        yield from _container(container, shared)


def _container(container: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[str]:
    name = container["name"]
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield f"{name} privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} allowPrivilegeEscalation"
    capabilities = own.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", ())):
        yield f"{name} capabilities"
    if own.get("procMount", "Default") != "Default":
        yield f"{name} procMount"
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield f"{name} runAsNonRoot"
    for field in ("runAsUser", "runAsGroup"):
        if not own.get(field):
            yield f"{name} {field}"
    profile = own.get("seccompProfile", shared.get("seccompProfile", {}))
    if profile.get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{name} seccompProfile"
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"{name} readOnlyRootFilesystem"
    for port in container.get("ports", ()):
        if port.get("hostPort"):
            yield f"{name} hostPort"
    for hook in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if "host" in str(container.get(hook, "")):
            yield f"{name} {hook} host"
    yield from _profiles(own, name)


def _profiles(context: Mapping[str, Any], where: str) -> Iterator[str]:
    if context.get("seccompProfile", {}).get("type") == "Unconfined":
        yield f"{where} seccomp"
    if context.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield f"{where} AppArmor"
    if set(context.get("seLinuxOptions", {})) & {"user", "role"}:
        yield f"{where} SELinux"
    if context.get("windowsOptions"):
        yield f"{where} Windows"
