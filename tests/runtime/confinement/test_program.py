"""The filter's bytes, read by an independent BPF machine, against the table they came from."""

import errno
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.confinement.bpf import run

from paddock_runtime.confinement.rules import Arg, Rule, rules_for
from paddock_runtime.confinement.seccomp import ALLOW, ERRNO, KILL_PROCESS, MACHINES, assemble
from paddock_runtime.confinement.syscalls import LAST_KNOWN, NUMBERS

PROTECTED = (1, 4321)
TABLES = {
    "none": rules_for(network_none=True),
    "open": rules_for(network_none=False),
    "none, unscoped": rules_for(network_none=True, protected_pids=PROTECTED),
}
PROGRAMS = {(m, t): assemble(TABLES[t], MACHINES[m]) for m in MACHINES for t in TABLES}
MACHINE_NAMES = sorted(MACHINES)
X86, ARM = MACHINES["x86_64"], MACHINES["aarch64"]

U32, U64 = 0xFFFFFFFF, (1 << 64) - 1
# Numbers that the rules need not name, as positive controls: (x86_64, aarch64).
ORDINARY = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "mmap": (9, 222),
    "openat": (257, 56),
    "execve": (59, 221),
    "execveat": (322, 281),
    "wait4": (61, 260),
    "exit_group": (231, 94),
    "pipe2": (293, 59),
    "memfd_create": (319, 279),
    "getrandom": (318, 278),
    "futex": (202, 98),
    "connect": (42, 203),
    "sendmsg": (46, 211),
    "setsid": (112, 157),
    "seccomp": (317, 277),
    "prctl": (157, 167),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
}
NEWUSER, NEWNS, THREAD, VFORK = 0x10000000, 0x20000, 0x3D0F00, 0x4111


def answer(machine: str, table: str, call: str, *args: int) -> str:
    numbers = NUMBERS.get(call) or ORDINARY[call]
    number = numbers[MACHINES[machine].column]
    assert number is not None
    return word(run(PROGRAMS[machine, table], number, MACHINES[machine].audit_arch, args))


def word(result: int) -> str:
    if result == ALLOW:
        return "allow"
    if result == KILL_PROCESS:
        return "kill"
    assert result & 0xFFFF0000 == ERRNO
    return errno.errorcode[result & 0xFFFF]


REFUSED_WHOLE = (
    *("shmget", "semget", "msgget", "mq_open", "memfd_secret"),
    *("keyctl", "add_key", "bpf", "perf_event_open", "userfaultfd"),
    *("mount", "fsopen", "open_tree", "open_by_handle_at", "kexec_load", "init_module"),
)

