"""Compiled profiles against the reference meaning, in simulation and in the kernel."""

import errno
import os
import signal
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifyd.bpf import cubes, profile
from notifyd.bpf.build import LIMITS, compile_profile
from notifyd.bpf.profile import (
    ALLOW,
    KILL_PROCESS,
    NOTIFY,
    ArchTable,
    Clause,
    Masked,
    Profile,
    decide,
    errno_action,
)
from notifyd.bpf.simulate import Machine
from notifyd.errors import FilterError
from notifyd.kernel.arch import ARCHES, X32_BIT, native

ENOSYS = errno_action(errno.ENOSYS)
EPERM = errno_action(errno.EPERM)
ALWAYS = ((),)
AUDIT = {arch.name: audit for audit, arch in ARCHES.items()}
X86_64 = ARCHES[AUDIT["x86_64"]].numbers
I386 = ARCHES[AUDIT["i386"]].numbers
NUMBERS = (0, 1, 2, 41, 102, 257, 359, 452, 470, 999)  # 470 and 999 are names nobody knows yet
SMALL = st.integers(0, 7)
WORD = st.one_of(SMALL, st.integers(0, 2**64 - 1), SMALL.map(lambda n: n << 32))
TRACE = profile.Action(0x7FF00000)  # the compiler uses such values itself, for a while
ACTIONS = st.sampled_from(
    [ALLOW, NOTIFY, KILL_PROCESS, profile.KILL_THREAD, profile.LOG, profile.TRAP, TRACE, EPERM]
)


@st.composite
def masked(draw, arg):
    mask = draw(st.one_of(st.integers(1, 15), WORD.filter(bool), st.just(0xFFFFFFFF)))
    return Masked(arg, mask, draw(WORD) & mask)


@st.composite
def cube(draw):
    args = draw(st.sets(st.integers(0, 5), max_size=3))
    return tuple(draw(masked(arg)) for arg in sorted(args))


CLAUSE = st.builds(Clause, ACTIONS, st.lists(cube(), max_size=4).map(tuple))
CALLS = st.dictionaries(
    st.sampled_from(NUMBERS), st.lists(CLAUSE, max_size=4).map(tuple), max_size=6
)
PROFILES = st.builds(
    lambda default, first, second, unknown: Profile(
        default, (ArchTable("x86_64", first), ArchTable("i386", second)), unknown
    ),
    *(ACTIONS, CALLS, CALLS, ACTIONS),
)
NRS = st.one_of(
    st.sampled_from([*NUMBERS, -1, X32_BIT, X32_BIT | 1, X32_BIT | 257]), st.integers(0, 2**32 - 1)
)


def errors(**errnos):
    """A profile for both x86 entries that refuses calls by name and allows the others."""
    arches = [ARCHES[AUDIT[name]] for name in ("x86_64", "i386")]
    entries = tuple(
        ArchTable(
            one.name, {one.numbers[name]: errnos[name] for name in errnos.keys() & one.numbers}
        )
        for one in arches
    )
    return Profile(ALLOW, entries, errno_action(errno.E2BIG))


def conditions_of(entry, nr):
    return [one for clause in entry.clauses.get(nr, ()) for one in clause.cubes]


@pytest.mark.usefixtures("whole")
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(PROFILES, st.data())
def test_the_program_says_what_the_profile_says(made, data):
    """Random ordered profiles agree with their programs on random points and at the edges."""
    machine = Machine(compile_profile(made).program)
    for _ in range(10):
        entry = data.draw(st.sampled_from(made.entries))
        nr = data.draw(NRS)
        args = data.draw(st.lists(WORD, min_size=6, max_size=6))
        near = conditions_of(entry, nr)
        if near:  # into one of the conditions, and perhaps one bit beside it
            for one in data.draw(st.sampled_from(near)):
                args[one.arg] = args[one.arg] & ~one.mask | one.value
            args[data.draw(st.integers(0, 5))] ^= data.draw(
                st.one_of(st.just(0), st.integers(0, 63).map(lambda bit: 1 << bit))
            )
        wanted = decide(made, entry.arch, nr, args)
        assert machine.run(AUDIT[entry.arch], nr, args) == wanted.value
    assert machine.run(0xC00000B7, 1, [0] * 6) == made.unknown_arch.value


