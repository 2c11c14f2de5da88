"""Programs in words."""

from hypothesis import given
from hypothesis import strategies as st

from notifyd.bpf import opcodes as op
from notifyd.bpf.build import compile_profile
from notifyd.bpf.check import check
from notifyd.bpf.cubes import both, equal, has_any
from notifyd.bpf.disassemble import disassemble
from notifyd.bpf.profile import ALLOW, NOTIFY, ArchTable, Clause, Profile, errno_action
from notifyd.bpf.program import Instruction, Program
from notifyd.errors import FilterError

GOLDEN = """\
   0 0x20   0   0 0x00000004  A = arch
   1 0x15   0   1 0xc000003e  unless arch == x86_64 go to 3
   2 0x05   0   0 0x00000003  go to 6
   3 0x15   0   1 0x40000003  unless arch == i386 go to 5
   4 0x05   0   0 0x00000001  go to 6
   5 0x06   0   0 0x00050026  return errno ENOSYS
   6 0x20   0   0 0x00000000  A = nr
   7 0x15   0   1 0x00000029  unless nr == 41 go to 9
   8 0x06   0   0 0x7fc00000  return notify
   9 0x06   0   0 0x7fff0000  return allow""".splitlines()

HAND_MADE = Program(
    (
        Instruction(op.LD_ABS, k=op.ARCH_OFFSET),
        Instruction(op.JEQ, 0, 1, 0xC000003E),
        Instruction(op.JA, k=3),
        Instruction(op.JEQ, 0, 1, 0x40000003),
        Instruction(op.JA, k=1),
        Instruction(op.RET_K, k=0x00050026),
        Instruction(op.LD_ABS, k=op.NR_OFFSET),
        Instruction(op.JEQ, 0, 1, 41),
        Instruction(op.RET_K, k=0x7FC00000),
        Instruction(op.RET_K, k=0x7FFF0000),
    )
)


def meanings(*code):
    return [line[30:] for line in disassemble(Program(code))]


def test_the_shape_of_a_line():
    """Index, code, jumps, number, meaning; a number that two entries share has no name."""
    assert disassemble(HAND_MADE) == GOLDEN


def test_names_follow_the_architecture_in_force():
    """The same number is named per entry, by the path that leads to it."""
    entries = tuple(ArchTable(arch, {41: (Clause(NOTIFY, ((),)),)}) for arch in ("x86_64", "i386"))
    built = compile_profile(Profile(ALLOW, entries, errno_action(38)))
    text = "\n".join(disassemble(built.program))
    assert "nr == 41 (socket)" in text
    assert "nr == 41 (dup)" in text
    assert "return errno ENOSYS" in text


def test_conditions_name_the_argument():
    """A masked test says which half of which argument, and the mask."""
    clause = Clause(NOTIFY, both(equal(0, 64, 1 << 32 | 2), has_any(1, 4)))
    made = Profile(ALLOW, (ArchTable("x86_64", {41: (clause,)}),), errno_action(38))
    text = "\n".join(disassemble(compile_profile(made).program))
    for words in ("args[0] low == 0x2", "args[0] high == 0x1", "(args[1] low & 0x4) == 0x4"):
        assert words in text


def test_both_ways_of_a_jump_and_what_nobody_reaches():
    """A jump with two targets names both; an instruction without a path to it says so."""
    code = (
        Instruction(op.LD_ABS, k=16),
        Instruction(op.JGT | op.WITH_X, 2, 1),
        Instruction(op.RET_A),
        Instruction(op.RET_A),
        Instruction(op.RET_K, k=0x7FF01234),
    )
    assert meanings(*code) == [
        "A = args[0] low",
        "if args[0] low > X go to 4, else to 3",
        "never reached",
        "return A",
        "return 0x7ff01234",
    ]


ANY_CODE = st.builds(
    Instruction,
    st.integers(0, 255),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([0, 1, 4, 8, 60, 0x40000000]),
)


@given(st.lists(ANY_CODE, max_size=4))
def test_every_program_that_the_kernel_takes_has_words(code):
    """No instruction that passes the checker is without a meaning."""
    end = Instruction(op.RET_K)
    good = []
    for one in code:
        try:
            check(Program((*good, one, end, end)))
        except FilterError:
            continue
        good.append(one)
    lines = disassemble(Program((*good, end, end)))
    assert len(lines) == len(good) + 2
    assert all(line[30:].strip() for line in lines)
