"""The ordered clauses of one system call as instructions.

libseccomp keeps the rules of a call in no order, so clauses that take their turn would have to be
cut into pieces that do not meet; of those it makes a tree, and adding 65 rules on four arguments
was seen to take it 40 seconds (2.5.4). Instructions in the clauses' own order are short, exact and
made at once. Owns them; knows nothing of numbers and architectures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notifyd.bpf import opcodes as op
from notifyd.bpf.profile import NOTIFY, Action, Clause, Cube
from notifyd.bpf.program import Instruction
from notifyd.kernel.limits import MASK32

__all__ = ["Ordered", "order"]


@dataclass(frozen=True, slots=True)
class Ordered:
    """Clauses that all can be reached, and what decides where none of them holds.

    `widened` says that `otherwise` stands for clauses that were too long to write down.
    """

    clauses: tuple[Clause, ...]
    otherwise: Action
    widened: bool = False

    def code(self) -> Iterator[Instruction]:
        """The instructions, which load what they test and end by returning."""
        held: _Word | None = None
        for clause in self.clauses:
            for cube in clause.cubes:
                words = tuple(_words(cube))
                yield from _cube_code(words, clause.action, held)
                # Only a cube of one word leaves the accumulator in a known state when it fails.
                held = words[0] if len(words) == 1 else None
        yield Instruction(op.RET_K, k=self.otherwise.value)


def order(clauses: Sequence[Clause], default: Action, limit: int, *, may_notify: bool) -> Ordered:
    """Leave out what cannot be reached or changes nothing, and what is more than `limit` cubes.

    Args:
        clauses: The first that holds decides.
        default: What decides where none holds.
        limit: How many cubes to write down, if `may_notify`. The rest of the calls is notified.
        may_notify: Whether a supervisor answers notifications, and decides again what a widened
            call sends: slower, and never wrong.
    """
    kept: list[Clause] = []
    cubes = 0
    for clause in clauses:
        if () in clause.cubes:
            default = clause.action
            break
        cubes += len(clause.cubes)
        if may_notify and cubes > limit:
            return Ordered(tuple(kept), NOTIFY, widened=True)
        kept.append(clause)
    while kept and (kept[-1].action == default or not kept[-1].cubes):
        kept.pop()
    return Ordered(tuple(kept), default)


@dataclass(frozen=True, slots=True)
class _Word:
    """A test of one 32-bit half of an argument, which is all that a program can load at once."""

    offset: int
    mask: int
    value: int


def _words(cube: Cube) -> Iterator[_Word]:
    for one in cube:
        low = op.ARGS_OFFSET + 8 * one.arg
        # The low half first: it is nearly always the one that differs.
        for offset, shift in ((low, 0), (low + 4, 32)):
            if mask := one.mask >> shift & MASK32:
                yield _Word(offset, mask, one.value >> shift & MASK32)


def _cube_code(words: Sequence[_Word], action: Action, held: _Word | None) -> Iterator[Instruction]:
    """Return `action` if all words match; continue after it if one does not."""
    code: list[Instruction] = []
    failing: list[int] = []
    for word in words:
        if held is None or (held.offset, held.mask) != (word.offset, word.mask):
            code.append(Instruction(op.LD_ABS, k=word.offset))
            if word.mask != MASK32:
                code.append(Instruction(op.AND, k=word.mask))
        held = None
        failing.append(len(code))
        code.append(Instruction(op.JEQ, k=word.value))
    for at in failing:  # at most 12 words of 3 instructions: always within a jump's 255
        code[at] = code[at]._replace(jf=len(code) - at)
    yield from code
    yield Instruction(op.RET_K, k=action.value)
