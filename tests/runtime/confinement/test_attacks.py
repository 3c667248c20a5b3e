"""What user code tries, each attempt beside the same one unconfined."""

import ctypes
import encodings.idna  # noqa: F401 - cannot be found any more as another user
import errno
import fcntl
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import termios
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.confinement.harness import Sandbox, raw

from paddock_runtime import confinement
from paddock_runtime.confinement import landlock, probe
from paddock_runtime.confinement.syscalls import NUMBERS

X86 = platform.machine() == "x86_64"
CONFINED = probe()
pytestmark = pytest.mark.skipif(
    not CONFINED["landlockAbi"] or not CONFINED["seccompFilter"],
    reason=f"this machine cannot confine: {CONFINED['degraded']}",
)
SIGCHLD = int(signal.SIGCHLD)
ABSTRACT = f"\0paddock-test-{os.getpid()}"


def call(name: str, *arguments: int) -> int:
    numbers = NUMBERS[name]
    number = numbers[0 if X86 else 1]
    assert number is not None
    return raw(number, *arguments)


def clone(flags: int) -> None:
    if call("clone", flags, 0, 0, 0, 0) == 0:
        os._exit(0)


def read_server_memory() -> bytes:
    """The first bytes of the server's heap, by /proc."""
    with Path(f"/proc/{os.getppid()}/mem").open("rb", buffering=0) as memory:
        memory.seek(id(read_server_memory))  # forked, so the same address is mapped there
        return memory.read(8)


def process_vm_readv() -> int:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("QQ", ctypes.addressof(buffer), 8)
    remote = struct.pack("QQ", id(read_server_memory), 8)
    vectors = [ctypes.create_string_buffer(v, 16) for v in (local, remote)]
    a, b = map(ctypes.addressof, vectors)
    return call("process_vm_readv", os.getppid(), a, 1, b, 1, 0)


def shared_memory() -> None:
    segment = call("shmget", 0, 4096, 0o1600)
    call("shmctl", segment, 0, 0)


def semaphore() -> None:
    call("semctl", call("semget", 0, 1, 0o1600), 0, 0, 0)


def message_queue() -> None:
    call("msgctl", call("msgget", 0, 0o1600), 0, 0)


def connect_abstract() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(ABSTRACT)


def listen_abstract() -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(ABSTRACT)
    server.listen()
    return server


def type_into_terminal() -> None:
    _, other = os.openpty()
    os.setsid()
    fcntl.ioctl(other, termios.TIOCSCTTY, 0)
    try:
        fcntl.ioctl(other, termios.TIOCSTI, b"x")
    except OSError as error:
        if error.errno != errno.EIO:  # newer kernels refuse it themselves, with EIO
            raise


def lower_own_mark() -> None:
    limits = struct.pack("QQ", 5, 5)
    call("prlimit64", 0, 10, ctypes.addressof(ctypes.create_string_buffer(limits, 16)), 0)


def prlimit_server() -> None:
    limits = struct.pack("QQ", 5, 5)
    pointer = ctypes.create_string_buffer(limits, 16)
    call("prlimit64", os.getppid(), resource.RLIMIT_CORE, ctypes.addressof(pointer), 0)


def signal_by_pidfd() -> None:
    signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)


