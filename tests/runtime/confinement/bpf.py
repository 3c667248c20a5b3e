"""A classic BPF machine, as small as our programs need: an independent reading of their bytes."""

import struct
from collections.abc import Sequence

ACCUMULATOR_LIMIT = 1 << 32


def run(code: bytes, nr: int, arch: int, args: Sequence[int] = ()) -> int:
    """The filter's answer to one call."""
    words = [*args, *[0] * (6 - len(args))]
    data = struct.pack("<IIQ6Q", nr & 0xFFFFFFFF, arch, 0, *[w & (1 << 64) - 1 for w in words])
    program = list(struct.iter_unpack("<HBBI", code))
    a, pc = 0, 0
    while True:
        op, jt, jf, k = program[pc]
        pc += 1
        match op:
            case 0x20:  # LD W ABS
                assert k % 4 == 0
                assert k <= 60
                (a,) = struct.unpack_from("<I", data, k)
            case 0x15:
                pc += jt if a == k else jf
            case 0x35:
                pc += jt if a >= k else jf
            case 0x45:
                pc += jt if a & k else jf
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"unknown operation {op:#x}")
