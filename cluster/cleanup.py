"""Taking everything back: `down`, and the fresh start of an `up` that cannot repair what it found.

Nothing here relies on a component that still answers: it has to work on what a SIGKILL of
everything leaves behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from cluster import host, kubeapi, processes
from cluster.report import ClusterError, say
from cluster.settings import NODE_IP, Settings

#: Components in the order of ending, with the seconds for an orderly end. None for the API server:
#: after a SIGTERM it drains for a minute and keeps its port; etcd has every write that it answered.
ORDER = (
    ("kube-controller-manager", 3.0),
    ("kube-scheduler", 3.0),
    ("kubelet", 5.0),
    ("kube-proxy", 3.0),
    ("kube-apiserver", 0.0),
    ("etcd", 5.0),
    ("containerd", 5.0),
)


def exists(settings: Settings) -> bool:
    """Whether there is anything of this instance to take back."""
    return settings.run.exists() or settings.volatile.exists() or bool(processes.find(settings))


def delete_pods(settings: Settings, patience: float = 20.0) -> None:
    """Let the kubelet end all pods in order: volumes, networks and cgroups go with them.

    Only as far as that works; what remains is ended by force afterwards.
    """
    found = processes.running(processes.find(settings))
    if not {"kube-apiserver", "etcd", "kubelet", "containerd"} <= found.keys():
        return
    # Nobody may replace the pods that go.
    makers = ("kube-controller-manager", "kube-scheduler")
    processes.end(settings, [found[name] for name in makers if name in found], 3.0)
    try:
        api = kubeapi.Api(settings)
        pods = api.request("GET", "/api/v1/pods")["items"]
        spaces = {pod["metadata"]["namespace"] for pod in pods}
        for space in spaces:
            path = f"/api/v1/namespaces/{space}/pods?gracePeriodSeconds=1"
            api.request("DELETE", path)
    except (kubeapi.ApiError, OSError, ValueError, KeyError, TypeError) as error:
        say(f"pods are ended by force, the API server says: {error}")
        return
    # Not the objects' end, which a finalizer may hold up for ever, but the processes'.
    _wait(lambda: not host.pod_links() and not _pods(settings), patience)


def _pods(settings: Settings) -> list[processes.Process]:
    return [process for process in processes.find(settings) if process.component == "pod"]


def _wait(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def stop(settings: Settings) -> None:
    """End every process, the pods' last: nobody is left then to start another."""
    for name, grace in ORDER:
        mine = [p for p in processes.find(settings) if p.component == name and p.main]
        processes.end(settings, mine, grace)
    left: list[processes.Process] = []
    for _ in range(5):  # a shim that is just starting something may add a process meanwhile
        if not (left := processes.find(settings)):
            return
        processes.end(settings, left)
    if left := processes.find(settings):
        names = ", ".join(f"{process.pid} ({process.executable})" for process in left)
        raise ClusterError(f"processes that not even SIGKILL ends: {names}; reboot the machine")


def purge(settings: Settings, keep_logs: bool = False) -> None:
    """Take back all that the instance set on the machine, and delete its state."""
    stop(settings)
    unmount(settings)
    tables = [("ip", settings.network)]
    # Links, kube-proxy's tables and the address look alike for all instances.
    if not host.neighbour(settings):
        _remove_links()
        tables += [("ip", "kube-proxy"), ("ip6", "kube-proxy")]
        if any(address["local"] == NODE_IP for address in host.addresses()):
            host.try_run("ip", "addr", "del", f"{NODE_IP}/32", "dev", "lo")
    for family, name in tables:
        if host.has_table(family, name):
            host.try_run("nft", "delete", "table", family, name)
    for folder in host.cgroup_leftovers(settings):
        _remove_cgroup(folder)
    _remove_shared_files(settings)
    host.restore_kernel_settings(settings)
    if keep_logs and settings.logs.is_dir():
        kept = settings.cache / "log" / f"broken-{settings.name}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(settings.logs, kept)
    _remove_state(settings)


def unmount(settings: Settings) -> None:
    """Unmount everything below our folders; lazily where something still holds on to it."""
    folders = (settings.run, settings.volatile)
    for _ in range(3):  # a mount may have hidden another one
        for point in host.mounts_below(*folders):
            if host.try_run("umount", str(point)).returncode != 0:
                host.try_run("umount", "-l", str(point))
        if not host.mounts_below(*folders):
            return
    raise ClusterError(f"cannot unmount {host.mounts_below(*folders)[0]}; reboot the machine")


def _remove_links() -> None:
    """Wait for the links to go with their namespaces; remove those that do not."""
    if not _wait(lambda: not host.pod_links(), 3.0):
        for link in host.pod_links():
            host.try_run("ip", "link", "del", link)


def _remove_cgroup(folder: Path) -> None:
    def empty() -> bool:
        for parent, _, _ in os.walk(folder, topdown=False):
            # Busy until the kernel has let go of the last process.
            with contextlib.suppress(OSError):
                Path(parent).rmdir()
        return not folder.exists()

    _wait(empty, 5.0)


def _remove_shared_files(settings: Settings) -> None:
    """Remove our files in the few folders that all runtimes of a machine share."""
    results = Path("/var/lib/cni/results")
    for path in results.glob(f"{settings.network}-*"):
        path.unlink(missing_ok=True)
    logs = Path("/var/log/containers")
    for path in logs.glob("*.log"):
        if path.is_symlink() and path.readlink().is_relative_to(settings.run):
            path.unlink(missing_ok=True)
    # Only where they are empty, so that nothing of anybody else's can go.
    for folder in (results, results.parent, logs):
        with contextlib.suppress(OSError):
            folder.rmdir()
    if not host.others(settings):
        devices = Path("/var/lib/kubelet/device-plugins")
        for name in ("kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"):
            (devices / name).unlink(missing_ok=True)
        for folder in (devices, devices.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _remove_state(settings: Settings) -> None:
    if host.mounts_below(settings.run, settings.volatile):
        # Deleting through a mount could reach a folder that is not ours.
        raise ClusterError(f"something is mounted below {settings.run}: not deleted")
    for folder in (settings.run, settings.volatile):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise ClusterError(f"{folder} cannot be deleted")
        with contextlib.suppress(OSError):
            folder.parent.rmdir()
