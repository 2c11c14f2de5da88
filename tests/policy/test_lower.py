"""What sinks into the kernel: profiles compared with what rules mean, and conflicts."""

import errno

import pytest

from notifyd import (
    Allow,
    Connect,
    Deny,
    IoUring,
    Kill,
    Open,
    Raw,
    RuleSet,
    Socket,
    always,
    has,
    is_not,
    on,
)  # fmt: skip
from notifyd.bpf.profile import ALLOW, KILL_PROCESS, NOTIFY, decide, errno_action
from notifyd.errors import UsageError
from notifyd.kernel.arch import entries, native
from notifyd.policy.lower import lower
from notifyd.policy.rule import DECLARED
from notifyd.testing import make_call

EPERM, EACCES = errno_action(errno.EPERM), errno_action(errno.EACCES)
ONLY_X86 = pytest.mark.skipif(native().name != "x86_64", reason="i386 is an entry of x86-64")


@pytest.fixture(autouse=True)
def build():
    """Build a rule set of what a test declared; nothing is left of that."""
    globals().pop(DECLARED, None)
    yield lambda: RuleSet.build(globals().get(DECLARED, []))
    globals().pop(DECLARED, None)


def action(lowered, call):
    """What the kernel does with a call."""
    return decide(lowered.profile, call.arch, call.note[3], call.args)


def test_a_rule_is_notified_of_its_calls_and_no_others(build):
    """What no rule names stays in the kernel."""
    on(Open)(lambda call: None)
    lowered = lower(build())
    assert lowered.notifies
    assert action(lowered, make_call(Open)) == NOTIFY
    assert action(lowered, make_call(Socket)) == ALLOW
    assert lowered.decided == ()


def test_what_another_file_is_asked_about_first_is_not_decided_in_the_kernel(build):
    """Its rule has to see the call; the refusal that follows is the supervisor's to give."""
    globals()[DECLARED] = []
    on(Socket, family=2)(lambda call: None)
    watches = globals().pop(DECLARED)
    always(Deny(errno.EACCES), Socket, family=2)
    some = globals().pop(DECLARED)
    always(Deny(errno.EACCES), Socket)
    every = globals().pop(DECLARED)
    known = {}
    for name, files in (("some", [watches, some]), ("every", [watches, every])):
        lowered = lower(RuleSet.build(*files))
        assert action(lowered, make_call(Socket, family=2)) == NOTIFY
        known[name] = lowered.decided
        turned = lower(RuleSet.build(*reversed(files)))
        assert action(turned, make_call(Socket, family=2)) == EACCES
        assert turned.decided == (("Socket", str(EACCES)),)
    assert known == {"some": (), "every": (("Socket", str(EACCES)),)}


def test_nothing_at_all(build):
    """No declaration, no notification; what is unknown is refused all the same."""
    lowered = lower(build())
    assert not lowered.notifies
    assert lowered.profile.unknown_arch == errno_action(errno.ENOSYS)
    assert {entry.arch for entry in lowered.profile.entries} == {
        arch.name for arch in entries(native())
    }


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [(Deny(errno.EPERM), EPERM), (Kill(), KILL_PROCESS), (Allow(), ALLOW)],
)
def test_always_is_decided_in_the_kernel(build, verdict, expected):
    """Each verdict has its action, and costs no notification."""
    always(verdict, IoUring)
    lowered = lower(build())
    assert not lowered.notifies
    assert action(lowered, make_call(IoUring)) == expected
    assert lowered.decided == (("IoUring", str(expected)),)


def test_conditions_become_tests_of_registers(build):
    """Only what matches leaves the kernel; the bits above the width do not count."""
    always(Deny(errno.EACCES), Socket, family=is_not(1, 2))
    on(Socket, family=2, type=3)(lambda call: None)
    lowered = lower(build())
    found = {
        (family, kind): action(lowered, make_call(Socket, family=family, type=kind))
        for family in (1, 2, 3)
        for kind in (1, 3, 3 | 0o2000000)
    }
    assert found == {
        (1, 1): ALLOW, (1, 3): ALLOW, (1, 3 | 0o2000000): ALLOW,
        (2, 1): ALLOW, (2, 3): NOTIFY, (2, 3 | 0o2000000): NOTIFY,
        (3, 1): EACCES, (3, 3): EACCES, (3, 3 | 0o2000000): EACCES,
    }  # fmt: skip


@ONLY_X86
@pytest.mark.parametrize(
    ("verdict", "expected"),
    [(Deny(errno.EPERM), EPERM), (Kill(), KILL_PROCESS), (Allow(), ALLOW)],
)
def test_what_the_filter_cannot_see_fails_closed(build, verdict, expected):
    """A refusal refuses whatever the family is; an allowance does not apply, nor to others."""
    always(verdict, Socket, family=5)
    if verdict == Allow():
        on(Socket)(lambda call: None)
        expected = NOTIFY
    lowered = lower(build())
    hidden = make_call(Socket, family=1, syscall="socketcall", arch="i386")
    assert action(lowered, hidden) == expected
    other = make_call(Connect, syscall="socketcall", arch="i386")
    assert action(lowered, other) == ALLOW


def test_a_rule_is_asked_about_what_it_may_be_about(build):
    """openat2's flags are in memory, so all of them are notified."""
    on(Open, flags=has(0o100))(lambda call: None)
    lowered = lower(build())
    assert action(lowered, make_call(Open, syscall="openat", flags=0)) == ALLOW
    assert action(lowered, make_call(Open, syscall="openat", flags=0o100)) == NOTIFY
    assert action(lowered, make_call(Open, syscall="openat2", flags=0)) == NOTIFY


WATCHED = ("execve", "setuid", "setresuid", "no such call")


def test_the_supervisor_can_watch(build):
    """What it wants to be told of is notified, also where a rule allows; refusals stay."""
    always(Allow(), Raw("execve"))
    always(Deny(errno.EPERM), Raw("setuid"))
    lowered = lower(build(), watch=[(name, ((),)) for name in WATCHED])
    numbers = native().numbers
    found = {
        name: decide(lowered.profile, native().name, numbers[name], (0,) * 6)
        for name in ("execve", "setuid", "setresuid", "getpid")
    }
    assert found == {"execve": NOTIFY, "setuid": EPERM, "setresuid": NOTIFY, "getpid": ALLOW}


def test_a_rule_that_can_never_speak(build):
    """Both places are named."""
    always(Deny(errno.EPERM), Socket)
    on(Socket, family=2)(lambda call: None)
    with pytest.raises(UsageError, match=r"test_lower\.py:\d+: .*can never speak.*py:\d+ decides"):
        lower(build())


def test_one_that_sometimes_speaks_is_none(build):
    """Something is left to it: other registers, or another operation."""
    always(Deny(errno.EPERM), Socket, family=is_not(1))
    on(Socket, Connect)(lambda call: None)
    lower(build())
    always(Deny(errno.EACCES), Socket)
    lower(build())


def test_saying_the_same_twice_is_no_conflict(build):
    """Two rule files may both refuse io_uring; with another verdict one of them is wrong."""
    always(Deny(errno.EPERM), IoUring)
    always(Deny(errno.EPERM), IoUring)
    lower(build())
    always(Deny(errno.EACCES), IoUring)
    with pytest.raises(UsageError, match="can never speak"):
        lower(build())
