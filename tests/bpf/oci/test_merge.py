"""Merging rules into a container's profile, against the meaning and against libseccomp."""

import errno

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from notifyd.bpf import profile as p
from notifyd.bpf.oci.check import checked, compile_oci
from notifyd.bpf.oci.meaning import said_of
from notifyd.bpf.oci.merge import SupervisorNeeds, merge
from notifyd.bpf.oci.profile import Act, Comparison, OciProfile, Op, Syscall
from notifyd.bpf.simulate import Machine
from notifyd.errors import UsageError
from notifyd.kernel.arch import ARCHES, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64

X86_64, I386 = ARCHES[AUDIT_ARCH_X86_64], ARCHES[AUDIT_ARCH_I386]
BOTH = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86")
EPERM, EACCES = p.errno_action(errno.EPERM), p.errno_action(errno.EACCES)
EVERY = ((),)


def wanted(calls, watch=(), arches=(X86_64, I386)):
    """Rules' clauses by a call's name, the same for each architecture."""
    entries = tuple(
        p.ArchTable(
            arch.name,
            {arch.numbers[name]: found for name, found in calls.items() if name in arch.numbers},
        )
        for arch in arches
    )
    return SupervisorNeeds(p.Profile(p.ALLOW, entries, p.errno_action(errno.ENOSYS)), watch)


def base(*entries, default=Act.ERRNO, arches=BOTH):
    return OciProfile(default, architectures=arches, syscalls=entries)


def entry(name, action, *args, number=None):
    return Syscall(names=(name,), action=action, errno_ret=number, args=args or None)


def clause(action, cubes=EVERY):
    return p.Clause(action, cubes, "mine.py:rule on Something")


def answers(merged, name, *args, arch=X86_64):
    """What libseccomp makes of it."""
    found = Machine(compile_oci(merged.seccomp))
    return p.Action(found.run(arch.audit, arch.numbers[name], (*args, 0, 0, 0, 0, 0, 0)[:6]))


def made(before, rules):
    return checked(merge(before, rules, "base.json"), before, "base.json")


DEVICE = (p.Masked(1, 0o20000, 0o20000),)


def test_what_the_base_allows_is_asked_about_where_rules_want_it():
    """The base loses the call, and gets back what the rules are not about."""
    before = base(entry("mknod", Act.ALLOW), entry("read", Act.ALLOW))
    merged = made(before, wanted({"mknod": (clause(p.NOTIFY, (DEVICE,)),)}))
    for arch in (X86_64, I386):
        assert answers(merged, "mknod", 0, 0o20000, arch=arch) == p.NOTIFY
        assert answers(merged, "mknod", 0, 0o10000, arch=arch) == p.ALLOW
        assert answers(merged, "read", arch=arch) == p.ALLOW
        assert answers(merged, "write", arch=arch) == EPERM
    assert merged.notes == ()


def test_a_default_that_refuses_gives_way_to_a_question():
    """Only where rules ask; and it is told."""
    merged = made(base(), wanted({"mknod": (clause(p.NOTIFY, (DEVICE,)),)}))
    assert answers(merged, "mknod", 0, 0o20000) == p.NOTIFY
    assert answers(merged, "mknod", 0, 0) == EPERM
    assert merged.notes == ("rules are asked where the base refuses by default: mknod",)


def test_what_the_supervisor_watches_is_never_lifted():
    """It is told of what is allowed; what is refused stays so."""
    watch = (("setns", EVERY), ("chroot", EVERY), ("unshare", EVERY))
    before = base(
        entry("chroot", Act.ALLOW),
        entry("unshare", Act.ALLOW, Comparison(0, 1, Op.MASKED_EQUAL, 1)),
        entry("setns", Act.ERRNO, number=errno.EACCES),
    )
    merged = made(before, wanted({}, watch))
    assert answers(merged, "chroot") == p.NOTIFY
    assert answers(merged, "unshare", 1) == p.NOTIFY
    assert answers(merged, "unshare", 2) == EPERM
    assert answers(merged, "setns") == EACCES


def test_a_refusal_of_the_rules_is_the_kernel_s():
    """It takes what the base allows, with the rules' errno; what the base refuses it goes on to."""
    before = base(entry("mknod", Act.ALLOW), entry("bpf", Act.ERRNO, number=errno.EINVAL))
    merged = made(before, wanted({"mknod": (clause(EACCES),), "bpf": (clause(EACCES),)}))
    assert answers(merged, "mknod") == EACCES
    assert answers(merged, "bpf") == p.errno_action(errno.EINVAL)


