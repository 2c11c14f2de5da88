"""Programs as values and as bytes."""

import pytest

from notifyd.bpf.program import Instruction, Program
from notifyd.errors import FilterError
from notifyd.kernel.limits import BPF_MAXINSNS

RETURN = Instruction(6, 0, 0, 0x7FFF0000)


def test_bytes_are_sock_filters_and_come_back():
    """Eight bytes each: code, two jumps, a number."""
    program = Program((Instruction(0x15, 1, 2, 0x01020304), RETURN))
    raw = program.to_bytes()
    assert raw[:8] == b"\x15\x00\x01\x02\x04\x03\x02\x01"
    assert len(raw) == 16
    assert Program.from_bytes(raw) == program


@pytest.mark.parametrize("raw", [b"", b"\x06" * 7, b"\x06" * 9])
def test_bytes_that_are_no_program(raw):
    """Empty and broken arrays are refused."""
    with pytest.raises(FilterError):
        Program.from_bytes(raw)


def test_the_kernel_s_limit_on_the_length(kernel_takes):
    """The longest program is one that the kernel takes; one more is an error with a remedy."""
    longest = Program((RETURN,) * BPF_MAXINSNS)
    assert kernel_takes([longest]) == [True]
    with pytest.raises(FilterError, match=r"4097 instructions.*fewer"):
        Program((RETURN,) * (BPF_MAXINSNS + 1))