CASES: list[tuple[str, str, tuple[int, ...], str]] = [
    *[("none", call, (), "allow") for call in ORDINARY],
    # network None: AF_UNIX and nothing else
    ("none", "socket", (1, 1, 0), "allow"),
    ("none", "socketpair", (1, 1, 0), "allow"),
    ("none", "socketpair", (30, 1, 0), "EACCES"),
    *[("none", "socket", (f, 1, 0), "EACCES") for f in (0, 2, 3, 10, 16, 17, 30, 38, 40, 44, U32)],
    # the upper half of the register is not part of an int
    ("none", "socket", (2 + (1 << 32), 1, 0), "EACCES"),
    ("none", "socket", (1 + (1 << 32), 1, 0), "allow"),
    # with a network: what programs use, without the rest of the kernel's families
    *[("open", "socket", (f, 1, 0), "allow") for f in (1, 2, 10)],
    *[("open", "socket", (2, 2, p), "allow") for p in (1, 6, 17, 262)],
    *[("open", "socket", (10, 2, p), "allow") for p in (6, 17, 58)],
    ("open", "socket", (16, 3, 0), "allow"),
    *[("open", "socket", (16, 3, p), "EPROTONOSUPPORT") for p in (2, 4, 9, 12, 15)],
    *[("open", "socket", (2, 1, p), "EPROTONOSUPPORT") for p in (33, 132, 136, 255, 256)],
    *[("open", "socket", (f, 1, 0), "EAFNOSUPPORT") for f in (0, 3, 17, 30, 38, 40, 44, U32)],
    ("open", "socketpair", (30, 1, 0), "EAFNOSUPPORT"),
    # processes
    ("none", "ptrace", (16, 7), "EPERM"),
    ("none", "process_vm_readv", (7,), "EPERM"),
    ("none", "process_vm_writev", (7,), "EPERM"),
    ("none", "pidfd_getfd", (3, 3), "EPERM"),
    ("none", "clone", (17,), "allow"),
    ("none", "clone", (THREAD,), "allow"),
    ("none", "clone", (VFORK,), "allow"),
    *[("none", "clone", (17 | 1 << bit,), "EPERM") for bit in (15, 17, *range(25, 31))],
    ("none", "clone", (17 | NEWUSER | NEWNS,), "EPERM"),
    ("none", "clone3", (0, 0), "ENOSYS"),
    ("none", "unshare", (NEWUSER,), "EPERM"),
    ("none", "setns", (3, 0), "EPERM"),
    # limits: one's own, except the mark; others' only to look at
    ("none", "setrlimit", (7, 1), "allow"),
    ("none", "setrlimit", (10, 1), "EPERM"),
    ("none", "prlimit64", (0, 7, 1, 0), "allow"),
    ("none", "prlimit64", (0, 10, 0, 1), "allow"),
    ("none", "prlimit64", (0, 10, 1, 0), "EPERM"),
    ("none", "prlimit64", (0, 10, 1 << 32, 0), "EPERM"),
    ("none", "prlimit64", (99, 7, 0, 1), "allow"),
    ("none", "prlimit64", (99, 7, 1, 0), "EPERM"),
    ("none", "prlimit64", (99, 7, 1 << 32, 0), "EPERM"),
    # priorities: one's own
    ("none", "setpriority", (0, 0, 5), "allow"),
    ("none", "setpriority", (0, 1, 5), "EPERM"),
    ("none", "setpriority", (1, 0, 5), "allow"),
    ("none", "setpriority", (2, 0, 5), "EPERM"),
    ("none", "ioprio_set", (1, 0, 5), "allow"),
    ("none", "ioprio_set", (1, 1, 5), "EPERM"),
    ("none", "ioprio_set", (3, 0, 5), "EPERM"),
    *[
        ("none", f"sched_set{what}", (pid,), verdict)
        for what in ("param", "scheduler", "affinity", "attr")
        for pid, verdict in ((0, "allow"), (1, "EPERM"))
    ],
    # terminals, personalities
    ("none", "ioctl", (0, 0x5401), "allow"),
    ("none", "ioctl", (0, 0x5412), "EPERM"),
    ("none", "ioctl", (0, 0x541C), "EPERM"),
    ("none", "ioctl", (0, 0x5412 | 1 << 32), "EPERM"),
    ("none", "personality", (0,), "allow"),
    ("none", "personality", (U32,), "allow"),
    ("none", "personality", (0x0040000,), "EPERM"),
    # whole subsystems
    *[("none", f"io_uring_{what}", (), "ENOSYS") for what in ("setup", "enter", "register")],
    *[
        ("none", call, (), "EPERM")
        for call in [
            "shmget",
            "semget",
            "msgget",
            "mq_open",
            "keyctl",
            "add_key",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "open_by_handle_at",
            "memfd_secret",
            "mount",
            "fsopen",
            "open_tree",
            "kexec_load",
            "init_module",
        ]
    ],
    # signals are Landlock's where it has a scope, else the server's pid is kept from them
    ("none", "kill", (1, 9), "allow"),
    *[("none, unscoped", "kill", (p & U64, 9), "EPERM") for p in (1, 4321, -1, -4321)],
    *[("none, unscoped", "kill", (p & U64, 9), "allow") for p in (0, 4322, -4322)],
    ("none, unscoped", "tgkill", (4321, 4321, 9), "EPERM"),
    ("none, unscoped", "tkill", (4321, 9), "EPERM"),
    ("none, unscoped", "rt_sigqueueinfo", (4321, 9), "EPERM"),
    ("none, unscoped", "pidfd_open", (4321,), "EPERM"),
    ("none, unscoped", "pidfd_open", (4322,), "allow"),
    ("none, unscoped", "pidfd_send_signal", (3, 9), "EPERM"),
    ("none, unscoped", "fcntl", (3, 8, 4321), "EPERM"),
    ("none, unscoped", "fcntl", (3, 4, 0), "allow"),
    ("none, unscoped", "ioctl", (0, 0x8901), "EPERM"),
    ("none, unscoped", "ioctl", (0, 0x5412), "EPERM"),
    ("none, unscoped", "socket", (2, 1, 0), "EACCES"),
]


@pytest.mark.parametrize("machine", MACHINE_NAMES)
def test_the_answers_are_those_of_the_table_below(machine: str) -> None:
    wrong = [
        (table, call, args, answer(machine, table, call, *args), expected)
        for table, call, args, expected in CASES
        if answer(machine, table, call, *args) != expected
    ]
    assert not wrong