def test_a_rule_that_kills_outranks_a_base_that_refuses():
    """As in the kernel."""
    before = base(entry("bpf", Act.ERRNO, number=errno.EINVAL))
    assert (
        answers(made(before, wanted({"bpf": (clause(p.KILL_PROCESS),)})), "bpf") == p.KILL_PROCESS
    )


def test_a_base_that_refuses_some_of_a_call_goes_on_to():
    """A rule is asked about the rest."""
    before = base(
        entry("socket", Act.ERRNO, Comparison(0, 16, Op.EQUAL), number=errno.EINVAL),
        entry("socket", Act.ALLOW, Comparison(0, 16, Op.NOT_EQUAL)),
        arches=BOTH[:1],
    )
    merged = made(before, wanted({"socket": (clause(p.NOTIFY),)}, arches=(X86_64,)))
    assert answers(merged, "socket", 16) == p.errno_action(errno.EINVAL)
    assert answers(merged, "socket", 2) == p.NOTIFY


@pytest.mark.parametrize(
    ("before", "rule", "told"),
    [
        (base(entry("bpf", Act.ERRNO)), p.NOTIFY, r"syscalls\[0\] refuses bpf .*to be asked"),
        (base(entry("bpf", Act.KILL)), p.NOTIFY, r"syscalls\[0\] refuses bpf .*to be asked"),
        (base(entry("bpf", Act.ERRNO)), p.ALLOW, r"syscalls\[0\] refuses bpf .*always allows"),
        (base(), p.ALLOW, r"refuses bpf by default .*always allows"),
        (base(default=Act.NOTIFY), p.NOTIFY, "asks about every call"),
    ],
)
def test_contradictions_name_both_places(before, rule, told):
    """The base's entry, and the rule."""
    with pytest.raises(UsageError, match=rf"^base\.json: {told}") as error:
        merge(before, wanted({"bpf": (clause(rule),)}), "base.json")
    assert "mine.py:rule" in str(error.value) or "every call" in told


def test_a_sibling_that_the_base_refuses_is_no_contradiction():
    """A rule is asked about the others; it is told about which it is not."""
    before = base(entry("oldstat", Act.ERRNO), entry("stat", Act.ALLOW))
    calls = {name: (clause(p.NOTIFY),) for name in ("stat", "oldstat")}
    merged = made(before, wanted(calls))
    assert answers(merged, "stat") == p.NOTIFY
    assert answers(merged, "oldstat", arch=I386) == EPERM
    assert any("by name: oldstat" in note for note in merged.notes)


def test_architectures_that_differ_cost_the_others():
    """OCI has one set of conditions for all of them: what cannot be exact is killed, and told."""
    entries = (
        p.ArchTable("x86_64", {X86_64.numbers["bpf"]: (clause(EACCES, ((p.Masked(0, 1, 1),),)),)}),
        p.ArchTable("i386", {I386.numbers["bpf"]: (clause(EACCES),)}),
    )
    before = base(entry("bpf", Act.ALLOW), arches=(*BOTH, "SCMP_ARCH_X32"))
    merged = made(before, SupervisorNeeds(p.Profile(p.ALLOW, entries, EPERM)))
    assert answers(merged, "bpf", 1) == EACCES
    assert answers(merged, "bpf", 0) == p.ALLOW
    assert answers(merged, "bpf", arch=I386) == p.KILL_THREAD
    assert [note.split()[0] for note in merged.notes] == ["SCMP_ARCH_X32", "SCMP_ARCH_X86"]


def test_a_base_without_architectures_has_the_machine_s_own():
    """As runtimes read it: programs of other entries were killed before, and still are."""
    before = base(entry("bpf", Act.ALLOW), arches=None)
    merged = made(before, wanted({"bpf": (clause(p.NOTIFY),)}))
    assert answers(merged, "bpf") == p.NOTIFY
    assert answers(merged, "bpf", arch=I386) == p.KILL_THREAD


def test_what_libseccomp_mixes_up_is_not_offered():
    """Of i386 it makes one socketcall for all of `socket`: 32-bit programs are killed instead."""
    rules = {
        "socket": (clause(EACCES, ((p.Masked(0, 0xFFFFFFFF, 2),),)),),
        "socketcall": (clause(EACCES, ((p.Masked(0, 0xFFFFFFFF, 1),),)),),
    }
    before = base(entry("socket", Act.ALLOW), entry("socketcall", Act.ALLOW))
    merged = made(before, wanted(rules))
    assert merged.seccomp.architectures == BOTH[:1]
    assert answers(merged, "socket", 2) == EACCES
    assert answers(merged, "socket", 1) == p.ALLOW