# name: (attempt, what confined code must see). Unconfined, each of them must go another way.
ATTACKS: dict[str, tuple[Callable[[], Any], str]] = {
    "internet socket": (lambda: socket.socket().close(), "EACCES"),
    "internet socket, v6": (lambda: socket.socket(socket.AF_INET6).close(), "EACCES"),
    "netlink socket": (lambda: socket.socket(16, socket.SOCK_RAW).close(), "EACCES"),
    "packet socket": (lambda: socket.socket(17, socket.SOCK_RAW).close(), "EACCES"),
    "kernel crypto socket": (lambda: socket.socket(38, socket.SOCK_SEQPACKET).close(), "EACCES"),
    "abstract socket of the pod": (connect_abstract, "EPERM"),
    "signal the server": (lambda: os.kill(os.getppid(), 0), "EPERM"),
    "signal the server by pidfd": (signal_by_pidfd, "EPERM"),
    "trace the server": (lambda: call("ptrace", 0x4206, os.getppid(), 0, 0), "EPERM"),
    "read the server's memory by /proc": (read_server_memory, "EACCES"),
    "read the server's memory by syscall": (process_vm_readv, "EPERM"),
    "read the server's environment": (
        lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "EACCES",
    ),
    "make the server the first to be killed": (
        lambda: Path(f"/proc/{os.getppid()}/oom_score_adj").write_text("1000"),
        "EACCES",
    ),
    "limit the server": (prlimit_server, "EPERM"),
    "slow the server down": (
        lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
        "EPERM",
    ),
    "slow the whole user down": (lambda: os.setpriority(os.PRIO_USER, 0, 19), "EPERM"),
    "pin the server to a core": (lambda: os.sched_setaffinity(os.getppid(), {0}), "EPERM"),
    "make the server idle": (
        lambda: os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0)),
        "EPERM",
    ),
    "starve the server's disk": (lambda: call("ioprio_set", 1, os.getppid(), 3 << 13), "EPERM"),
    "leave the sweep by another mark": (lower_own_mark, "EPERM"),
    "become the server's child": (lambda: clone(SIGCHLD | 0x8000), "EPERM"),
    "clone3": (lambda: call("clone3", 0, 0), "ENOSYS"),
    "SysV shared memory": (shared_memory, "EPERM"),
    "SysV semaphore": (semaphore, "EPERM"),
    "SysV message queue": (message_queue, "EPERM"),
    "POSIX message queue": (lambda: call("mq_open", 0, 0, 0, 0), "EPERM"),
    "io_uring": (lambda: call("io_uring_setup", 8, 0), "ENOSYS"),
    "switch off address randomness": (lambda: call("personality", 0x0040000), "EPERM"),
    "type into a terminal": (type_into_terminal, "EPERM"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attempts_end_where_they_should(sandbox: Sandbox, name: str) -> None:
    attempt, expected = ATTACKS[name]
    sandbox = sandbox.but(in_server=listen_abstract)
    unconfined = sandbox.but(confined=False).run(attempt)
    assert unconfined.word() != expected, "the attempt proves nothing on this machine"
    assert sandbox.run(attempt).word() == expected


# Refused to an unprivileged user anyway, or not depending on the machine: no control possible.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "user namespace by unshare": (lambda: call("unshare", 0x10000000), "EPERM"),
    "user namespace by clone": (lambda: clone(SIGCHLD | 0x10000000), "EPERM"),
    "mount": (lambda: call("mount", 0, 0, 0, 0, 0), "EPERM"),
    "new mount calls": (lambda: call("fsopen", 0, 0), "EPERM"),
    "bpf": (lambda: call("bpf", 0, 0, 0), "EPERM"),
    "perf": (lambda: call("perf_event_open", 0, 0, 0, 0, 0), "EPERM"),
    "userfaultfd": (lambda: call("userfaultfd", 0), "EPERM"),
    "keyring": (lambda: call("keyctl", 0, 0, 0), "EPERM"),
    "secret memory": (lambda: call("memfd_secret", 0), "EPERM"),
    "open by handle": (lambda: call("open_by_handle_at", 0, 0, 0), "EPERM"),
    "a call from the future": (lambda: raw(900), "ENOSYS"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_that_have_no_control(sandbox: Sandbox, name: str) -> None:
    attempt, expected = REFUSED[name]
    assert sandbox.run(attempt).word() == expected


@pytest.mark.skipif(not X86, reason="x32 is x86_64's")
def test_x32_calls_are_refused(sandbox: Sandbox) -> None:
    getpid = 0x40000000 + 39
    assert sandbox.run(lambda: raw(getpid)).word() == "EPERM"
    # Unconfined it works or is unknown to this kernel.
    assert sandbox.but(confined=False).run(lambda: raw(getpid)).word() in ("ok", "ENOSYS")


@pytest.mark.skipif(not X86, reason="int 0x80 is x86_64's")
def test_32_bit_calls_kill(sandbox: Sandbox) -> None:
    """int 0x80 with eax = 20, i386's getpid: its numbers would mean other calls to a filter."""

    def attempt() -> int:
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        return ctypes.CFUNCTYPE(ctypes.c_int)(address)()

    assert sandbox.run(attempt).word() == "killed by SIGSYS"
    unconfined = sandbox.but(confined=False).run(lambda: attempt() == os.getpid())
    # SIGSEGV where the kernel has no 32-bit calls at all.
    assert unconfined.value is True or unconfined.word() == "killed by SIGSEGV"


WRITES: dict[str, Callable[[Path], object]] = {
    "create": lambda d: (d / "new").write_text("x"),
    "overwrite": lambda d: (d / "file").write_text("x"),
    "append": lambda d: (d / "file").open("a").close(),
    "truncate": lambda d: os.truncate(d / "file", 0),
    "mkdir": lambda d: (d / "dir").mkdir(),
    "unlink": lambda d: (d / "file").unlink(),
    "rename": lambda d: (d / "file").rename(d / "other"),
    "symlink": lambda d: (d / "link").symlink_to("/"),
    "hard link": lambda d: (d / "hard").hardlink_to(d / "file"),
    "fifo": lambda d: os.mkfifo(d / "fifo"),
    "socket": lambda d: socket.socket(socket.AF_UNIX).bind(str(d / "socket")),
    "tmpfile": lambda d: os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600),
}


@pytest.mark.parametrize("name", WRITES)
def test_writing_works_inside_and_not_outside(sandbox: Sandbox, name: str) -> None:
    write = WRITES[name]
    assert sandbox.run(lambda: write(sandbox.home)).word() == "ok"
    assert sandbox.run(lambda: write(sandbox.outside)).word() == "EACCES"
    assert sandbox.run(lambda: (sandbox.outside / "file").read_text()).value == "old"
    assert sandbox.but(confined=False).run(lambda: write(sandbox.outside)).word() == "ok"


def test_a_link_does_not_lead_out(sandbox: Sandbox) -> None:
    (sandbox.home / "link").symlink_to(sandbox.outside / "file")
    assert sandbox.run(lambda: (sandbox.home / "link").write_text("x")).word() == "EACCES"
    out = sandbox.outside / "moved"
    assert sandbox.run(lambda: (sandbox.home / "link").rename(out)).word() == "EACCES"


def test_executions_cannot_touch_each_other(sandbox: Sandbox) -> None:
    """A second execution of the same server, itself confined, as the target."""
    attempts: dict[str, Callable[[int], object]] = {
        "signal": lambda pid: os.kill(pid, 0),
        "memory": lambda pid: Path(f"/proc/{pid}/mem").open("rb").close(),
        "environment": lambda pid: Path(f"/proc/{pid}/environ").read_bytes(),
        "limits": lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)),
        "priority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    }

    def serve(confined: bool) -> dict[str, str]:
        prepared = confinement.prepare(sandbox.policy())
        ready, tell = os.pipe()
        stay, leave = os.pipe()
        victim = os.fork()
        if victim == 0:
            if confined:
                prepared.enter(sandbox.limits)
            os.close(leave)
            os.write(tell, b"x")
            os.read(stay, 1)  # until the attacker is gone
            os._exit(0)
        os.read(ready, 1)
        if confined:
            prepared.enter(sandbox.limits)
        return {name: _word(attempt, victim) for name, attempt in attempts.items()}

    unconfined_server = sandbox.but(confined=False)
    told = unconfined_server.run(lambda: serve(True)).value
    assert told == {
        "signal": "EPERM",
        "memory": "EACCES",
        "environment": "EACCES",
        "limits": "EPERM",
        "priority": "EPERM",
    }
    assert set(unconfined_server.run(lambda: serve(False)).value.values()) == {"ok"}


