"""What an installed profile lets by without asking."""

import pytest

from notifyd.bpf.cubes import equal
from notifyd.bpf.oci.check import compile_oci
from notifyd.bpf.oci.profile import as_profile
from notifyd.bpf.passing import goes_on, meaning_of, passes, where
from notifyd.bpf.profile import NOTIFY as KERNEL_NOTIFY
from notifyd.bpf.profile import decide
from notifyd.bpf.simulate import Machine
from notifyd.kernel.arch import entries, native

NOTIFY, ALLOW, ERRNO = (f"SCMP_ACT_{name}" for name in ("NOTIFY", "ALLOW", "ERRNO"))
ANY = ((),)


def meaning(default, *syscalls, **others):
    """The meaning of a profile for this machine's own entry."""
    profile = {"defaultAction": default, "syscalls": list(syscalls)} | others
    return meaning_of(as_profile(profile, "here"), "here")


def entry(name, action, *tests):
    """One entry; the tests are (index, value) that have to be equal."""
    args = [{"index": at, "value": value, "op": "SCMP_CMP_EQ"} for at, value in tests]
    return {"names": [name], "action": action, "args": args}


def let_by(profile, name, within=ANY):
    """Whether any such call of the machine's own entry goes on."""
    return passes(profile, native().name, native().numbers[name], within)


@pytest.mark.parametrize(("action", "goes"), [(NOTIFY, False), (ERRNO, False), (ALLOW, True)])
def test_what_is_said_of_every_call(action, goes):
    """By name, and by default."""
    assert let_by(meaning(ALLOW, entry("mknod", action)), "mknod") == goes
    if action != NOTIFY:
        assert let_by(meaning(action), "mknod") == goes


def test_what_is_said_of_some_calls():
    """Only the registers that matter are asked about; the default has the others."""
    profile = meaning(ALLOW, entry("ioctl", NOTIFY, (1, 7)))
    assert not let_by(profile, "ioctl", equal(1, 64, 7))
    assert let_by(profile, "ioctl", equal(1, 64, 8))
    assert let_by(profile, "ioctl")
    assert not let_by(meaning(ERRNO, entry("ioctl", NOTIFY, (1, 7))), "ioctl")


def test_the_loosest_of_two_is_believed():
    """Which one libseccomp heeds depends on more than their order."""
    both = entry("ioctl", NOTIFY), entry("ioctl", ALLOW, (1, 7))
    for order in (both, both[::-1]):
        profile = meaning(ERRNO, *order)
        assert let_by(profile, "ioctl", equal(1, 64, 7))
        assert not let_by(profile, "ioctl", equal(1, 64, 8))


def test_too_many_pieces_pass():
    """What would take too long to find out is not believed, though the default refuses."""
    notified = [entry("ioctl", NOTIFY, *[(at, 1 << bit) for at in range(6)]) for bit in range(6)]
    assert not let_by(meaning(ERRNO, notified[0]), "ioctl")
    assert let_by(meaning(ERRNO, *notified), "ioctl")


def test_other_entries_are_killed_unless_named():
    """A program that comes through one that the profile does not have cannot call at all."""
    for other in entries(native())[1:]:
        number = other.numbers["mknod"]
        assert not passes(meaning(ALLOW), other.name, number, ANY)
        named = meaning(ALLOW, architectures=["SCMP_ARCH_X86"])
        assert passes(named, other.name, number, ANY)


def test_where_asks_for_any_action():
    """The registers for which the kernel does not go on."""
    profile = meaning(ALLOW, entry("ioctl", NOTIFY, (1, 7)))
    number = native().numbers["ioctl"]
    found = where(profile, native().name, number, lambda action: not goes_on(action), ANY)
    assert found == equal(1, 64, 7)


@pytest.mark.skipif(native().name != "x86_64", reason="i386 is an entry of x86-64")
@pytest.mark.parametrize(
    ("test", "value", "holds"),
    [
        ({"op": "SCMP_CMP_EQ", "value": 5}, 5, True),
        ({"op": "SCMP_CMP_EQ", "value": 1 << 32 | 5}, 5, True),
        ({"op": "SCMP_CMP_NE", "value": 1 << 32 | 5}, 5, False),
        ({"op": "SCMP_CMP_GE", "value": 1 << 32 | 5}, 5, True),
        ({"op": "SCMP_CMP_GT", "value": 5}, 6, True),
        ({"op": "SCMP_CMP_LT", "value": 1 << 32 | 5}, 6, False),
        ({"op": "SCMP_CMP_LE", "value": 5}, 5, True),
        ({"op": "SCMP_CMP_MASKED_EQ", "value": 1 << 32 | 4, "valueTwo": 1 << 32 | 4}, 4, True),
    ],
    ids=lambda one: one["op"] if isinstance(one, dict) else str(one),
)
def test_the_i386_entry_compares_the_low_half(test, value, holds):
    """As libseccomp has it, which is asked here too, whatever the upper half of the register is."""
    said = {"names": ["ioctl"], "action": NOTIFY, "args": [{"index": 1, **test}]}
    arches = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    data = {"defaultAction": ALLOW, "architectures": arches, "syscalls": [said]}
    profile = as_profile(data, "here")
    i386 = entries(native())[1]
    machine, number = Machine(compile_oci(profile)), i386.numbers["ioctl"]
    meant = meaning_of(profile, "here")
    for rubbish in (0, 1 << 32, 0xFFFF_FFFF << 32):
        args = (0, value | rubbish, 0, 0, 0, 0)
        got = machine.run(i386.audit, number, args)
        assert got == decide(meant, "i386", number, args).value
        assert (got == KERNEL_NOTIFY.value) == holds