def test_calls_newer_than_libseccomp():
    """A base that refuses by default goes on refusing; one that allows would let rules down."""
    rules = wanted({"file_setattr": (clause(EACCES),)})
    assert "file_setattr" in made(base(), rules).notes[0]
    with pytest.raises(UsageError, match="does not know file_setattr"):
        made(base(default=Act.ALLOW), rules)


def test_too_many_conditions_are_all_notified_where_somebody_listens():
    """Who listens decides again, what the kernel would have refused included."""
    many = tuple((p.Masked(1, 0xFFFFFFFF, n * n * 7919 % 65536),) for n in range(12))
    before = base(entry("ioctl", Act.ALLOW))
    asks = {"ioctl": (clause(EACCES, many),), "bpf": (clause(p.NOTIFY),)}
    merged = made(before, wanted(asks))
    assert answers(merged, "ioctl", 0, 12345) == p.NOTIFY
    assert any("conditions were too many: ioctl" in note for note in merged.notes)
    alone = made(before, wanted({"ioctl": asks["ioctl"]}, arches=(X86_64,)))
    assert answers(alone, "ioctl", 0, 0) == EACCES
    assert answers(alone, "ioctl", 0, 12345) == p.ALLOW


NAMES = ("mknod", "ioctl", "bpf", "prctl")
MASKED = st.builds(
    lambda arg, mask, value: p.Masked(arg, mask, value & mask),
    st.integers(0, 2),
    st.integers(1, 7),
    st.integers(0, 7),
)
CUBES = st.lists(
    st.dictionaries(st.integers(0, 2), MASKED, max_size=2).map(
        lambda found: tuple(
            p.Masked(arg, one.mask, one.value) for arg, one in sorted(found.items())
        )
    ),
    min_size=1,
    max_size=3,
).map(tuple)
CLAUSES = st.lists(
    st.builds(clause, st.sampled_from([p.NOTIFY, EACCES, p.KILL_PROCESS]), CUBES), max_size=3
).map(tuple)
SMALL = st.integers(0, 7)
TESTS = st.lists(
    st.builds(Comparison, st.integers(0, 2), SMALL, st.sampled_from(Op), SMALL), max_size=1
) | st.lists(
    st.builds(Comparison, st.integers(0, 2), SMALL, st.just(Op.MASKED_EQUAL), SMALL),
    max_size=2,
    unique_by=lambda test: test.index,
)
# One answer for each call: entries with several are in no order, and runtimes refuse some of them.
ENTRIES = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from([Act.ALLOW, Act.LOG]), st.lists(TESTS, min_size=1, max_size=2)),
).map(
    lambda found: [
        entry(name, action, *tests)
        for name, (action, several) in found.items()
        for tests in several
    ]
)
POINTS = [(a, b, c, 0, 0, 0) for a in range(8) for b in (0, 1, 5) for c in (0, 2, 7)]


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), CLAUSES, max_size=3),
    ENTRIES,
    st.sampled_from([Act.ALLOW, Act.ERRNO]),
    st.lists(st.tuples(st.sampled_from(NAMES), CUBES), max_size=2),
)
def test_libseccomp_does_what_was_merged(rules, entries, default, watch):
    """Nothing is allowed that the base or a rule refuses, and what rules ask about is asked."""
    before = base(*entries, default=default, arches=BOTH[:1])
    rules_alone = wanted(rules, watch, arches=(X86_64,))
    try:
        merged = made(before, rules_alone)
    except UsageError as error:
        if "more than 512 entries" not in str(error):
            raise
        reject()
    after = Machine(compile_oci(merged.seccomp))
    watched = {
        name: [cube for one, found in watch if one == name for cube in found] for name in NAMES
    }
    for name in NAMES:
        nr = X86_64.numbers[name]
        for args in POINTS:
            rule = p.decide(rules_alone.profile, "x86_64", nr, args)
            was = said(before, name, args)
            got = p.Action(after.run(X86_64.audit, nr, args))
            if name not in merged.calls:
                continue  # libseccomp answers as it did, rightly or wrongly: `checked` compares
            assert got == p.decide(merged.meaning, "x86_64", nr, args)
            if merged.calls[name].widened:
                assert got == p.NOTIFY
                assert was != EPERM
            elif rule != p.ALLOW:
                assert got == rule
            elif was == EPERM:
                assert got == EPERM
            elif p.Clause(p.NOTIFY, tuple(watched[name])).holds(args):
                assert got == p.NOTIFY
            else:
                assert got == was


def said(before, name, args):
    """What the base's text says. libseccomp 2.5.4 itself gets some tangles of entries wrong."""
    for one in said_of(before, name, "base.json"):
        if p.Clause(one.action, one.cubes).holds(args):
            return one.action
    return p.ALLOW if before.default_action is Act.ALLOW else EPERM
