"""The cluster's life, with real kills: needs root, builds what is missing, takes minutes.

Run it by `pytest -m cluster_lifecycle tests/cluster`. It works beside the shared cluster.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.components import ORDER
from cluster.images import one_file_image
from cluster.processes import Process
from tests.cluster.machine import IMAGE, NAMESPACE, PROGRAM, Machine

pytestmark = [
    pytest.mark.cluster_lifecycle,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="starts containers, needs root"),
]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """An instance in a network of its own, which is gone afterwards, whatever happened."""
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    made = Machine()
    made.run("ip", "link", "set", "lo", "up")
    made.cluster("down")
    yield made
    made.cluster("down")
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


@pytest.fixture(scope="module")
def archive() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "work.c", Path(folder) / "work"
        source.write_text(PROGRAM)
        subprocess.run(["gcc", "-static", "-Os", "-o", program, source], check=True)
        file = Path(folder) / "work.tar"
        file.write_bytes(one_file_image(IMAGE, "work", program.read_bytes()))
        yield file


@pytest.fixture(scope="module")
def clean(machine: Machine) -> dict[str, list[str]]:
    """What the machine looks like without the cluster."""
    return machine.snapshot()


@pytest.fixture
def busy(machine: Machine, clean: dict[str, list[str]], archive: Path) -> Machine:
    """The instance, up and with two pods running."""
    machine.cluster("up")
    machine.cluster("load", str(archive))
    machine.deploy()
    return machine


def test_second_up_is_quick_and_changes_nothing(busy: Machine) -> None:
    before = busy.pids()
    files = {path: path.stat().st_mtime_ns for path in busy.settings.run.glob("*.*")}
    started = time.monotonic()
    done = busy.cluster("up")
    assert time.monotonic() - started < 2
    assert "nothing changed" in done.stderr
    assert busy.pids() == before
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert busy.cluster("status").returncode == 0


def test_second_load_does_nothing(busy: Machine, archive: Path) -> None:
    assert "already loaded" in busy.cluster("load", str(archive)).stderr


@pytest.mark.parametrize("component", ORDER)
def test_killed_component_comes_back_alone(busy: Machine, component: str) -> None:
    before, pods = busy.pids(), busy.pods()
    busy.kill(lambda process: process.component == component and process.main)
    assert busy.cluster("status", check=False).returncode == 1
    done = busy.cluster("up")
    assert f"started {component}" in done.stderr
    after = busy.pids()
    assert after.pop(component) != before.pop(component)
    if component == "etcd":  # the API server may have backed off from it, and is replaced then
        after.pop("kube-apiserver"), before.pop("kube-apiserver")
    assert after == before
    assert busy.pods() == pods
    busy.wait_for_work()


def test_stopped_component_is_replaced(busy: Machine) -> None:
    busy.kill(lambda p: p.component == "kube-scheduler" and p.main, signal.SIGSTOP)
    done = busy.cluster("up")
    assert "kube-scheduler: is not healthy" in done.stderr
    busy.cluster("status")


@pytest.mark.parametrize("survivors", ["shims and pods", "pods", "nothing"])
def test_everything_killed_at_once(busy: Machine, survivors: str) -> None:
    def dies(process: Process) -> bool:
        if process.component == "pod":
            return survivors == "nothing"
        return process.main or survivors != "shims and pods"

    busy.kill(dies)
    busy.cluster("up")
    busy.wait_for_work()
    busy.cluster("status")


def test_reboot(busy: Machine) -> None:
    """All processes, mounts, links and rules are gone; disks are as they were."""
    busy.kill(lambda process: True)
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split()[4]
        if point.startswith((str(busy.settings.run), str(busy.settings.volatile))):
            subprocess.run(["umount", "-l", point], check=True)
    busy.run("nft", "flush", "ruleset")
    busy.run("ip", "addr", "del", "10.203.0.1/32", "dev", "lo")
    (busy.settings.run / "boot-id").write_text("another boot\n")
    busy.cluster("up")
    busy.wait_for_work()


def test_destroyed_state_is_replaced(busy: Machine) -> None:
    busy.kill(lambda process: process.component == "etcd")
    shutil.rmtree(busy.settings.run / "etcd" / "member" / "wal")
    (busy.settings.run / "etcd" / "member" / "snap" / "db").write_bytes(b"no database" * 999)
    done = busy.cluster("up")
    assert "etcd: ended with status" in done.stderr
    assert "made anew" in done.stderr
    assert busy.pods() == {}


def test_interrupted_up_is_continued(busy: Machine) -> None:
    busy.cluster("down")
    for seconds in (0.3, 1.0, 2.0):
        child = busy.start("up")
        time.sleep(seconds)
        child.kill()
        child.wait()
    busy.cluster("up")
    busy.cluster("status")


def test_taken_port_is_named(busy: Machine) -> None:
    busy.kill(lambda process: process.component == "kube-scheduler")
    code = "import socket; s = socket.create_server(('127.0.0.1', 10259)); print('', flush=True); "
    command = [sys.executable, "-c", code + "import time; time.sleep(60)"]
    nsenter = ["nsenter", f"--net=/run/netns/{NAMESPACE}"]
    with subprocess.Popen([*nsenter, *command], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        done = busy.cluster("up", check=False)
        assert done.returncode == 1
        assert f"port 127.0.0.1:10259 is taken by process {other.pid}" in done.stderr
        assert other.poll() is None
        other.kill()
    busy.cluster("up")


def test_down_leaves_nothing(busy: Machine, clean: dict[str, list[str]], tmp_path: Path) -> None:
    # A process that is called like one of ours, and runs beside it, is none of our business.
    stranger = tmp_path / "etcd"
    shutil.copy("/bin/sleep", stranger)
    with subprocess.Popen([stranger, "300"]) as process:
        busy.cluster("down")
        assert process.poll() is None
        process.kill()
    assert busy.snapshot() == clean


@pytest.mark.parametrize("survivors", ["shims and pods", "pods", "nothing"])
def test_down_after_a_crash_leaves_nothing(
    busy: Machine, clean: dict[str, list[str]], survivors: str
) -> None:
    test_dies = {"shims and pods": (True, False, False), "pods": (True, True, False)}
    mains, shims, pods = test_dies.get(survivors, (True, True, True))
    busy.kill(lambda p: pods if p.component == "pod" else (mains if p.main else shims))
    busy.cluster("down")
    assert busy.snapshot() == clean


def test_down_twice(machine: Machine, clean: dict[str, list[str]]) -> None:
    machine.cluster("down")
    assert "nothing to take down" in machine.cluster("down").stderr
    assert machine.snapshot() == clean


def test_strangers_network_is_refused(machine: Machine) -> None:
    machine.run("ip", "link", "add", "other", "type", "veth", "peer", "name", "other-peer")
    machine.run("ip", "addr", "add", "10.244.7.1/24", "dev", "other")
    done = machine.cluster("up", check=False)
    assert done.returncode == 1
    assert "other has 10.244.7.0/24" in done.stderr
    machine.run("ip", "link", "del", "other")
    machine.cluster("down")


def test_two_instances_in_one_network_keep_apart(busy: Machine) -> None:
    other = Machine("lifecycle-2")
    done = other.cluster("up", check=False)
    assert done.returncode == 1
    assert f"the cluster in {busy.settings.run} runs in this network already" in done.stderr
    other.cluster("down")
    busy.cluster("status")
    assert "nothing changed" in busy.cluster("up").stderr
