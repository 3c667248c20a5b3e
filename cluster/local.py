"""The cluster on this machine: bring it up from whatever state it is in, take it down, tell."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from cluster import builds, cleanup, host, images, kubeapi, packages, pki, processes
from cluster.components import ORDER, Component, components, files
from cluster.report import ClusterError, ComponentError, duration, say
from cluster.settings import NODE_NAME, Settings

#: Started together, once all earlier ones answer.
STAGES = (
    ("etcd", "containerd"),
    ("kube-apiserver",),
    ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
)
#: Seconds for a start; a busy CI machine takes several times what a quiet one does.
START_PATIENCE = 90.0
#: Seconds for one that is there to answer, before it is taken for stuck.
HEALTH_PATIENCE = 10.0
#: After a restart of etcd, which the API server may have backed off from for up to two minutes:
#: starting it again is quicker than waiting for it.
RECONNECT_PATIENCE = 3.0

#: Without it kube-proxy may not read Services; everybody else has a role from the start.
PROXY_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "paddock-cluster:kube-proxy"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:node-proxier",
    },
    "subjects": [
        {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": "system:kube-proxy",
        }
    ],
}


def up(settings: Settings) -> None:
    """Make the cluster healthy, with as little change as that takes."""
    host.require_root()
    with builds.locked(settings.lock, "changing this cluster"):
        packages.ensure_packages(packages.RUN_COMMANDS)
        binaries = builds.ensure_built(settings)
        started = time.monotonic()
        try:
            changed = _converge(settings, binaries)
        except ComponentError as error:
            say(f"{error}\nthis state is beyond repair: it is deleted, and the cluster made anew")
            cleanup.purge(settings, keep_logs=True)
            changed = _converge(settings, binaries)
        what = f"started {', '.join(changed)}" if changed else "already up, nothing changed"
        say(f"cluster {settings.name}: node Ready, {what}: {duration(time.monotonic() - started)}")


def _plan(settings: Settings, binaries: Path) -> tuple[list[Component], dict[Path, str]]:
    recipes = builds.recipes(settings)
    cni_bin = builds.build_folder(settings, recipes["cni"])
    # Resolved, since /sbin may be a link to /usr/sbin and callers' PATHs differ in their order.
    runc = str(Path(packages.which("runc") or "runc").resolve())
    texts = files(settings, runc, cni_bin)
    return components(settings, binaries, texts), texts


def _converge(settings: Settings, binaries: Path) -> list[str]:
    """Start or restart what is not as it should be; return the names of what was started."""
    host.prepare(settings)
    pki.ensure_pki(settings)
    plan, texts = _plan(settings, binaries)
    for path, text in texts.items():
        _write(path, text)
    by_name = {component.name: component for component in plan}
    api = kubeapi.Api(settings)
    changed: list[str] = []
    heartbeat = None
    for stage in STAGES:
        if "kubelet" in stage:
            _ensure_proxy_binding(settings, api)
            heartbeat = api.node_condition().get("lastHeartbeatTime")
        patience = RECONNECT_PATIENCE if "etcd" in changed else HEALTH_PATIENCE
        changed += _converge_stage(settings, [by_name[name] for name in stage], patience)
        if "containerd" in stage:
            images.ensure_pause(settings)
    # A node that was Ready before its kubelet's restart says so until the new one has spoken.
    stale = heartbeat if "kubelet" in changed else None
    _wait_for_node(settings, api, stale)
    return changed


def _write(path: Path, text: str) -> None:
    if path.is_file() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.rename(path)


def _ensure_proxy_binding(settings: Settings, api: kubeapi.Api) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while True:
        try:
            api.ensure("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", PROXY_BINDING)
            return
        except kubeapi.ApiError as error:
            if time.monotonic() > deadline:
                log = settings.logs / "kube-apiserver.log"
                raise ComponentError("kube-apiserver", f"refuses a write: {error}", log) from error
        time.sleep(0.1)


def _converge_stage(settings: Settings, stage: Iterable[Component], patience: float) -> list[str]:
    found = processes.find(settings)
    present = processes.running(found)
    launched: dict[str, subprocess.Popen[bytes]] = {}
    for component in stage:
        process = present.get(component.name)
        if process is not None:
            reason = _unfit(settings, component, process, patience)
            if not reason:
                continue
            say(f"{component.name}: {reason}: restarting it")
            same = [p for p in found if p.component == component.name and p.main]
            if processes.end(settings, same, 0.0):
                raise ComponentError(component.name, f"process {process.pid} cannot be ended")
        host.require_free_ports(component.name)
        launched[component.name] = processes.start(settings, component)
    deadline = time.monotonic() + START_PATIENCE
    for name, child in launched.items():
        _wait_for_start(settings, name, child, deadline)
    return list(launched)


def _unfit(
    settings: Settings, component: Component, process: processes.Process, patience: float
) -> str:
    """Say why a running component has to be restarted; "" when it need not be."""
    if process.spec != component.spec:
        return "its version or configuration changed"
    deadline = time.monotonic() + patience
    while problem := kubeapi.problem(settings, component.name, timeout=patience):
        if time.monotonic() > deadline:
            return f"is not healthy ({problem})"
        time.sleep(0.2)
    return ""


def _wait_for_start(
    settings: Settings, name: str, child: subprocess.Popen[bytes], deadline: float
) -> None:
    log = settings.logs / f"{name}.log"
    way_out = "python3 cluster down, then up; if that does not help, the log says why"
    while problem := kubeapi.problem(settings, name):
        if child.poll() is not None:
            raise ComponentError(name, f"ended with status {child.returncode}", log, way_out)
        if time.monotonic() > deadline:
            raise ComponentError(name, f"does not become healthy ({problem})", log, way_out)
        time.sleep(0.05)


def _wait_for_node(settings: Settings, api: kubeapi.Api, stale: str | None) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while True:
        condition = api.node_condition()
        fresh = stale is None or condition.get("lastHeartbeatTime") != stale
        if condition.get("status") == "True" and fresh and api.has_default_service_account():
            return
        if time.monotonic() > deadline:
            message = condition.get("message", "it is not registered")
            log = settings.logs / "kubelet.log"
            raise ComponentError("kubelet", f"node {NODE_NAME} is not Ready: {message}", log)
        time.sleep(0.05)


def down(settings: Settings) -> None:
    """Take everything back but the builds."""
    with builds.locked(settings.lock, "changing this cluster"):
        if not cleanup.exists(settings):
            say(f"cluster {settings.name}: not there, nothing to take down")
            return
        host.require_root()
        started = time.monotonic()
        cleanup.delete_pods(settings)
        cleanup.purge(settings)
        say(f"cluster {settings.name}: taken down: {duration(time.monotonic() - started)}")


def require_up(settings: Settings) -> None:
    if not settings.kubeconfig.is_file():
        raise ClusterError(f"cluster {settings.name} is not up: run `python3 cluster up`")


def status(settings: Settings) -> bool:
    """Print a line for each component; return whether all are well."""
    found = processes.running(processes.find(settings))
    well, answers = settings.pki.is_dir(), False
    for name in ORDER:
        process = found.get(name)
        problem = kubeapi.problem(settings, name) if process else ""
        well = well and process is not None and not problem
        state = "not running" if process is None else (problem or "healthy")
        print(f"{name:<25}{state}{f' (process {process.pid})' if process else ''}")
        if name == "kube-apiserver":
            answers = process is not None and not problem
    condition = kubeapi.Api(settings).node_condition() if answers else {}
    well = well and condition.get("status") == "True"
    text = "Ready" if condition.get("status") == "True" else condition.get("message", "unknown")
    print(f"{'node ' + NODE_NAME:<25}{text}")
    return well