def test_other_architectures_and_x32_have_no_way_in() -> None:
    i386, arm = 0x40000003, 0x40000028
    program = PROGRAMS["x86_64", "none"]
    assert word(run(program, 0, i386)) == "kill"
    assert word(run(program, 0, ARM.audit_arch)) == "kill"
    assert word(run(PROGRAMS["aarch64", "none"], 63, arm)) == "kill"
    for number in (0x40000000, 0x40000000 + 520, 0x7FFFFFFF, U32):
        assert word(run(program, number, X86.audit_arch)) == "EPERM"


@pytest.mark.parametrize("machine", MACHINE_NAMES)
def test_calls_that_nobody_has_looked_at_do_not_exist(machine: str) -> None:
    arch = MACHINES[machine].audit_arch
    assert word(run(PROGRAMS[machine, "none"], LAST_KNOWN, arch)) == "allow"
    for number in (LAST_KNOWN + 1, 1000, 0x3FFFFFFF):
        assert word(run(PROGRAMS[machine, "none"], number, arch)) == "ENOSYS"


def holds(condition: Arg, args: Sequence[int]) -> bool:
    whole = args[condition.index]
    low = whole & U32
    match condition.test:
        case "in":
            return low in condition.values
        case "not_in":
            return low not in condition.values
        case "any_bits":
            return any(low & value for value in condition.values)
        case "nonzero64":
            return whole != 0


def expected_answer(table: Sequence[Rule], column: int, x32: bool, nr: int, args: list[int]) -> str:
    """The table's own words, read top down with nothing clever."""
    if x32 and nr >= 0x40000000:
        return "EPERM"
    if nr > LAST_KNOWN:
        return "ENOSYS"
    for rule in table:
        named = nr in [NUMBERS[name][column] for name in rule.syscalls]
        if named and all(holds(condition, args) for condition in rule.when):
            return errno.errorcode[rule.error]
    return "allow"


INTERESTING = sorted(
    {v for t in TABLES.values() for r in t for c in r.when for v in c.values}
    | {0, 1, 2, 10, 17, 4320, 4322, U32, 1 << 32, (1 << 32) + 1, U64}
)
WORDS = st.one_of(st.sampled_from(INTERESTING), st.integers(0, U64))


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("machine", MACHINE_NAMES)
@given(args=st.lists(WORDS, min_size=6, max_size=6))
def test_every_call_number_is_answered_as_the_table_says(
    machine: str, table: str, args: list[int]
) -> None:
    m = MACHINES[machine]
    program = PROGRAMS[machine, table]
    named = {n for numbers in NUMBERS.values() if (n := numbers[m.column]) is not None}
    for nr in sorted(named | {n + 1 for n in named} | {n - 1 for n in named if n}):
        told = word(run(program, nr, m.audit_arch, args))
        assert told == expected_answer(TABLES[table], m.column, m.has_x32, nr, args), nr


@pytest.mark.parametrize("machine", MACHINE_NAMES)
def test_all_numbers_with_plain_arguments(machine: str) -> None:
    m = MACHINES[machine]
    for nr in [*range(700), 0x40000000, 0x40000001, 0x80000000, U32]:
        told = word(run(PROGRAMS[machine, "none"], nr, m.audit_arch, [0] * 6))
        assert told == expected_answer(TABLES["none"], m.column, m.has_x32, nr, [0] * 6), nr


@given(nr=st.integers(0, U32), args=st.lists(WORDS, min_size=6, max_size=6))
def test_any_number_at_all(nr: int, args: list[int]) -> None:
    for name, m in MACHINES.items():
        told = word(run(PROGRAMS[name, "open"], nr, m.audit_arch, args))
        assert told == expected_answer(TABLES["open"], m.column, m.has_x32, nr, args)


def test_programs_are_within_what_the_kernel_takes() -> None:
    for program in PROGRAMS.values():
        assert len(program) // 8 < 4096


def test_a_program_whose_jumps_are_too_long_is_refused() -> None:
    long = Rule(("read",), errno.EPERM, (Arg(0, "in", tuple(range(300))),))
    wide = Rule(("socket",), errno.EPERM, (Arg(0, "in", tuple(range(300))),))
    with pytest.raises(ValueError, match="8-bit"):
        assemble([wide], X86)
    with pytest.raises(KeyError):
        assemble([long], X86)  # a name without a number is a slip, not an absent call


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 0),
        ("/usr/include/asm-generic/unistd.h", 1),
    ],
)
def test_numbers_are_those_of_the_kernel_headers(header: str, column: int) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header}: install linux-libc-dev")
    text = Path(header).read_text()
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", text, re.MULTILINE)
    known = {name: int(number) for name, number in found}
    assert known["read"] == ORDINARY["read"][column]
    newest = max(known.values())
    for name, numbers in {**NUMBERS, **ORDINARY}.items():
        number = numbers[column]
        if number is None:
            assert name not in known
        elif number <= newest or name in known:
            assert known[name] == number, name
