"""What a profile means."""

import errno

import pytest

from notifyd.bpf import profile as p
from notifyd.kernel import seccomp

NONE = (0,) * 6


def test_actions_are_the_kernel_s_numbers():
    """The constants written here agree with those of the kernel layer."""
    assert p.ALLOW.value == seccomp.RET_ALLOW
    assert p.NOTIFY.value == seccomp.RET_USER_NOTIF
    assert p.KILL_PROCESS.value == seccomp.RET_KILL_PROCESS
    assert p.KILL_THREAD.value == seccomp.RET_KILL_THREAD
    assert p.LOG.value == seccomp.RET_LOG
    assert p.TRAP.value == seccomp.RET_TRAP
    assert p.errno_action(errno.EPERM).value == seccomp.RET_ERRNO | errno.EPERM


def test_an_action_reads_as_words():
    """A person reads the errno's name, and the hexadecimal value of what has no name."""
    assert str(p.ALLOW) == "allow"
    assert str(p.KILL_PROCESS) == "kill process"
    assert str(p.errno_action(errno.EPERM)) == "errno EPERM"
    assert str(p.errno_action(4000)) == "errno 4000"
    assert str(p.Action(0x7FF00007)) == "0x7ff00007"


@pytest.mark.parametrize("n", [-1, 4096])
def test_what_the_kernel_would_cut_is_no_errno(n):
    """An errno that the kernel would silently change is refused."""
    with pytest.raises(ValueError, match="errno"):
        p.errno_action(n)
    with pytest.raises(ValueError):
        p.Action(0x00050000 | 4096)


@pytest.mark.parametrize("wrong", [(6, 1, 1), (0, 0, 0), (0, 1 << 64, 0), (0, 1, 2)])
def test_a_condition_that_means_nothing_is_refused(wrong):
    """No such argument, an empty or too wide mask, or bits that can never agree."""
    with pytest.raises(ValueError):
        p.Masked(*wrong)


def test_a_cube_has_each_argument_once_and_in_order():
    """A clause refuses cubes that no reader could rely on."""
    with pytest.raises(ValueError):
        p.Clause(p.ALLOW, ((p.Masked(1, 1, 1), p.Masked(0, 1, 1)),))
    with pytest.raises(ValueError):
        p.Clause(p.ALLOW, ((p.Masked(0, 1, 1), p.Masked(0, 2, 2)),))


def test_the_first_clause_that_holds_decides():
    """Order counts, and where nothing holds the default speaks."""
    clauses = (
        p.Clause(p.errno_action(1), ((p.Masked(0, 3, 1),), (p.Masked(1, 1, 1),))),
        p.Clause(p.NOTIFY, ((p.Masked(0, 1, 1),),)),
    )
    profile = p.Profile(p.ALLOW, (p.ArchTable("i386", {5: clauses}),), p.errno_action(38))
    assert p.decide(profile, "i386", 5, (1, 0, 0, 0, 0, 0)) == p.errno_action(1)
    assert p.decide(profile, "i386", 5, (0, 1, 0, 0, 0, 0)) == p.errno_action(1)
    assert p.decide(profile, "i386", 5, (3, 0, 0, 0, 0, 0)) == p.NOTIFY
    assert p.decide(profile, "i386", 5, NONE) == p.ALLOW
    assert p.decide(profile, "i386", 6, (1, 0, 0, 0, 0, 0)) == p.ALLOW


def test_x32_and_unknown_entries_get_what_was_chosen_for_them():
    """A number with the x32 bit is no x86-64 number; -1, a tracer's mark, is no x32 number."""
    profile = p.Profile(p.ALLOW, (p.ArchTable("x86_64", {}),), p.errno_action(38))
    assert p.decide(profile, "i386", 1, NONE) == p.errno_action(38)
    assert p.decide(profile, "x86_64", 0x40000001, NONE) == p.errno_action(38)
    assert p.decide(profile, "x86_64", -1, NONE) == p.ALLOW
