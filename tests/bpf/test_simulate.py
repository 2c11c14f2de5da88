"""The interpreter, against hand-made programs and the kernel itself."""

import pytest

from notifyd.bpf import opcodes as op
from notifyd.bpf.program import Instruction as I
from notifyd.bpf.program import Program
from notifyd.bpf.simulate import simulate
from notifyd.errors import FilterError
from notifyd.kernel.arch import native

RETURN_A = I(op.RET_A)


def returned(*code, nr=0, args=(0,) * 6, ip=0, audit=7):
    return simulate(Program(code), audit, nr, args, ip)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, 0xFFFFFFFF), (4, 7), (8, 0x22222222), (12, 0x11111111), (16, 4), (20, 3), (60, 9)],
)
def test_loads_see_the_call_as_the_kernel_lays_it_out(offset, value):
    """Number, architecture, instruction pointer, then the arguments, low halves first."""
    args = (3 << 32 | 4, 0, 0, 0, 0, 9 << 32)
    ip = 0x1111111122222222
    assert returned(I(op.LD_ABS, k=offset), RETURN_A, nr=-1, args=args, ip=ip) == value


@pytest.mark.parametrize(
    ("code", "a", "operand", "value"),
    [
        (op.ADD, 0xFFFFFFFF, 2, 1),
        (op.SUB, 1, 2, 0xFFFFFFFF),
        (op.MUL, 0x10000, 0x10001, 0x10000),
        (op.DIV, 7, 2, 3),
        (op.OR, 5, 2, 7),
        (op.AND, 7, 10, 2),
        (op.XOR, 7, 10, 13),
        (op.LSH, 0x80000001, 1, 2),
        (op.RSH, 0x80000001, 1, 0x40000000),
    ],
)
def test_arithmetic_is_32_bits_wide(code, a, operand, value):
    """Each operation, with a constant and with X."""
    load = I(op.LD_IMM, k=a)
    assert returned(load, I(code, k=operand), RETURN_A) == value
    with_x = (I(op.LDX_IMM, k=operand), load, I(code | op.WITH_X), RETURN_A)
    assert returned(*with_x) == value


def test_the_small_instructions():
    """Negation, moving between registers and memory, and the length of the data."""
    assert returned(I(op.LD_IMM, k=1), I(op.NEG), RETURN_A) == 0xFFFFFFFF
    assert returned(I(op.LD_LEN), RETURN_A) == 64
    assert returned(I(op.LDX_LEN), I(op.TXA), RETURN_A) == 64
    assert returned(I(op.LD_IMM, k=5), I(op.TAX), I(op.LD_IMM), I(op.TXA), RETURN_A) == 5
    stored = (I(op.LD_IMM, k=5), I(op.ST, k=3), I(op.LDX_MEM, k=3), I(op.STX, k=4))
    assert returned(*stored, I(op.LD_IMM), I(op.LD_MEM, k=4), RETURN_A) == 5


@pytest.mark.parametrize(
    ("code", "k", "taken"),
    [
        (op.JEQ, 5, True),
        (op.JEQ, 4, False),
        (op.JGT, 5, False),
        (op.JGT, 4, True),
        (op.JGE, 5, True),
        (op.JGE, 6, False),
        (op.JSET, 4, True),
        (op.JSET, 2, False),
    ],
)
def test_jumps(code, k, taken):
    """Each comparison, with a constant and with X."""
    ends = (I(op.RET_K, k=0), I(op.RET_K, k=1))
    assert returned(I(op.LD_IMM, k=5), I(code, 1, 0, k), *ends) == taken
    start = (I(op.LDX_IMM, k=k), I(op.LD_IMM, k=5))
    assert returned(*start, I(code | op.WITH_X, 1, 0), *ends) == taken
    assert returned(I(op.JA, k=1), *ends) == 1


def test_dividing_by_a_zero_register_ends_with_zero():
    """The kernel returns 0, which kills the thread, and so do we."""
    assert returned(I(op.LD_IMM, k=5), I(op.DIV | op.WITH_X), I(op.RET_K, k=9)) == 0


def test_what_the_kernel_rejects_is_not_run():
    """A program that could never be installed has no result."""
    with pytest.raises(FilterError):
        returned(I(op.RET_K), I(op.JA, k=7))


def test_the_kernel_computes_the_same(kernel_says):
    """An errno computed by a program is the one that the kernel gives."""
    nr = native().numbers["getppid"]
    program = Program(
        (
            I(op.LD_ABS, k=0),
            I(op.JEQ, 1, 0, nr),
            I(op.RET_K, k=0x7FFF0000),
            I(op.LD_ABS, k=20),
            I(op.TAX),
            I(op.LD_ABS, k=24),
            I(op.MUL | op.WITH_X),
            I(op.RSH, k=2),
            I(op.AND, k=0xFF),
            I(op.OR, k=0x00050000),
            RETURN_A,
        )
    )
    args = (6 << 32, 14, 0, 0, 0, 0)
    assert simulate(program, native().audit, nr, args) == 0x00050000 | 21
    assert kernel_says(program, [("native", nr, args)]) == [21]
