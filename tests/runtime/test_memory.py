"""Memory in a real cgroup: the kernel's kills and the watchdog's, and the loss of PID 1.

Needs root and a memory controller of cgroup version 1, which the build machine has; real pods
are covered by e2e.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.cgroups import can_limit_memory, memory_cgroup
from tests.runtime.pod import Pod, text
from tests.runtime.waiting import eventually

LIMIT = 128 << 20
pytestmark = pytest.mark.skipif(
    not can_limit_memory(),
    reason="needs root and a writable memory cgroup (v1)",
)


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path]:
    with memory_cgroup(LIMIT) as made:
        yield made


@pytest.fixture(scope="module")
def small(cgroup: Path) -> Iterator[Pod]:
    with Pod(cgroup=cgroup, limits={"memoryBytes": LIMIT}) as made:
        yield made


def test_the_kernel_s_kill_is_a_memory_limit(small: Pod) -> None:
    ended = small.python("print('x', flush=True); x = bytearray(600 << 20)")
    assert (ended["reason"], text(ended)) == ("MemoryLimit", "x\n")
    assert small.python("print(1)")["exitCode"] == 0


def test_a_kill_that_is_not_for_memory_is_none(small: Pod) -> None:
    ended = small.bash("kill -9 $$")
    assert (ended["reason"], ended["signal"], ended["oomKills"]) == ("Signaled", "SIGKILL", 0)


def test_slow_growth_is_ended_by_the_watchdog(small: Pod) -> None:
    program = """
import time
print('begun')
hoard = []
while True:
    hoard.append(b'x' * (1 << 18)); time.sleep(0.002)
"""
    ended = small.python(program)
    assert (ended["reason"], text(ended)) == ("MemoryLimit", "begun\n")
    assert "at its memory limit of 134217728 bytes" in ended["message"]
    assert ended["oomKills"] == 0


def test_only_the_largest_is_ended(small: Pod) -> None:
    innocent = small.submit(language="python", code="import time; time.sleep(1.5); print('fine')")
    program = "import time\nx = []\nwhile True: x.append(b'x' * (1 << 18)); time.sleep(0.002)"
    assert small.python(program)["reason"] == "MemoryLimit"
    assert text(small.get(innocent["id"], "?wait=5s")) == "fine\n"


def test_what_forked_processes_share_is_counted_once(small: Pod) -> None:
    """Together they show more than there is, and hold a tenth of it."""
    program = """
import os, time
ballast = bytearray(10 << 20)
for _ in range(30):
    if os.fork() == 0:
        time.sleep(60); os._exit(0)
print('forked', flush=True)
while not os.path.exists('stop'): time.sleep(0.02)
print('fine', flush=True); os._exit(0)
"""
    innocent = small.submit(language="python", code=program)
    eventually(lambda: text(small.get(innocent["id"])) == "forked\n", "forked")
    grows = "import time\nx = []\nwhile True: x.append(b'x' * (1 << 18)); time.sleep(0.002)"
    assert small.python(grows)["reason"] == "MemoryLimit"
    small.exchange("PUT", "/v1/files/stop", raw=b"")
    assert text(small.get(innocent["id"], "?wait=20s")) == "forked\nfine\n"


def test_who_ends_its_first_thread_does_not_hide_what_it_holds(small: Pod) -> None:
    innocent = small.submit(language="python", code="import time; time.sleep(3); print('fine')")
    program = """
import ctypes, threading, time
def grow():
    x = []
    while True: x.append(b'x' * (1 << 18)); time.sleep(0.004)
threading.Thread(target=grow).start()
ctypes.CDLL(None).syscall(60, 0)
"""
    assert small.python(program)["reason"] == "MemoryLimit"
    assert text(small.get(innocent["id"], "?wait=5s")) == "fine\n"


def test_file_cache_is_not_memory(small: Pod) -> None:
    ended = small.bash("head -c 300M /dev/zero > cached; cat cached | wc -c; rm cached")
    assert (ended["reason"], text(ended)) == ("Exited", "314572800\n")


def test_a_grandchild_s_death_is_told_but_is_not_the_reason(small: Pod) -> None:
    ended = small.bash("/usr/bin/python3 -c 'x = bytearray(600 << 20)'; echo code $?")
    if ended["reason"] == "MemoryLimit":  # the watchdog looked just when the kernel acted
        assert "stood at its memory limit" in ended["message"]
        assert ended["oomKills"] <= 1  # both may have: the grandchild first, then all of it
        return
    assert (ended["reason"], text(ended)) == ("Exited", "code 137\n")
    assert ended["oomKills"] >= 1


def test_unbounded_recursion(small: Pod) -> None:
    program = "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()"
    assert small.python(program)["reason"] in ("MemoryLimit", "Signaled")
    assert small.python("print(1)")["exitCode"] == 0


def test_the_workspace_dies_of_it(cgroup: Path) -> None:
    with Pod(cgroup=cgroup, limits={"memoryBytes": LIMIT}) as pod:
        before = pod.fork_server()
        Path(f"/proc/{before}/oom_score_adj").write_text("1000")
        started = pod.submit(language="bash", code="sleep 60")
        time.sleep(0.1)
        # As if the kernel had chosen the fork server: it counts a kill, then it is gone.
        assert pod.python("x = bytearray(600 << 20)")["reason"] == "MemoryLimit"
        os.kill(before, 9)
        lost = pod.get(started["id"], "?wait=5s")
        assert lost["reason"] == "MemoryLimit"
        assert lost["oomKills"] >= 1
        pod.wait_ready()
        assert pod.fork_server() != before
        assert pod.python("print(1)")["exitCode"] == 0