def test_equal_conditions_are_written_once():
    """Sibling calls with the same clauses share their instructions."""
    shared = (Clause(NOTIFY, cubes.none_of(0, 32, [1])),)
    one = len(compile_profile(errors(socket=shared)).program)
    four = len(compile_profile(errors(socket=shared, bpf=shared, mknodat=shared)).program)
    assert four < one + 20


def test_numbers_are_not_translated():
    """An i386 entry filters i386's own numbers; 102 there is socketcall, not x86-64's getuid."""
    made = errors(socketcall=(Clause(EPERM, cubes.equal(0, 32, 1)),))
    machine = Machine(compile_profile(made).program)
    first = (1, 0, 0, 0, 0, 0)
    assert machine.run(AUDIT["i386"], I386["socketcall"], first) == EPERM.value
    assert machine.run(AUDIT["i386"], I386["socketcall"], (2, *first[1:])) == ALLOW.value
    assert machine.run(AUDIT["x86_64"], I386["socketcall"], first) == ALLOW.value


def test_too_many_conditions_on_one_call_are_notified_and_named():
    """The program stays short, and the report says which call costs more notifications."""
    many = cubes.both(cubes.none_of(0, 32, [1]), cubes.none_of(1, 32, [1]))
    assert len(many) > LIMITS[0]
    built = compile_profile(errors(socket=(Clause(NOTIFY, many),)))
    assert sorted(built.widened) == [
        "socket (i386): more than 256 conditions, the rest is notified",
        "socket (x86_64): more than 256 conditions, the rest is notified",
    ]


def test_many_calls_with_many_conditions_still_fit():
    """Rather than fail, a profile that notifies writes fewer conditions for each call."""

    def many(value):
        return (Clause(NOTIFY, cubes.both(cubes.none_of(0, 32, [value]), cubes.has_any(1, 7))),)

    made = Profile(ALLOW, (ArchTable("x86_64", {nr: many(nr) for nr in range(60)}),), ENOSYS)
    built = compile_profile(made)
    assert len(built.widened) == 60
    assert len(built.program) <= 4096


def test_what_does_not_fit_and_may_not_notify_is_an_error():
    """With nobody to ask there is no other way to say it."""
    many = cubes.both(cubes.none_of(0, 32, [1]), cubes.none_of(1, 32, [1]))
    with pytest.raises(FilterError, match="takes 4096"):
        compile_profile(errors(socket=(Clause(EPERM, many),)))


def test_an_unknown_architecture_is_named():
    """The error says what would be known."""
    with pytest.raises(FilterError, match=r"'vax'.*x86_64"):
        compile_profile(Profile(ALLOW, (ArchTable("vax", {}),), ENOSYS))


def test_compiling_leaves_no_descriptor_behind():
    """Libseccomp's program passes through a descriptor, which is closed."""
    before = os.listdir("/proc/self/fd")
    compile_profile(errors(socket=(Clause(EPERM, ALWAYS),)))
    assert os.listdir("/proc/self/fd") == before


ON_X86_64 = pytest.mark.skipif(native().name != "x86_64", reason="calls the x86 entries")


