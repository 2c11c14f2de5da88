"""Rule sets: which declaration is asked about which call, and in which order."""

import pytest

from notifyd import Allow, Connect, Deny, Open, Raw, RuleSet, SetUid, Socket, always, has, on
from notifyd.errors import UsageError
from notifyd.kernel.arch import ARCHES, entries, native
from notifyd.policy.rule import DECLARED
from notifyd.testing import call_from_registers, make_call

X86_64, I386 = 0xC000003E, 0x40000003


@pytest.fixture(autouse=True)
def build():
    """Build a rule set of what a test declared; nothing is left of that."""
    globals().pop(DECLARED, None)
    yield lambda **more: RuleSet.build(globals().get(DECLARED, []), **more)
    globals().pop(DECLARED, None)


def plan(rules, syscall, arch=None):
    """The steps for a call of this machine's own entry, or another."""
    entry = native() if arch is None else next(a for a in ARCHES.values() if a.name == arch)
    return rules.plans.get((entry.audit, entry.numbers[syscall]), ())


def test_every_sibling_is_planned(build):
    """Who names an operation cannot forget one of its calls, on any entry of this machine."""
    on(Open)(lambda call: None)
    rules = build()
    for arch in entries(native()):
        for name in {"open", "openat", "openat2", "creat"} & arch.numbers.keys():
            (step,) = plan(rules, name, arch.name)
            assert step.operation is Open
            assert step.variant.syscall == name
            assert step.unconditional
    assert plan(rules, "connect") == ()


def test_what_is_always_comes_first(build):
    """As in the kernel, whatever the order written; the rest stays as it was."""
    on(Socket)(lambda call: None)
    always(Deny(1), Socket, family=5)
    on(Socket, type=1)(lambda call: None)
    always(Deny(2), Socket, family=6)
    rules = build()
    names = [step.declaration for step in plan(rules, "socket")]
    assert names == [*rules.always, *rules.rules]
    assert rules.declarations[0] is rules.rules[0]


def test_registers_decide_whether_a_step_applies(build):
    """Each cut to its width: upper bits are a caller's lie."""
    on(Socket, family=2, type=1)(lambda call: None)
    (step,) = plan(build(), "socket")
    assert not step.unconditional
    for family, kind, applies in ((2, 1, True), (2, 0o2000001, True), (2, 2, False), (1, 1, False)):
        assert step.applies(make_call(Socket, family=family, type=kind).note) is applies
    lie = call_from_registers(Socket, "socket", 1 << 40 | 2, 1)
    assert step.applies(lie.note)


@pytest.mark.skipif(native().name != "x86_64", reason="another entry is only on x86-64")
def test_one_call_for_many_things(build):
    """Socketcall's number is a condition of the step; its arguments are hidden."""
    on(Socket, family=2)(lambda call: None)
    step, pair = plan(build(), "socketcall", "i386")
    inet = make_call(Socket, family=2, syscall="socketcall", arch="i386")
    unix = make_call(Socket, family=1, syscall="socketcall", arch="i386")
    other = make_call(Connect, syscall="socketcall", arch="i386")
    assert step.applies(inet.note)
    assert step.applies(unix.note)
    assert not step.applies(other.note)
    assert not pair.applies(inet.note)
    assert step.applies_hidden(inet)
    assert not step.applies_hidden(unix)


def test_what_lies_in_memory_is_hidden(build):
    """openat2's flags are no register; what the name fixes is decided when the set is built."""
    on(Open, flags=has(0o100))(lambda call: None)
    rules = build()
    (step,) = plan(rules, "openat2")
    assert not step.registers
    assert [name for name, _ in step.hidden] == ["flags"]
    assert step.applies_hidden(make_call(Open, syscall="openat2", flags=0o101))
    assert not step.applies_hidden(make_call(Open, syscall="openat2", flags=1))


@pytest.mark.skipif(native().name != "x86_64", reason="creat is a call of x86-64")
def test_what_the_name_fixes_is_decided_at_once(build):
    """Creat always creates and never excludes: no step, or one with nothing to test."""
    on(Open, flags=has(0o100))(lambda call: None)
    on(Open, flags=has(0o200))(lambda call: None)
    rules = build()
    (step,) = plan(rules, "creat")
    assert step.declaration is rules.rules[0]
    assert step.unconditional


def test_what_a_call_lacks_has_its_default(build):
    """Setuid sets no euid: a condition on it asks for -1."""
    on(SetUid, euid=0)(lambda call: None)
    on(SetUid, euid=-1)(lambda call: None)
    rules = build()
    assert [step.declaration for step in plan(rules, "setuid", native().name)] == [rules.rules[1]]


def test_otherwise(build):
    """Allow, unless something else was said."""
    assert build().otherwise == Allow()
    assert build(otherwise=Deny(1), strict=True).otherwise == Deny(1)
    assert build(strict=True).strict


def test_raw_names_are_checked(build):
    """With file and line, and what was probably meant."""
    on(Raw("sysinof"))(lambda call: None)
    with pytest.raises(UsageError, match=r"test_ruleset\.py:\d+: .*did you mean 'sysinfo'"):
        build()


def test_a_raw_name_of_one_entry_will_do(build):
    """A call that only 32-bit programs have is planned there."""
    name = "socketcall" if native().name == "x86_64" else "sysinfo"
    on(Raw(name))(lambda call: None)
    rules = build()
    assert len(rules.plans) == sum(name in arch.numbers for arch in entries(native()))
