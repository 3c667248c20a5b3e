"""Turns the rule table into a BPF program and puts it on.

Hand-assembled because libseccomp is one library more in every image and 0.9 ms per execution;
loading bytes that were built in the fork server takes a tenth of that.
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from . import linux
from .rules import Arg, Rule
from .syscalls import LAST_KNOWN, NUMBERS

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
NR, ARCH, ARGS = 0, 4, 16

LOAD, JEQ, JGE, JSET, RET = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000

X32_BIT: Final = 0x40000000


@dataclass(frozen=True)
class Machine:
    audit_arch: int
    column: int  # in the table of system call numbers
    has_x32: bool


MACHINES: Final = {
    "x86_64": Machine(0xC000003E, 0, True),
    "aarch64": Machine(0xC00000B7, 1, False),
}

_Code = list[tuple[int, int, int, int]]  # operation, jump if true, jump if false, constant
_Answer = tuple[Rule, ...]  # what is tried, in order, for one call number


def assemble(rules: Iterable[Rule], machine: Machine) -> bytes:
    """The program that answers the first matching rule's error, else allows. A pure function.

    A search tree over call numbers, because the kernel runs the program once for every number
    when it is loaded (to learn which calls never need it again): with one test after another
    that alone took 0.1 ms of each execution.
    """
    code: _Code = [
        (LOAD, 0, 0, ARCH),
        (JEQ, 1, 0, machine.audit_arch),
        # Another architecture's numbers mean other calls (int 0x80): nothing to answer to.
        (RET, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NR),
        *_tree(_ranges(tuple(rules), machine)),
    ]
    if any(jump > 255 for _, *jumps, _ in code for jump in jumps):
        raise ValueError("the program is too long for BPF's 8-bit jumps")
    # sock_filter's fields in the machine's own byte order; both machines are little-endian.
    return b"".join(struct.pack("<HBBI", *line) for line in code)


def _ranges(rules: _Answer, machine: Machine) -> list[tuple[int, _Answer]]:
    """(first number, answer) for the whole 32-bit range; each reaches up to the next."""
    answers: dict[int, _Answer] = {}
    for rule in rules:
        for name in rule.syscalls:
            number = NUMBERS[name][machine.column]
            if number is not None:
                answers[number] = (*answers.get(number, ()), rule)
    ranges: list[tuple[int, _Answer]] = []
    for number in range(LAST_KNOWN + 1):
        answer = answers.get(number, ())
        if not ranges or ranges[-1][1] != answer:
            ranges.append((number, answer))
    ranges.append((LAST_KNOWN + 1, (Rule((), errno.ENOSYS),)))
    if machine.has_x32:
        ranges.append((X32_BIT, (Rule((), errno.EPERM),)))
    return ranges


def _tree(ranges: list[tuple[int, _Answer]]) -> _Code:
    if len(ranges) == 1:
        return _leaf(ranges[0][1])
    middle = len(ranges) // 2
    below, above = _tree(ranges[:middle]), _tree(ranges[middle:])
    return [(JGE, len(below), 0, ranges[middle][0]), *below, *above]


def _leaf(answer: _Answer) -> _Code:
    code: _Code = []
    for rule in answer:
        body: _Code = [(RET, 0, 0, ERRNO | rule.error)]
        for condition in reversed(rule.when):
            body = _condition(condition, skip=len(body)) + body
        code += body
        if not rule.when:
            return code
    return [*code, (RET, 0, 0, ALLOW)]


def _condition(condition: Arg, skip: int) -> _Code:
    """Falls through when it holds, else jumps over `skip` instructions."""
    low = ARGS + 8 * condition.index
    values = condition.values
    last = len(values) - 1
    if condition.test == "nonzero64":
        return [
            (LOAD, 0, 0, low),
            (JEQ, 0, 2, 0),
            (LOAD, 0, 0, low + 4),
            (JEQ, skip, 0, 0),
        ]
    load = [(LOAD, 0, 0, low)]
    if condition.test == "not_in":
        return load + [(JEQ, last - i + skip, 0, value) for i, value in enumerate(values)]
    operation = JSET if condition.test == "any_bits" else JEQ
    return load + [
        (operation, last - i, skip if i == last else 0, value) for i, value in enumerate(values)
    ]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


class Filter:
    """A program in memory that a child can load without building anything."""

    def __init__(self, code: bytes) -> None:
        self._code = code  # the structure only points to it
        self._program = _Program(len(code) // 8, code)
        self._address = ctypes.addressof(self._program)

    def install(self) -> None:
        linux.prctl(linux.PR_SET_SECCOMP, linux.SECCOMP_MODE_FILTER, self._address)


def this_machine() -> Machine | None:
    return MACHINES.get(platform.machine())
