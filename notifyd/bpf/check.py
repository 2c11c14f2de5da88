"""Whether the kernel would take a program: the rules of its own checker.

Owns `check`. Source: `bpf_check_classic` and `check_load_and_stores` in net/core/filter.c,
`seccomp_check_filter` in kernel/seccomp.c. Knows nothing of profiles.
"""

from __future__ import annotations

from notifyd.bpf import opcodes as op
from notifyd.bpf.program import Instruction, Program
from notifyd.errors import FilterError

__all__ = ["check"]

# BPF_MOD is missing on purpose: seccomp does not take it.
_CODES = frozenset(
    {op.LD_ABS, op.LD_LEN, op.LD_IMM, op.LD_MEM, op.LDX_LEN, op.LDX_IMM, op.LDX_MEM}
    | {op.ST, op.STX, op.TAX, op.TXA, op.RET_K, op.RET_A, op.NEG, op.JA}
    | {code | x for code in {*op.ALU_CODES, *op.JUMP_CODES} for x in (0, op.WITH_X)}
)
_CONDITIONAL = frozenset(code | x for code in op.JUMP_CODES for x in (0, op.WITH_X))
_ALL_WORDS = (1 << op.MEMORY_WORDS) - 1


def check(program: Program) -> None:
    """Return if the kernel would take the program.

    Raises:
        FilterError: it would not (`EINVAL` from seccomp(2)); the text names the instruction.
    """
    code = program.instructions
    for at, one in enumerate(code):
        complaint = _complaint(one, len(code) - at - 1)
        if complaint:
            raise FilterError(f"instruction {at} of the filter program {complaint}")
    if code[-1].code not in (op.RET_K, op.RET_A):
        raise FilterError("the filter program does not end with a return")
    _check_memory(code)


def _complaint(one: Instruction, left: int) -> str:
    """What is wrong with one instruction that has `left` others behind it, or an empty text."""
    if one.code not in _CODES:
        return f"has code {one.code:#06x}, which seccomp does not know"
    if one.code == op.LD_ABS and (one.k % 4 or one.k >= op.SECCOMP_DATA_SIZE):
        return f"loads from offset {one.k} of the call, which is not the start of a word"
    if one.code == op.DIV and one.k == 0:
        return "divides by zero"
    if one.code in (op.LSH, op.RSH) and one.k > 31:
        return f"shifts 32 bits by {one.k}"
    if one.code in (op.LD_MEM, op.LDX_MEM, op.ST, op.STX) and one.k >= op.MEMORY_WORDS:
        return f"uses memory word {one.k} of {op.MEMORY_WORDS}"
    farthest = one.k if one.code == op.JA else max(one.jt, one.jf)
    if (one.code == op.JA or one.code in _CONDITIONAL) and farthest >= left:
        return "jumps past the end"
    return ""


def _check_memory(code: tuple[Instruction, ...]) -> None:
    """A memory word is written on every path before it is read, else it would show the kernel's."""
    if not any(one.code in (op.LD_MEM, op.LDX_MEM) for one in code):
        return
    written = [_ALL_WORDS] * len(code)
    here = 0
    for at, one in enumerate(code):
        here &= written[at]
        if one.code in (op.ST, op.STX):
            here |= 1 << one.k
        elif one.code in (op.LD_MEM, op.LDX_MEM) and not here >> one.k & 1:
            raise FilterError(f"instruction {at} of the filter program reads unwritten memory")
        elif one.code == op.JA or one.code in _CONDITIONAL:
            for jump in (one.k,) if one.code == op.JA else (one.jt, one.jf):
                written[at + 1 + jump] &= here
            here = _ALL_WORDS
