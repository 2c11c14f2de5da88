"""Running a program without the kernel: an interpreter for what seccomp takes of classic BPF.

Owns `simulate` and the `Machine` behind it. Knows nothing of profiles; it says what a program
returns, not whether that is right.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

from notifyd.bpf import opcodes as op
from notifyd.bpf.check import check
from notifyd.bpf.program import Program
from notifyd.kernel.limits import MASK32

__all__ = ["Machine", "simulate"]


_JUMPS: Mapping[int, Callable[[int, int], object]] = {
    op.JEQ: operator.eq,
    op.JGT: operator.gt,
    op.JGE: operator.ge,
    op.JSET: operator.and_,
}
_ALU: Mapping[int, Callable[[int, int], int]] = {
    op.ADD: operator.add,
    op.SUB: operator.sub,
    op.MUL: operator.mul,
    op.DIV: operator.floordiv,
    op.OR: operator.or_,
    op.AND: operator.and_,
    op.XOR: operator.xor,
    op.LSH: lambda a, b: a << (b & 31),
    op.RSH: lambda a, b: a >> (b & 31),
}


class Machine:
    """Something that runs one program, as often as asked.

    Args:
        program: The program.

    Raises:
        FilterError: the kernel would not take the program.
    """

    __slots__ = ("_code",)

    def __init__(self, program: Program) -> None:
        check(program)
        self._code = program.instructions

    def run(self, audit: int, nr: int, args: Sequence[int], ip: int = 0) -> int:
        """The 32-bit value that the program returns for a call.

        Args:
            audit: `AUDIT_ARCH_*` of the entry.
            nr: The number; a negative one is taken as its 32 bits.
            args: Six registers of 64 bits, unsigned.
            ip: The instruction pointer.
        """
        words = [nr & MASK32, audit, ip & MASK32, ip >> 32 & MASK32]
        for arg in args:
            words += (arg & MASK32, arg >> 32 & MASK32)
        a = x = pc = 0
        memory = [0] * op.MEMORY_WORDS
        while True:
            code, jt, jf, k = self._code[pc]
            pc += 1
            jump = _JUMPS.get(code & ~op.WITH_X)
            if jump is not None:
                pc += jt if jump(a, x if code & op.WITH_X else k) else jf
            elif code == op.LD_ABS:
                a = words[k >> 2]
            elif code == op.JA:
                pc += k
            elif code & 7 == op.RET_K:
                return a if code == op.RET_A else k
            elif code in (op.ST, op.STX):
                memory[k] = a if code == op.ST else x
            elif code & 7 in (1, 7) and code != op.TXA:
                x = _load_x(code, k, a, memory)
            elif code == op.DIV | op.WITH_X and x == 0:
                return 0  # the kernel's own: dividing by a zero X ends the program with 0
            else:
                a = _next_a(code, k, a, x, memory)


def simulate(program: Program, arch_audit: int, nr: int, args: Sequence[int], ip: int = 0) -> int:
    """What `program` returns for one call; see `Machine.run`.

    Raises:
        FilterError: the kernel would not take the program.
    """
    return Machine(program).run(arch_audit, nr, args, ip)


def _load_x(code: int, k: int, a: int, memory: list[int]) -> int:
    if code == op.TAX:
        return a
    if code == op.LDX_MEM:
        return memory[k]
    return op.SECCOMP_DATA_SIZE if code == op.LDX_LEN else k


def _next_a(code: int, k: int, a: int, x: int, memory: list[int]) -> int:
    compute = _ALU.get(code & ~op.WITH_X) if code & 7 == 4 and code != op.NEG else None
    if compute is not None:
        return compute(a, x if code & op.WITH_X else k) & MASK32
    if code == op.NEG:
        return -a & MASK32
    if code == op.TXA:
        return x
    if code == op.LD_MEM:
        return memory[k]
    return op.SECCOMP_DATA_SIZE if code == op.LD_LEN else k
