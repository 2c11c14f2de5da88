"""A program for a reader's eye: what will be, or was, installed.

Owns the words for each instruction. It follows every path through the program, so that it can say
what the accumulator holds and which architecture a system call number belongs to. Knows nothing of
the profile that the program was made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from notifyd.bpf import opcodes as op
from notifyd.bpf.check import check
from notifyd.bpf.profile import Action
from notifyd.bpf.program import Instruction, Program
from notifyd.kernel.arch import ARCHES, Arch

__all__ = ["disassemble"]

_WORDS = (
    "nr",
    "arch",
    "ip low",
    "ip high",
    *(f"args[{n}] {half}" for n in range(6) for half in ("low", "high")),
)


@dataclass(frozen=True, slots=True)
class _MachineState:
    """What is known before an instruction: the accumulator's content and the entry in force."""

    a: str = "A"
    arch: Arch | None = None

    def joined(self, other: _MachineState | None) -> _MachineState:
        """What is known where two paths meet."""
        if other is None:
            return self
        a = self.a if self.a == other.a else "A"
        return _MachineState(a, self.arch if self.arch is other.arch else None)


def disassemble(program: Program) -> list[str]:
    """One line for each instruction: index, code, jt, jf, k, and what it means.

    Raises:
        FilterError: the kernel would not take the program.
    """
    check(program)
    states: list[_MachineState | None] = [None] * len(program)
    states[0] = _MachineState()
    lines = []
    for at, one in enumerate(program.instructions):
        state = states[at]
        meaning = "never reached" if state is None else _meaning(at, one, state)
        if state is not None:
            for target, after in _next(at, one, state):
                states[target] = after.joined(states[target])
        lines.append(f"{at:4} {one.code:#04x} {one.jt:3} {one.jf:3} {one.k:#010x}  {meaning}")
    return lines


def _is_conditional(one: Instruction) -> bool:
    return one.code & 7 == op.JA & 7 and one.code != op.JA


def _next(at: int, one: Instruction, state: _MachineState) -> Iterator[tuple[int, _MachineState]]:
    """Where the program goes from here, and what is known there."""
    if one.code & 7 == op.RET_K & 7:
        return
    if one.code == op.JA:
        yield at + 1 + one.k, state
    elif _is_conditional(one):
        named = one.code == op.JEQ and state.a == "arch"
        yield at + 1 + one.jt, replace(state, arch=ARCHES.get(one.k)) if named else state
        yield at + 1 + one.jf, state
    else:
        yield at + 1, replace(state, a=_content(one, state))


def _content(one: Instruction, state: _MachineState) -> str:
    """What the accumulator holds after an instruction that does not jump."""
    if one.code == op.LD_ABS:
        return _WORDS[one.k // 4]
    if one.code == op.AND:
        return f"({state.a} & {one.k:#x})" if state.a != "A" else "A"
    keeps = one.code in (op.ST, op.STX, op.TAX) or one.code & 7 == op.LDX_IMM
    return state.a if keeps else "A"


def _meaning(at: int, one: Instruction, state: _MachineState) -> str:
    if one.code == op.JA:
        return f"go to {at + 1 + one.k}"
    if _is_conditional(one):
        return _jump(at, one, state)
    if one.code == op.RET_K:
        return f"return {Action(one.k)}" if one.k & 0xFFFF < 4096 else f"return {one.k:#x}"
    return _plain(one)


def _jump(at: int, one: Instruction, state: _MachineState) -> str:
    sign = op.JUMP_CODES[one.code & ~op.WITH_X]
    right = "X" if one.code & op.WITH_X else _number(one.k, state)
    test = f"{state.a} {sign} {right}"
    true, false = at + 1 + one.jt, at + 1 + one.jf
    if one.jf == 0:
        return f"if {test} go to {true}"
    if one.jt == 0:
        return f"unless {test} go to {false}"
    return f"if {test} go to {true}, else to {false}"


def _number(k: int, state: _MachineState) -> str:
    """A constant, with its name where what it is compared with gives it one."""
    if state.a == "arch":
        return ARCHES[k].name if k in ARCHES else f"{k:#x}"
    if state.a != "nr":
        return f"{k:#x}"
    name = state.arch.name_of(k) if state.arch else None
    if k >= 0x40000000:
        return f"{k:#x}"
    return f"{k} ({name})" if name else str(k)


def _plain(one: Instruction) -> str:
    """The meaning of what neither jumps nor returns a constant."""
    fixed = {
        op.LD_LEN: f"A = {op.SECCOMP_DATA_SIZE}",
        op.LDX_LEN: f"X = {op.SECCOMP_DATA_SIZE}",
        op.LD_IMM: f"A = {one.k:#x}",
        op.LDX_IMM: f"X = {one.k:#x}",
        op.LD_MEM: f"A = M[{one.k}]",
        op.LDX_MEM: f"X = M[{one.k}]",
        op.ST: f"M[{one.k}] = A",
        op.STX: f"M[{one.k}] = X",
        op.TAX: "X = A",
        op.TXA: "A = X",
        op.NEG: "A = -A",
        op.RET_A: "return A",
    }
    if one.code == op.LD_ABS:
        return f"A = {_WORDS[one.k // 4]}"
    if one.code in fixed:
        return fixed[one.code]
    right = "X" if one.code & op.WITH_X else f"{one.k:#x}"
    return f"A = A {op.ALU_CODES[one.code & ~op.WITH_X]} {right}"
