"""uname(2) tells another name; the rest of its answer is true."""

import errno
import os
import platform

from notifyd import Return, Uname
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["fake-hostname"]


def members(record: bytes) -> list[str]:
    """The six texts of a struct utsname."""
    assert len(record) == 6 * 65
    return [record[at : at + 65].split(b"\0")[0].decode() for at in range(0, len(record), 65)]


def test_the_answer_is_written_where_it_was_asked_for():
    """One struct at the address in the register, with the real values beside the name."""
    call = make_call(Uname, buffer=0x5000, syscall="uname")
    verdict = verdict_of(load_rules(*RULES, name="build-1"), call)
    assert isinstance(verdict, Return)
    assert list(verdict.memory) == [0x5000]
    real = os.uname()
    told = members(verdict.memory[0x5000])
    assert told[:5] == [real.sysname, "build-1", real.release, real.version, real.machine]


def test_a_long_name_is_cut():
    """64 bytes and a NUL are what fits; the next member stays whole."""
    call = make_call(Uname, buffer=0x5000, syscall="uname")
    verdict = verdict_of(load_rules(*RULES, name="x" * 100), call)
    told = members(verdict.memory[0x5000])
    assert told[1:3] == ["x" * 64, os.uname().release]


def test_the_oldest_forms_are_refused():
    """Their structs are shorter, and a full one would write over what follows."""
    call = make_call(Uname, syscall="olduname", arch="i386")
    assert verdict_of(load_rules(*RULES), call).errno == errno.ENOSYS


def test_a_program_is_told_the_name(run, python):
    """By uname(2) of the C library and by uname(1)."""
    ran = run(RULES, "uname", "-n", name="elsewhere")
    assert ran.out == "elsewhere\n"
    real = python(["audit-exec"], "print(json.dumps(['u', ' '.join(os.uname())]))").found["u"]
    told = python(RULES, "print(json.dumps(['u', ' '.join(os.uname())]))").found["u"]
    assert told == real.replace(f" {platform.node()} ", " sandbox ", 1)


def test_a_bad_address_is_a_fault(python):
    """As from the kernel, and the program lives on."""
    code = "attempt('null', lambda: libc.uname(None) and ctypes.get_errno())"
    assert python(RULES, code).found == {"null": errno.EFAULT}
