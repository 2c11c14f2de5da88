"""Random rule files, together and alone: adding one never allows what was refused without it.

What becomes of a call is worked out as it is in a run: by the profile that the kernel holds, and,
where that notifies, by the engine's own evaluation.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from notifyd import (
    Allow,
    Ask,
    Continue,
    Deny,
    Kill,
    Open,
    Prctl,
    Raw,
    Return,
    RuleSet,
    Socket,
    always,
    has,
    is_not,
    on,
)
from notifyd.bpf import profile
from notifyd.engine.decide import Decision, ResumableEvaluation
from notifyd.errors import UsageError
from notifyd.kernel.arch import entries, native
from notifyd.policy.call import ARCH, NR
from notifyd.policy.lower import lower
from notifyd.policy.rule import DECLARED
from notifyd.testing import make_call

# -- what a file may say

CONDITIONS = (
    (Socket, {}),
    (Socket, {"family": 2}),
    (Socket, {"family": is_not(1)}),
    (Socket, {"type": {1, 2}}),
    (Socket, {"family": range(1, 17), "type": 1}),
    (Open, {}),
    (Open, {"flags": has(1)}),
    (Raw("socket"), {}),
    (Raw("socket"), {"arg0": 2}),
    (Prctl, {"option": 22}),
)
HARMLESS = (None, Allow(), Ask("may it?"), Deny(errno.EPERM), Deny(errno.EACCES), Kill())
ANYTHING = (*HARMLESS, Continue(), Return(1), Allow(final=True), Allow(grant="devices"))
IN_KERNEL = (Allow(), Deny(errno.EPERM), Deny(errno.ENOENT), Kill())

ARCHES = tuple(arch.name for arch in entries(native()))


def calls():
    """Calls on both sides of every condition, by every entry; some hide what they are about."""
    for arch, family, kind in product(ARCHES, (1, 2, 10, 17), (1, 2, 3)):
        yield make_call(Socket, arch=arch, syscall="socket", family=family, type=kind)
    for arch, flags in product(ARCHES, (0, 1, 2, 0x40)):
        yield make_call(Open, arch=arch, syscall="openat", path="/x", flags=flags)
    for arch, option in product(ARCHES, (1, 22)):
        yield make_call(Prctl, arch=arch, option=option)
    if "i386" in ARCHES:
        for family in (1, 2):
            yield make_call(Socket, arch="i386", syscall="socketcall", family=family, type=1)


def declarations(verdicts):
    """One thing that a file declares: what it is about, and a rule's or the kernel's verdict."""
    about = st.sampled_from(CONDITIONS)
    rule = st.tuples(about, st.just("on"), st.sampled_from(verdicts), st.booleans())
    kernel = st.tuples(about, st.just("always"), st.sampled_from(IN_KERNEL), st.just(False))
    return st.one_of(rule, rule, kernel)


def files(verdicts):
    """A rule file."""
    return st.lists(declarations(verdicts), min_size=1, max_size=4)


def declared(file):
    """The declarations of a file, as loading reads them; nothing is left of them here."""
    globals()[DECLARED] = []
    for (operation, conditions), kind, verdict, looks in file:
        if kind == "always":
            always(verdict, operation, **conditions)
        else:
            on(operation, **conditions)(_rule(verdict, looks))
    return globals().pop(DECLARED)


def _rule(verdict, looks):
    def rule(call):
        if looks and isinstance(call, Open):
            assert call.pathname == b"/x"
        return verdict

    return rule


# -- what becomes of a call


def outcome(lowered, rules, call):
    """What the kernel does, or the decision where it asks."""
    action = profile.decide(lowered.profile, call.arch, call.note[NR], call.args)
    if action != profile.NOTIFY:
        return action
    steps = rules.plans.get((call.note[ARCH], call.note[NR]), ())
    return ResumableEvaluation(call.note, steps, rules, call.origin).ask()


def allowed(found, yes: bool) -> bool:
    """Whether the call happens, with a person who always says yes, or no."""
    if not isinstance(found, Decision):
        return found == profile.ALLOW
    while isinstance(found.verdict, Ask):
        if not yes:
            return False
        found = found.then
    return isinstance(found.verdict, Allow | Continue)


@contextmanager
def reasonable() -> Iterator[None]:
    """A file that contradicts itself is refused when it is loaded, and none of our business."""
    try:
        yield
    except UsageError as error:
        if "can never speak" not in str(error):
            raise


@settings(max_examples=300, deadline=None)
@given(
    base=st.lists(files(ANYTHING), min_size=1, max_size=3),
    more=files(HARMLESS),
    at=st.integers(0, 3),
)
def test_adding_a_file_never_allows_what_was_refused_without_it(base, more, at):
    """Of files that say nothing but None, Allow, Ask, Deny and Kill; wherever it is put."""
    # Invariant 18 of the design: rule files add up.
    with reasonable():
        known = [declared(file) for file in base]
        before = RuleSet.build(*known)
        after = RuleSet.build(*known[:at], declared(more), *known[at:])
        lowered, more_lowered = lower(before), lower(after)
        for call in calls():
            for yes in (False, True):
                if not allowed(outcome(lowered, before, call), yes):
                    found = outcome(more_lowered, after, call)
                    assert not allowed(found, yes), (call, found)


@settings(max_examples=200, deadline=None)
@given(files_=st.lists(files(ANYTHING), min_size=1, max_size=3))
def test_the_kernel_decides_what_the_supervisor_would(files_):
    """Where the filter answers by itself, the evaluation says the same of that call."""
    with reasonable():
        rules = RuleSet.build(*(declared(file) for file in files_))
        lowered = lower(rules)
        for call in calls():
            action = profile.decide(lowered.profile, call.arch, call.note[NR], call.args)
            if action == profile.NOTIFY:
                continue
            steps = rules.plans.get((call.note[ARCH], call.note[NR]), ())
            verdict = ResumableEvaluation(call.note, steps, rules, call.origin).ask().verdict
            assert _action(verdict) == action, (call, verdict)


def _action(verdict):
    if isinstance(verdict, Deny):
        return profile.errno_action(verdict.errno)
    assert isinstance(verdict, Allow | Kill)
    return profile.ALLOW if isinstance(verdict, Allow) else profile.KILL_PROCESS


@settings(max_examples=100, deadline=None)
@given(first=files(HARMLESS), second=files(HARMLESS))
def test_the_order_of_such_files_allows_nothing_either(first, second):
    """Two of them refuse a call together, or neither order does."""
    with reasonable():
        one = RuleSet.build(declared(first), declared(second))
        other = RuleSet.build(declared(second), declared(first))
        lowered, turned = lower(one), lower(other)
        for call in calls():
            for yes in (False, True):
                a, b = outcome(lowered, one, call), outcome(turned, other, call)
                assert allowed(a, yes) == allowed(b, yes), call
