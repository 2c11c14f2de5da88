"""Sources: where an argument lies, and whether fetching it is a look at memory."""

from struct import pack

import pytest

from notifyd import Raw
from notifyd.policy.sources import Const, Mem, Pair, Reg, Reg16, Word, call, socketcall
from notifyd.testing import FakeTarget, call_from_registers


@pytest.fixture
def made():
    """A call with registers 0x11111111_2222FFFF, 0x1000, 3, -1; memory counts up from 0x1000."""
    target = FakeTarget({0x1000: pack("<8I", *range(1, 9))})
    return call_from_registers(
        Raw("sysinfo"), "sysinfo", 0x1111111122220005, 0x1000, 3, -1, target=target, arch="x86_64"
    )


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (Reg(0), 0x1111111122220005),
        (Reg(3), 2**64 - 1),
        (Reg16(0), 5),
        (Reg16(3), 0xFFFFFFFF),
        (Const(7), 7),
        (Pair(2, 0), 0x22220005_00000003),
        (Pair(3, 2), 0x3_FFFFFFFF),
    ],
)
def test_registers_are_no_look(made, source, value):
    """Unsigned, as the kernel's record has them."""
    assert source.fetch(made) == value
    assert not made.looked


@pytest.mark.parametrize(
    ("source", "value"),
    [(Mem(1, 0, 4), 1), (Mem(1, 4, 8), 2 | 3 << 32), (Word(0), 1), (Word(3), 4)],
)
def test_memory_is_a_look(made, source, value):
    """Little endian, behind a pointer."""
    assert source.fetch(made) == value
    assert made.looked


def test_lines_of_tables():
    """A bare number is a register; socketcall's arguments are words."""
    line = call("openat", dirfd=0, flags=Const(3), when={1: 5, 0: 4}, arch="i386")
    assert line.sources == {"dirfd": Reg(0), "flags": Const(3)}
    assert (line.syscall, line.when, line.arch) == ("openat", ((0, 4), (1, 5)), "i386")
    line = socketcall(3, "fd", "address")
    assert line.sources == {"fd": Word(0), "address": Word(1)}
    assert (line.syscall, line.when, line.arch) == ("socketcall", ((0, 3),), "i386")
