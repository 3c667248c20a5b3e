"""What `up` sets on the machine itself: an address, a firewall table, cgroups, kernel settings.

Each is set only where it is missing, and cleanup.py takes each back.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cluster import config, packages, processes
from cluster.report import ClusterError
from cluster.settings import (
    NODE_IP,
    POD_CIDR,
    POD_GATEWAY,
    PORTS,
    SERVICE_CIDR,
    Settings,
)

#: What the kubelet and the ptp plugin set, by its path under /proc/sys, and the value they give.
#: Values of the network belong to its namespace; the others are the machine's.
KERNEL_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def run(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a system command that is expected to work."""
    done = try_run(*command, text=text)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-800:]}")
    return done


def try_run(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        env={**os.environ, "PATH": packages.search_path(), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError("the local cluster runs containers on this machine: run it as root")


def addresses() -> list[dict[str, Any]]:
    """Return all addresses of this machine with their interfaces' names."""
    links = json.loads(run("ip", "-j", "-4", "addr", "show").stdout or "[]")
    return [
        {"link": link["ifname"], "local": address["local"], "prefix": address["prefixlen"]}
        for link in links
        if "ifname" in link
        for address in link.get("addr_info", [])
    ]


def conflicts(found: Iterable[dict[str, Any]]) -> list[str]:
    """Say which of the machine's networks are in the way of the cluster's."""
    ranges = [ipaddress.ip_network(text) for text in (POD_CIDR, SERVICE_CIDR, f"{NODE_IP}/32")]
    problems = []
    for address in found:
        if address["local"] in (NODE_IP, POD_GATEWAY):
            continue  # ours: the node's own address, and the host's end of every pod's link
        network = ipaddress.ip_network(f"{address['local']}/{address['prefix']}", strict=False)
        for mine in ranges:
            if network.overlaps(mine):
                problems.append(f"{address['link']} has {network}, the cluster uses {mine}")
    return problems


def prepare(settings: Settings) -> None:
    """Set what is missing."""
    if other := neighbour(settings):
        raise ClusterError(
            f"the cluster in {other} runs in this network already: take it down first, or run "
            "this one in a network namespace of its own"
        )
    _forget_last_boot(settings)
    for folder in (settings.run, settings.volatile, settings.volatile / "s"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    remember_kernel_settings(settings)
    found = addresses()
    if problems := conflicts(found):
        raise ClusterError("this machine's networks overlap with the cluster's: " + problems[0])
    if all(address["local"] != NODE_IP for address in found):
        run("ip", "addr", "add", f"{NODE_IP}/32", "dev", "lo", "label", "lo:paddock")
        run("ip", "link", "set", "lo", "up")
    if not has_table("ip", settings.network):
        run("nft", "-f", "-", text=config.firewall(settings))
    for folder in cgroup_folders(settings):
        folder.mkdir(exist_ok=True)


def neighbour(settings: Settings) -> str:
    """Return the state folder of another instance that uses this network; "" for none."""
    return next((run for run in processes.neighbours() if run != str(settings.run)), "")


def _forget_last_boot(settings: Settings) -> None:
    """Drop sockets and runtime state of an earlier boot, where /run is not a tmpfs."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    record = settings.run / "boot-id"
    if record.is_file() and record.read_text() != boot and not mounts_below(settings.volatile):
        shutil.rmtree(settings.volatile, ignore_errors=True)
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not record.is_file() or record.read_text() != boot:
        record.write_text(boot)


def has_table(family: str, name: str) -> bool:
    return try_run("nft", "list", "table", family, name).returncode == 0


def cgroup_folders(settings: Settings) -> list[Path]:
    """Our cgroup in every hierarchy that can limit: all of version 1's, or the one of version 2."""
    version1, version2 = _cgroup_roots()
    return [root / settings.cgroup.lstrip("/") for root in version1 or version2]


def cgroup_leftovers(settings: Settings) -> list[Path]:
    """The same and the one of version 2 beside version 1's, where runc leaves folders too."""
    version1, version2 = _cgroup_roots()
    return [root / settings.cgroup.lstrip("/") for root in (*version1, *version2)]


def _cgroup_roots() -> tuple[list[Path], list[Path]]:
    kinds: dict[str, list[Path]] = {"cgroup": [], "cgroup2": []}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, where = rest.split()[0], Path(unescape(fields.split()[4]))
        if kind in kinds and where.is_relative_to("/sys/fs/cgroup"):
            kinds[kind].append(where)
    return list(dict.fromkeys(kinds["cgroup"])), list(dict.fromkeys(kinds["cgroup2"]))


def unescape(text: str) -> str:
    r"""Undo mountinfo's escapes (`\040` is a space)."""
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape")


def mounts_below(*folders: Path) -> list[Path]:
    """Return mount points at or under the folders, the innermost and latest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(unescape(line.split()[4])) for line in lines]
    return [point for point in reversed(points) if any(point.is_relative_to(f) for f in folders)]


def others(settings: Settings) -> list[Path]:
    """Return the state folders of other instances."""
    parent = settings.run.parent
    if not parent.is_dir():
        return []
    return [path for path in parent.iterdir() if path.is_dir() and path != settings.run]


def remember_kernel_settings(settings: Settings) -> None:
    """Note the values from before the cluster, once; those of another instance's notes count."""
    record = settings.run / "kernel-settings.json"
    if record.is_file():
        return
    values = {name: _kernel_setting(name) for name in KERNEL_SETTINGS}
    for other in others(settings):
        note = other / record.name
        if note.is_file():
            earlier = json.loads(note.read_text())
            values |= {k: v for k, v in earlier.items() if not k.startswith("net/")}
    record.write_text(json.dumps(values))


def _kernel_setting(name: str) -> str:
    try:
        return (Path("/proc/sys") / name).read_text().strip()
    except OSError:
        return ""


def restore_kernel_settings(settings: Settings) -> None:
    """Put back what still has the value that the cluster gave it."""
    record = settings.run / "kernel-settings.json"
    if not record.is_file():
        return
    now = {name: _kernel_setting(name) for name in KERNEL_SETTINGS}
    back = to_restore(
        json.loads(record.read_text()),
        now,
        network_is_mine=not neighbour(settings),
        machine_is_mine=not others(settings),
    )
    for name, value in back.items():
        (Path("/proc/sys") / name).write_text(value)


def to_restore(
    saved: Mapping[str, str], now: Mapping[str, str], network_is_mine: bool, machine_is_mine: bool
) -> dict[str, str]:
    """Return the values to put back: not those that somebody else changed, or still needs."""
    back = {}
    for name, ours in KERNEL_SETTINGS.items():
        mine = network_is_mine if name.startswith("net/") else machine_is_mine
        before = saved.get(name, "")
        if mine and before not in ("", ours) and now.get(name) == ours:
            back[name] = before
    return back


def pod_links() -> list[str]:
    """Return the host's ends of the pods' links: those that carry the pods' gateway address."""
    return sorted({a["link"] for a in addresses() if a["local"] == POD_GATEWAY})


def require_free_ports(component: str, patience: float = 3.0) -> None:
    """Refuse to start where somebody else listens, and say who.

    With some patience: a process of ours that was killed just now may still be on its way out.
    """
    deadline = time.monotonic() + patience
    for host, port in PORTS[component]:
        while reason := _port_problem(host, port):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{component}: port {host}:{port} is taken by {_listener(port)} ({reason}); "
                    "stop that process, then run the same command again"
                )
            time.sleep(0.05)


def _port_problem(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _listener(port: int) -> str:
    """Name the process that listens on a TCP port, for an error message."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in processes.all_pids():
        folder = Path("/proc") / str(pid)
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in inodes for link in (folder / "fd").iterdir()):
                command = (folder / "cmdline").read_text().replace("\0", " ")
                return f"process {pid} ({command.strip()[:120]})"
    return "another process"