@ON_X86_64
def test_the_kernel_does_what_the_profile_says(kernel_says):
    """Refusals by argument come into force, and a hostile high half changes nothing."""
    made = errors(
        socket=(Clause(EPERM, cubes.equal(0, 32, socket.AF_NETLINK)),),
        getppid=(Clause(errno_action(errno.EDOM), ALWAYS),),
    )
    program = compile_profile(made).program
    nr = X86_64["socket"]
    calls = [
        ("native", nr, (socket.AF_NETLINK, socket.SOCK_RAW, 0)),
        ("native", nr, (0xABCD << 32 | socket.AF_NETLINK, socket.SOCK_RAW, 0)),
        ("native", nr, (socket.AF_UNIX, socket.SOCK_STREAM, 0)),
        ("native", X86_64["getppid"], ()),
        ("native", X32_BIT | X86_64["getppid"], ()),
    ]
    wanted = [errno.EPERM, errno.EPERM, 0, errno.EDOM, errno.E2BIG]
    assert kernel_says(program, calls) == wanted


@ON_X86_64
def test_the_kernel_filters_the_i386_entry(kernel_says):
    """`int 0x80` from a 64-bit program meets the i386 clauses, and no others."""
    made = errors(
        socketcall=(Clause(EPERM, cubes.equal(0, 32, 1)),),
        chown32=(Clause(errno_action(errno.EDOM), ALWAYS),),
    )
    calls = [
        ("i386", I386["socketcall"], (1, 0)),
        ("i386", I386["socketcall"], (2, 0)),
        ("i386", I386["chown32"], (0, 0)),
        ("i386", I386["getppid"], (0, 0)),
    ]
    wanted = [errno.EPERM, errno.EFAULT, errno.EDOM, 0]
    assert kernel_says(compile_profile(made).program, calls) == wanted


def test_the_kernel_kills_where_the_profile_says_so(kernel_says):
    """A killed child dies of SIGSYS."""
    arch = native()
    clauses = {arch.numbers["getppid"]: (Clause(KILL_PROCESS, ALWAYS),)}
    made = Profile(ALLOW, (ArchTable(arch.name, clauses),), ENOSYS)
    calls = [("native", arch.numbers["getppid"], ())]
    assert kernel_says(compile_profile(made).program, calls) == -signal.SIGSYS


REFUSING = st.builds(
    Clause,
    st.sampled_from([errno_action(n) for n in (0, 1, 2, 3, 4000)]),
    st.lists(cube(), min_size=1, max_size=3).map(tuple),
)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(REFUSING, min_size=1, max_size=4).map(tuple), st.data())
def test_the_kernel_agrees_with_the_reference(kernel_says, clauses, data):
    """Random conditions on a call that ignores its arguments, decided by the kernel itself."""
    arch = native()
    nr = arch.numbers["getppid"]
    made = Profile(ALLOW, (ArchTable(arch.name, {nr: clauses}),), ENOSYS)
    points = []
    for one in [cube for clause in clauses for cube in clause.cubes]:
        args = data.draw(st.lists(WORD, min_size=6, max_size=6))
        points.append(tuple(args))
        for part in one:
            args[part.arg] = args[part.arg] & ~part.mask | part.value
        points.append(tuple(args))
    decided = [decide(made, arch.name, nr, args) for args in points]
    wanted = [0 if action == ALLOW else action.value & 0xFFFF for action in decided]
    program = compile_profile(made).program
    assert kernel_says(program, [("native", nr, args) for args in points]) == wanted


def test_a_register_of_the_i386_entry_has_32_bits():
    """What a condition says of the bits above holds for none there, and none is ever loaded."""
    wide, beyond = Masked(1, (1 << 64) - 1, 5), Masked(1, (1 << 64) - 1, 1 << 32 | 5)
    above = Masked(2, 0xFFFF_FFFF << 32, 0)
    clauses = Clause(errno_action(1), ((beyond,),)), Clause(errno_action(2), ((wide, above),))
    made = Profile(ALLOW, (ArchTable("i386", {54: clauses}),), KILL_PROCESS)
    machine = Machine(compile_profile(made).program)
    for rubbish in (0, 1 << 32, 0xFFFF_FFFF << 32):
        args = [rubbish | 5] * 6
        assert machine.run(AUDIT["i386"], 54, args) == errno_action(2).value
        assert decide(made, "i386", 54, args) == errno_action(2)
