"""The entries and their tables."""

import errno
import os

import pyseccomp
import pytest

from notifyd.kernel import arch

TOKENS = {
    arch.AUDIT_ARCH_X86_64: pyseccomp.Arch.X86_64,
    arch.AUDIT_ARCH_I386: pyseccomp.Arch.X86,
    arch.AUDIT_ARCH_AARCH64: pyseccomp.Arch.AARCH64,
}


@pytest.mark.parametrize("entry", arch.ARCHES.values(), ids=lambda entry: entry.name)
def test_tables_agree_with_libseccomp(entry):
    """Every number that libseccomp knows has the same name in our table."""
    token = TOKENS[entry.audit]
    compared = 0
    for number in range(600):
        name = libseccomp_name(token, number)
        if name is not None:
            assert (number, entry.name_of(number)) == (number, name)
            compared += 1
    assert compared > 300


@pytest.mark.parametrize("entry", arch.ARCHES.values(), ids=lambda entry: entry.name)
def test_no_name_of_ours_is_another_call_to_libseccomp(entry):
    """Every name of ours is the same number in libseccomp, or unknown to it."""
    for name, number in entry.numbers.items():
        theirs = libseccomp_number(TOKENS[entry.audit], name)
        assert theirs == number or theirs < 0, name


def libseccomp_name(token, number):
    """Return libseccomp's name; None when it has none."""
    try:
        name = pyseccomp.resolve_syscall(token, number)
    except ValueError:
        return None
    return name.decode() if isinstance(name, bytes) else name


def libseccomp_number(token, name):
    """Return libseccomp's number, which is negative for a call of other entries only."""
    try:
        return pyseccomp.resolve_syscall(token, name)
    except ValueError:
        return -1


@pytest.mark.parametrize("entry", arch.ARCHES.values(), ids=lambda entry: entry.name)
def test_no_number_twice(entry):
    """A number has one name."""
    assert len(set(entry.numbers.values())) == len(entry.numbers)


@pytest.mark.parametrize("entry", arch.ARCHES.values(), ids=lambda entry: entry.name)
def test_new_calls_have_the_same_number_everywhere(entry):
    """What came after Linux 5.1 is in every table, with the kernel's number."""
    new = {"openat2": 437, "fchmodat2": 452, "mseal": 462, "setxattrat": 463, "file_getattr": 468}
    assert {name: entry.numbers[name] for name in new} == new


def test_names_per_entry():
    """One number means different calls at different entries."""
    names = {entry.name: entry.name_of(59) for entry in arch.ARCHES.values()}
    assert names == {"x86_64": "execve", "i386": "oldolduname", "aarch64": "pipe2"}


def test_unknown_number():
    """A number that is in no table has no name."""
    assert arch.native().name_of(5000) is None


def test_x32_numbers_are_not_native_ones():
    """The x32 bit makes another number, which has no name."""
    x86_64 = arch.ARCHES[arch.AUDIT_ARCH_X86_64]
    assert x86_64.name_of(x86_64.numbers["openat"] | arch.X32_BIT) is None


def test_native_comes_first_of_the_entries():
    """The native entry leads those of its machine."""
    assert arch.entries(arch.native())[0] is arch.native()


def test_entries():
    """An x86-64 machine has two entries that we know, a 64-bit Arm one."""
    names = {e.name: tuple(o.name for o in arch.entries(e)) for e in arch.ARCHES.values()}
    assert names["x86_64"] == ("x86_64", "i386")
    assert names["aarch64"] == ("aarch64",)


def test_native_number_works():
    """The native table's getpid is the kernel's."""
    from notifyd.kernel.libc import syscall

    assert syscall(arch.native().numbers["getpid"]) == os.getpid()


def test_unknown_machine(monkeypatch):
    """A machine without a table is named in the error."""
    monkeypatch.setattr(os, "uname", lambda: type("U", (), {"machine": "m68k"}))
    with pytest.raises(OSError, match="m68k") as caught:
        arch.native.__wrapped__()
    assert caught.value.errno == errno.ENOSYS


def test_64_bit_process_under_a_32_bit_personality(monkeypatch):
    """A machine that calls itself i686 to a 64-bit process still has the 64-bit entry."""
    monkeypatch.setattr(os, "uname", lambda: type("U", (), {"machine": "i686"}))
    assert arch.native.__wrapped__().audit == arch.AUDIT_ARCH_X86_64
