"""System calls that user code has no business with, each beside the same call outside.

The control runs the very same text on this machine: where that sees the same error, the attempt
proves nothing. It is meant for root, to whom the calls that any container refuses are open; none
of them changes anything there, because the arguments are wrong.
"""

import platform
import subprocess
import sys
import tempfile

import pytest
from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import case
from tests.runtime.cases.looking import good
from tests.runtime.pod import AS_ROOT

from paddock_runtime.confinement.syscalls import NUMBERS

MACHINE = "tests/runtime/confinement tries these on the machine"
PRELUDE = """
import ctypes, errno, os, signal, socket, stat, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = {numbers}
def call(name, *arguments):
    plain = [a if isinstance(a, bytes) else ctypes.c_ulong(a) for a in arguments]
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *plain)
    if result == -1: raise OSError(ctypes.get_errno(), name)
    return result
children = []
def child():
    children.append(os.fork())
    if children[-1] == 0:
        while True: signal.pause()
    return children[-1]
def clone(flags):
    if call("clone", flags | 17, 0, 0, 0, 0) == 0: os._exit(0)
def vm_read(pid):
    there, here = ctypes.create_string_buffer(b"x" * 8), ctypes.create_string_buffer(8)
    vectors = [ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(b), 8), 16)
               for b in (here, there)]
    a, b = map(ctypes.addressof, vectors)
    call("process_vm_readv", pid, a, 1, b, 1, 0)
try: {attempt}
except OSError as error: print(errno.errorcode[error.errno])
else: print("ok")
for pid in children: os.kill(pid, 9)
"""

# What is tried, and what user code must see.
ATTEMPTS = {
    "user namespace by unshare": ("call('unshare', 0x10000000)", "EPERM"),
    "mount namespace by unshare": ("call('unshare', 0x00020000)", "EPERM"),
    "user namespace by clone": ("clone(0x10000000)", "EPERM"),
    "join a namespace": ("call('setns', 0xFFFFFFFF, 0)", "EPERM"),
    "mount": ("call('mount', b'none', b'/nowhere', b'tmpfs', 0, 0)", "EPERM"),
    "remount": ("call('mount', b'none', b'/nowhere', b'', 0x1020, 0)", "EPERM"),
    "umount": ("call('umount2', b'/nowhere', 0)", "EPERM"),
    "pivot_root": ("call('pivot_root', b'/nowhere', b'/nowhere')", "EPERM"),
    "chroot": ("call('chroot', b'/nowhere')", "EPERM"),
    "the new mount calls": ("call('fsopen', 0, 0)", "EPERM"),
    "open by handle": ("call('open_by_handle_at', 0, 0, 0)", "EPERM"),
    "trace one's own child": ("call('ptrace', 0x4206, child(), 0, 0)", "EPERM"),
    "read memory by a call": ("vm_read(os.getpid())", "EPERM"),
    "internet socket": ("socket.socket()", "EACCES"),
    "internet socket, v6": ("socket.socket(socket.AF_INET6)", "EACCES"),
    "datagram socket": ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "EACCES"),
    "raw socket": ("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "EACCES"),
    "packet socket": ("socket.socket(17, socket.SOCK_RAW)", "EACCES"),
    "kernel crypto socket": ("socket.socket(38, socket.SOCK_SEQPACKET)", "EACCES"),
    "host socket": ("socket.socket(40, socket.SOCK_STREAM)", "EACCES"),
    "netlink socket": ("socket.socket(16, socket.SOCK_RAW)", "EACCES"),
    "io_uring": ("call('io_uring_setup', 8, 0)", "ENOSYS"),
    "userfaultfd": ("call('userfaultfd', 0)", "EPERM"),
    "keyring": ("call('keyctl', 0, 0xFFFFFFFF, 0)", "EPERM"),
    "add a key": ("call('add_key', 0, 0, 0, 0, 0)", "EPERM"),
    "bpf": ("call('bpf', 0, 0, 0)", "EPERM"),
    "perf": ("call('perf_event_open', 0, 0, 0, 0, 0)", "EPERM"),
    "kexec": ("call('kexec_load', 0, 100, 0, 0)", "EPERM"),
    "load a module": ("call('init_module', 0, 0, 0)", "EPERM"),
    "set the clock": ("call('clock_settime', 0, 0)", "EPERM"),
    "reboot": ("call('reboot', 0, 0, 0, 0)", "EPERM"),
    "swap": ("call('swapon', 0, 0)", "EPERM"),
    "become root": ("os.setuid(0)", "EPERM"),
    "become another group": ("os.setgid(0)", "EPERM"),
    "make a device": ("os.mknod('device', stat.S_IFCHR | 0o600, os.makedev(1, 3))", "EPERM"),
    "give a file away": ("open('given', 'w').close(); os.chown('given', 0, 12345)", "EPERM"),
}


def program(attempt: str) -> str:
    column = 0 if platform.machine() == "x86_64" else 1
    numbers = {name: pair[column] for name, pair in NUMBERS.items()}
    return PRELUDE.format(numbers=numbers, attempt=attempt)


def outside(code: str) -> str:
    """What the same text prints on this machine, where nothing confines it."""
    with tempfile.TemporaryDirectory() as place:
        ran = subprocess.run(
            [sys.executable, "-I", "-c", code], cwd=place, capture_output=True, text=True
        )
    return ran.stdout.strip() or ran.stderr.strip() or f"ended with {ran.returncode}"


@case(rows={name.replace(" ", "_"): row for name, row in ATTEMPTS.items()}, only_pods=MACHINE)
def case_attack_29_31_32_calls_are_refused(box: Box, attempt: str, expected: str) -> None:
    code = program(attempt)
    control = outside(code)
    if control == expected and not AS_ROOT:
        pytest.skip("the control needs root: whoever runs this is refused the same")
    assert control != expected, "the attempt proves nothing on this machine"
    assert good(box.python(code)) == f"{expected}\n"


@case(only_pods=MACHINE)
def case_attack_31_calls_of_another_architecture_kill(box: Box) -> None:
    """int 0x80 with eax = 20 is i386's getpid; its numbers mean other calls to a filter."""
    if platform.machine() != "x86_64":
        pytest.skip("int 0x80 is x86_64's")
    code = """
import ctypes, mmap, os
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write({machine_code!r})
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid(), flush=True)
"""
    by_int80 = code.format(machine_code=b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    by_syscall = code.format(machine_code=b"\xb8\x27\x00\x00\x00\x0f\x05\xc3")
    assert good(box.python(by_syscall)) == "True\n", "machine code runs"
    killed = box.python(by_int80)
    assert (killed["reason"], killed["signal"]) == ("Signaled", "SIGSYS")
    assert text(killed) == ""
    assert "system call" in killed["message"]
