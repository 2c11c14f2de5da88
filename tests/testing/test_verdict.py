"""Asking rules: functions, rule sets and files, plain and async."""

import errno
from pathlib import Path

import pytest
import trio
import trio.testing

from notifyd import Allow, Connect, Deny, Open, RuleSet, Socket, always, on
from notifyd.errors import TargetFault, UsageError
from notifyd.policy.rule import DECLARED
from notifyd.testing import load_rules, make_call, verdict_of, wait_verdict

REFUSED = Deny(errno.EPERM)


@pytest.fixture
def declared():
    """What a test declares; nothing is left of it."""
    yield globals().setdefault(DECLARED, [])
    del globals()[DECLARED]


def test_a_plain_function():
    """Decorated or not: its verdict, or None for no opinion."""
    assert verdict_of(lambda call: REFUSED if call.writes else None, make_call(Open)) is None
    assert verdict_of(lambda call: REFUSED, make_call(Open)) == REFUSED


def test_an_async_function_with_a_clock():
    """A minute passes at once."""

    async def slow(call: Open) -> Deny:
        await trio.sleep(60)
        return REFUSED

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert verdict_of(slow, make_call(Open), clock=clock) == REFUSED
    assert clock.current_time() >= 60


def test_where_trio_runs_already():
    """The same, awaited."""

    async def main() -> object:
        return await wait_verdict(lambda call: REFUSED, make_call(Open))

    assert trio.run(main) == REFUSED


def test_what_a_rule_raises_is_raised():
    """So that a test shows the traceback; a fault of the target's is one of those."""

    def wrong(call: Open) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        verdict_of(wrong, make_call(Open))
    with pytest.raises(TargetFault):
        verdict_of(lambda call: call.path and None, make_call(Open))


@pytest.mark.parametrize("nonsense", [True, errno.EPERM, "deny", Deny])
def test_what_is_no_verdict_is_an_error(nonsense):
    """A class is none, nor is a truth."""
    with pytest.raises(TypeError, match="no verdict"):
        verdict_of(lambda call: nonsense, make_call(Open))


def test_a_rule_set_asks_in_order(declared):
    """Always speaks first, then rules whose conditions hold, then otherwise."""

    @on(Socket, family=2)
    def nothing(call: Socket) -> None:
        pass

    @on(Socket, family={2, 3})
    def some(call: Socket) -> Deny:
        return REFUSED

    always(Deny(errno.EACCES), Socket, family=4)
    rules = RuleSet.build(declared, otherwise=Deny(errno.ENOSYS))
    found = [verdict_of(rules, make_call(Socket, family=family)) for family in (2, 3, 4, 5)]
    assert [verdict.errno for verdict in found] == [
        errno.EPERM,
        errno.EPERM,
        errno.EACCES,
        errno.ENOSYS,
    ]
    assert verdict_of(rules, make_call(Open)).errno == errno.ENOSYS


def test_what_the_kernel_cannot_see(declared):
    """Refused by always(Deny), left alone by always(Allow), tested by a rule's own conditions."""
    always(Allow(), Socket, family=1)
    always(REFUSED, Socket, family=2)

    @on(Connect)
    def never(call: Connect) -> None:
        pytest.fail("another operation's rule was asked")

    rules = RuleSet.build(declared)
    call = make_call(Socket, family=1, arch="i386", syscall="socketcall")
    assert verdict_of(rules, call) == REFUSED
    assert verdict_of(rules, make_call(Socket, family=1)) == Allow()

    declared.clear()

    @on(Socket, family=2)
    def inet(call: Socket) -> Deny:
        return REFUSED

    rules = RuleSet.build(declared)
    for family, verdict in ((1, Allow()), (2, REFUSED)):
        call = make_call(Socket, family=family, arch="i386", syscall="socketcall")
        assert verdict_of(rules, call) == verdict


def test_files_are_loaded_as_by_a_person(tmp_path: Path):
    """By name or path, with options as texts, once or several times."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from notifyd import Deny, Open, on, option\n"
        "NUMBERS = option('number', (1,), convert=int)\n"
        "@on(Open)\n"
        "def mine(call): return Deny(sum(NUMBERS))\n"
    )
    assert verdict_of(load_rules(str(file)), make_call(Open)) == Deny(1)
    assert verdict_of(load_rules(str(file), number=(2, "3")), make_call(Open)) == Deny(5)
    with pytest.raises(UsageError, match="no option 'numbr'"):
        load_rules(str(file), numbr=2)
    with pytest.raises(UsageError, match="did you mean 'no-network'"):
        load_rules("no-netwrk")
