"""The self-check finds programs that do something else."""

import pytest

from notifyd.bpf.build import compile_profile
from notifyd.bpf.cubes import equal
from notifyd.bpf.ordered import Ordered
from notifyd.bpf.profile import ALLOW, NOTIFY, ArchTable, Clause, Profile, errno_action
from notifyd.bpf.program import Program
from notifyd.bpf.verify import Compiled, verify
from notifyd.errors import FilterError
from notifyd.kernel.arch import AUDIT_ARCH_X86_64

EPERM = errno_action(1)
CLAUSES = (Clause(EPERM, equal(1, 32, 7)), Clause(NOTIFY, equal(0, 64, 1 << 32)))
PROFILE = Profile(ALLOW, (ArchTable("x86_64", {9: CLAUSES}),), errno_action(38))
ENTRIES = (Compiled("x86_64", AUDIT_ARCH_X86_64, {9: Ordered(CLAUSES, ALLOW)}),)
GOOD = compile_profile(PROFILE).program


def test_a_right_program_passes():
    """What the compiler makes agrees with its profile."""
    verify(GOOD, PROFILE, ENTRIES)


@pytest.mark.parametrize(
    "at", [at for at, one in enumerate(GOOD.instructions) if one.code in (0x06, 0x15, 0x35)]
)
def test_a_wrong_number_anywhere_is_found(at):
    """Each compared or returned number, changed by one bit, makes the check fail."""
    code = list(GOOD.instructions)
    code[at] = code[at]._replace(k=code[at].k ^ 0x00010000)
    with pytest.raises(FilterError, match="where the profile says"):
        verify(Program(tuple(code)), PROFILE, ENTRIES)


def test_a_widened_call_may_notify_but_not_do_anything_else():
    """Where a call is widened, NOTIFY is right everywhere, and another action is still wrong."""
    calls = {9: Ordered(CLAUSES, NOTIFY, widened=True)}
    widened = (Compiled("x86_64", AUDIT_ARCH_X86_64, calls),)
    always = ArchTable("x86_64", {9: (Clause(NOTIFY, ((),)),)})
    notifying = Profile(ALLOW, (always,), errno_action(38))
    program = compile_profile(notifying).program
    verify(program, PROFILE, widened)
    with pytest.raises(FilterError, match="call 9"):
        verify(program, PROFILE, ENTRIES)
