"""Helpers of the lifecycle tests: an instance in a network namespace of its own, and snapshots.

The instance has another name, cgroup and state folder than the shared cluster and cannot see its
network, so it may be killed and rebuilt while others use theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster import builds, processes, settings

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "paddock-lifecycle"
IMAGE = "localhost/paddock-lifecycle:1"
#: Serves nothing, prints a line, lives until it is told to end.
PROGRAM = """\
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static void leave(int number) { (void)number; _exit(0); }
int main(void) {
  signal(SIGTERM, leave);
  puts("started");
  fflush(stdout);
  for (;;) pause();
}
"""
WORKLOAD: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "work"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "work"}},
        "template": {
            "metadata": {"labels": {"app": "work"}, "finalizers": ["paddock.dev/stuck"]},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "work",
                        "image": IMAGE,
                        "imagePullPolicy": "Never",
                        "resources": {"limits": {"cpu": "50m", "memory": "16Mi"}},
                        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
                    }
                ],
                "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
            },
        },
    },
}


class Machine:
    """The instance under test."""

    def __init__(self, name: str = "lifecycle") -> None:
        environ = {**os.environ, "PADDOCK_CLUSTER_NAME": name, "PADDOCK_CLUSTER": "local"}
        environ.pop("KUBECONFIG", None)
        self.environ = environ
        self.settings = settings.from_environment(environ)

    def run(
        self, *command: str, check: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the instance's network."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{NAMESPACE}", *command],
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def cluster(self, *verb: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, str(REPOSITORY / "cluster"), *verb, check=check)

    def start(self, *verb: str) -> subprocess.Popen[bytes]:
        """Start a verb without waiting for it."""
        command = ["nsenter", f"--net=/run/netns/{NAMESPACE}", sys.executable]
        return subprocess.Popen(
            [*command, str(REPOSITORY / "cluster"), *verb],
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        program = builds.bin_folder(self.settings) / "kubectl"
        file = f"--kubeconfig={self.settings.kubeconfig}"
        return self.run(str(program), file, *arguments, text=text).stdout

    def pids(self) -> dict[str, int]:
        """Return the pid of every component."""
        found = processes.running(processes.find(self.settings))
        return {name: process.pid for name, process in found.items()}

    def kill(
        self, wanted: Callable[[processes.Process], bool], number: int = signal.SIGKILL
    ) -> None:
        """Signal the instance's own processes that are wanted."""
        for process in processes.find(self.settings):
            if wanted(process):
                processes.send(self.settings, process, number)
        if number == signal.SIGKILL:
            wait(lambda: not any(wanted(p) for p in processes.find(self.settings)), 10)

    def deploy(self) -> None:
        """Run two pods, with a finalizer that nobody ever removes, and wait for them."""
        self.kubectl("apply", "-f", "-", text=json.dumps(WORKLOAD))
        self.wait_for_work()

    def wait_for_work(self) -> None:
        """Wait until two pods really run: seen on the machine, not only in a status."""
        wait(lambda: len(self.containers()) == 2 and self.work_is_available(), 90)

    def work_is_available(self) -> bool:
        path = "jsonpath={.status.availableReplicas}/{.metadata.generation}"
        return self.kubectl("get", "deployment", "work", "-o", path).startswith("2/")

    def containers(self) -> list[processes.Process]:
        found = processes.find(self.settings)
        return [p for p in found if p.component == "pod" and p.executable.endswith("/work")]

    def pods(self) -> dict[str, str]:
        """Return name -> uid of the pods that are not being deleted."""
        items = json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]
        living = [pod["metadata"] for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return {meta["name"]: meta["uid"] for meta in living}

    def snapshot(self) -> dict[str, list[str]]:
        """Return all that an instance could leave behind, found without the tool's own eyes."""
        here = self.settings
        ours = (str(here.run), str(here.volatile), here.cgroup.lstrip("/"))
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        results = Path("/var/lib/cni")
        logs = Path("/var/log/containers")
        links = [p for p in logs.glob("*") if str(p.readlink()).startswith(ours)]
        return {
            "addresses": sorted(self.run("ip", "-br", "addr").stdout.split("\n")),
            "routes": self.run("ip", "route", "show", "table", "all").stdout.splitlines(),
            "nft": self.run("nft", "list", "ruleset").stdout.splitlines(),
            "iptables": _rules(self, "iptables-save") + _rules(self, "ip6tables-save"),
            "forwarding": [self.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout],
            "mounts": [line for line in mounts if any(mine in line for mine in ours)],
            "namespaces": sorted(p.name for p in Path("/run/netns").iterdir()),
            "processes": _processes(ours),
            "cgroups": [str(p) for p in Path("/sys/fs/cgroup").glob(f"**/{ours[2]}*")],
            "cni": [str(p) for p in results.glob("**/*") if here.network in p.name],
            "links": [str(p) for p in links],
            "folders": [str(p) for p in (here.run, here.volatile) if p.exists()],
        }


def _rules(machine: Machine, command: str) -> list[str]:
    try:
        lines = machine.run(command, check=False).stdout.splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if not line.startswith("#")]


def _processes(ours: tuple[str, ...]) -> list[str]:
    """Processes in the instance's network, in its cgroup, or with its paths in their command."""
    inode = Path(f"/run/netns/{NAMESPACE}").stat().st_ino
    found = []
    for pid in processes.all_pids():
        folder = Path("/proc") / str(pid)
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
            if not command:
                continue  # a zombie or a kernel thread
            cgroups = (folder / "cgroup").read_text()
            network = (folder / "ns/net").stat().st_ino == inode
            if network or any(mine in command or mine in cgroups for mine in ours):
                found.append(f"{pid} {command}")
    return found


def wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not come true within {seconds} s: {condition}"
        time.sleep(0.1)
