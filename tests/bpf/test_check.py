"""Our checker against the kernel's."""

import random

import pytest

from notifyd.bpf import opcodes as op
from notifyd.bpf.check import check
from notifyd.bpf.program import Instruction, Program
from notifyd.errors import FilterError

CODES = list(range(0x100))
NUMBERS = [0, 1, 2, 3, 4, 15, 16, 31, 32, 60, 62, 64, 0xFFFFFFFF]


def taken(program):
    try:
        check(program)
    except FilterError:
        return False
    return True


def random_program(random_):
    """A short program, whose codes are mostly good and whose jumps mostly short."""
    good = [op.LD_ABS, op.LD_MEM, op.ST, op.STX, op.LDX_MEM, op.JA, op.TAX, op.RET_K]
    good += [*op.ALU_CODES, *op.JUMP_CODES]
    body = [
        Instruction(
            random_.choice(good) if random_.random() < 0.9 else random_.choice(CODES),
            random_.choice((0, 0, 1, 2)),
            random_.choice((0, 0, 1, 3)),
            random_.choice(NUMBERS),
        )
        for _ in range(random_.randrange(5))
    ]
    last = Instruction(op.RET_K if random_.random() < 0.95 else op.ST)
    return Program((*body, last))


def test_check_takes_what_the_kernel_takes(kernel_takes):
    """Ten thousand small programs, good and bad, are judged alike by both."""
    random_ = random.Random(1)
    programs = [random_program(random_) for _ in range(10_000)]
    ours = [taken(program) for program in programs]
    assert 1000 < sum(ours) < 9000
    assert kernel_takes(programs) == ours


def test_every_code_is_judged_as_the_kernel_does(kernel_takes):
    """All 256 codes, each with three numbers."""
    programs = [
        Program(
            (Instruction(op.ST), Instruction(code, k=0 if code == op.ST else k), Instruction(6))
        )
        for code in CODES
        for k in (0, 4, 32)
    ]
    assert kernel_takes(programs) == [taken(program) for program in programs]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Instruction(0x94, k=2), "does not know"),
        (Instruction(op.LD_ABS, k=64), "not the start of a word"),
        (Instruction(op.JA, k=1), "past the end"),
        (Instruction(op.JEQ, jf=1), "past the end"),
        (Instruction(op.DIV), "zero"),
        (Instruction(op.LSH, k=32), "shifts"),
        (Instruction(op.LD_MEM, k=1), "unwritten"),
    ],
)
def test_the_complaint_names_the_place(bad, words):
    """The error says which instruction, and what is wrong with it."""
    with pytest.raises(FilterError, match=f"instruction 0 .*{words}"):
        check(Program((bad, Instruction(op.RET_K))))
