"""Resource limits: that they hold, that they are inherited, that they are never weaker."""

import os
import resource
import signal
import tempfile
import time
from pathlib import Path

import pytest
from tests.runtime.confinement.harness import LIMITS, Sandbox

from paddock_runtime.confinement import ConfinementError, ResourceLimits
from paddock_runtime.confinement.rlimits import RLIMIT_LOCKS

MARK = LIMITS.locks_mark


def limits(**changes: int) -> ResourceLimits:
    values: dict[str, int | None] = {"processes": None, "cpu_seconds": None, "file_bytes": None}
    return ResourceLimits(**{**values, **changes}, locks_mark=MARK)  # type: ignore[arg-type]


def test_cpu_time_ends_with_sigxcpu_and_then_sigkill(sandbox: Sandbox) -> None:
    sandbox = sandbox.but(limits=limits(cpu_seconds=1))

    def spin(stubborn: bool) -> None:
        if stubborn:
            signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        while True:
            pass

    assert sandbox.run(lambda: spin(False)).word() == "killed by SIGXCPU"
    assert sandbox.run(lambda: spin(True)).word() == "killed by SIGKILL"
    assert sandbox.run(lambda: time.sleep(1.2)).word() == "ok"


@pytest.mark.skipif(os.getuid() != 0, reason="needs a uid with no other processes")
def test_processes(sandbox: Sandbox) -> None:
    def start(count: int) -> int:
        hold, release = os.pipe()
        pids = []
        try:
            for _ in range(count):
                pid = os.fork()
                if pid == 0:
                    os.close(release)
                    os.read(hold, 1)
                    os._exit(0)
                pids.append(pid)
        finally:
            os.close(release)
            for pid in pids:
                os.waitpid(pid, 0)
        return count

    # The harness's server and this child count as well.
    sandbox = sandbox.but(limits=limits(processes=5))
    assert sandbox.run(lambda: start(3)).value == 3
    assert sandbox.run(lambda: start(4)).word() == "EAGAIN"


def test_file_size(sandbox: Sandbox) -> None:
    sandbox = sandbox.but(limits=limits(file_bytes=1000))
    assert sandbox.run(lambda: Path("f").write_bytes(b"x" * 1000)).value == 1000
    assert sandbox.run(lambda: Path("g").write_bytes(b"x" * 1001)).word() == "EFBIG"
    assert sandbox.run(lambda: os.truncate("f", 1001)).word() == "EFBIG"


def test_descriptors(sandbox: Sandbox) -> None:
    def open_all(count: int) -> int:
        return len([os.open("/dev/null", os.O_RDONLY) for _ in range(count)])

    # A child begins with what this process has open.
    sandbox = sandbox.but(limits=limits(nofile=400))
    assert sandbox.run(lambda: open_all(60)).value == 60
    assert sandbox.run(lambda: open_all(400)).word() == "EMFILE"


def test_no_core_is_written_and_none_is_piped(sandbox: Sandbox) -> None:
    """1 and not 0: the one value that the kernel also respects for a core_pattern with a pipe."""
    assert sandbox.run(lambda: resource.getrlimit(resource.RLIMIT_CORE)).value == (1, 1)

    def crash() -> None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)

    assert sandbox.run(crash).word() == "killed by SIGSEGV"
    assert [path.name for path in sandbox.home.iterdir()] == ["file"]


def test_the_mark_survives_whatever_a_process_becomes(sandbox: Sandbox) -> None:
    source = """
import os, subprocess
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        subprocess.run(["grep", "locks", "/proc/self/limits"])
        os._exit(0)
    os.wait(); os._exit(0)
os.wait()
"""
    code, output = sandbox.script(source)
    assert (code, output.split()[-3:-1]) == (0, [str(MARK), str(MARK)])


def test_the_mark_cannot_be_changed_by_any_program(sandbox: Sandbox) -> None:
    def change() -> None:
        resource.setrlimit(RLIMIT_LOCKS, (1, 1))

    assert sandbox.run(change).word().startswith("ValueError: not allowed")
    assert sandbox.but(confined=False).run(change).word() == "ok"
    assert sandbox.run(lambda: resource.getrlimit(RLIMIT_LOCKS)).value == (MARK, MARK)


def test_a_stricter_limit_that_is_there_stays(sandbox: Sandbox) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 80))
        resource.setrlimit(resource.RLIMIT_CPU, (5, 6))

    sandbox = sandbox.but(in_server=lower, limits=limits(cpu_seconds=100))
    read = (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU)
    told = sandbox.run(lambda: [resource.getrlimit(which) for which in read])
    assert told.value == [(80, 80), (6, 6)]


def test_a_mark_that_does_not_fit_is_an_error(sandbox: Sandbox) -> None:
    sandbox = sandbox.but(in_server=lambda: resource.setrlimit(RLIMIT_LOCKS, (5, 5)))
    told = sandbox.run(lambda: None)
    assert told.word().startswith(f"{ConfinementError.__name__}: rlimits: ")


@pytest.mark.parametrize("name", ["processes", "cpu_seconds", "file_bytes", "nofile"])
def test_a_negative_limit_is_not_infinity(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        limits(**{name: -1})


def test_the_mark_must_be_one() -> None:
    with pytest.raises(ValueError, match="locks_mark"):
        ResourceLimits(None, None, None, locks_mark=0)


def test_the_standard_limits_are_not_in_the_way(sandbox: Sandbox) -> None:
    def work() -> int:
        with tempfile.TemporaryFile(dir=sandbox.home) as file:
            return file.write(b"x" * 1_000_000)

    assert sandbox.run(work).value == 1_000_000