def _word(attempt: Callable[[int], object], pid: int) -> str:
    try:
        attempt(pid)
    except PermissionError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


@pytest.mark.skipif(os.getuid() != 0, reason="unconfined it would end the tests themselves")
def test_ending_every_process_of_the_user_ends_nobody(sandbox: Sandbox) -> None:
    attempt = partial(os.kill, -1, signal.SIGTERM)
    # The harness's server has no handler: it dies, or lives to tell.
    assert sandbox.run(attempt).word() == "ok"
    assert sandbox.but(confined=False).run(attempt).word() == "killed by SIGTERM"


def test_a_ruleset_cannot_be_weakened_for_the_next_execution(sandbox: Sandbox) -> None:
    """The ruleset is one object for all executions; a child that kept its descriptor could add."""

    def rulesets() -> int:
        return sum(_word_of_adding(descriptor) == "EINVAL" for descriptor in range(3, 200))

    assert sandbox.run(rulesets).value == 0
    control = sandbox.but(confined=False)
    assert control.run(lambda: (confinement.prepare(sandbox.policy()), rulesets())[1]).value == 1


def _word_of_adding(descriptor: int) -> str:
    """EINVAL: a ruleset, and no such type of rule. EBADF and EBADFD: nothing, something else."""
    with pytest.raises(OSError) as told:
        raw(landlock.ADD_RULE, descriptor, 99, 0, 0)
    return errno.errorcode[told.value.errno or 0]


@pytest.mark.parametrize(
    ("family", "protocol", "expected"),
    [
        (socket.AF_INET, 0, "ok"),
        (socket.AF_INET6, 0, "ok"),
        (16, 0, "ok"),
        (16, 15, "EPROTONOSUPPORT"),
        (17, 0, "EAFNOSUPPORT"),
        (38, 0, "EAFNOSUPPORT"),
        (40, 0, "EAFNOSUPPORT"),
    ],
)
def test_families_with_a_network(
    sandbox: Sandbox, family: int, protocol: int, expected: str
) -> None:
    kind = socket.SOCK_RAW if family == 16 else socket.SOCK_STREAM
    attempt = sandbox.but(network_none=False).run(
        lambda: socket.socket(family, kind, protocol).close()
    )
    assert attempt.word() == expected


def test_tcp_with_a_network(sandbox: Sandbox) -> None:
    def talk() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
            client.connect(server.getsockname())
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"hello")
            return client.recv(5)

    assert sandbox.but(network_none=False).run(talk).value == b"hello"
    assert sandbox.run(talk).word() == "EACCES"


def test_a_socket_from_elsewhere_stays_mute(sandbox: Sandbox) -> None:
    """Even an inherited TCP socket cannot connect or listen with network None (Landlock, ABI 4)."""
    if int(str(CONFINED["landlockAbi"])) < 4:
        pytest.skip("Landlock before ABI 4 has no TCP rules")
    with socket.socket() as inherited, socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        assert sandbox.run(lambda: inherited.connect(place)).word() == "EACCES"
        assert sandbox.run(lambda: inherited.bind(("127.0.0.1", 0))).word() == "EACCES"
        assert sandbox.but(confined=False).run(lambda: inherited.connect(place)).word() == "ok"
