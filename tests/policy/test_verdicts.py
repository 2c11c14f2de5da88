"""Verdicts are values: frozen, equal by what they hold, readable."""

import errno

import pytest

from notifyd import Allow, Continue, Deny, Kill, Return, Supply
from notifyd.policy.verdicts import VERDICTS


@pytest.mark.parametrize(
    "verdict", [Allow(), Deny(1), Return(1), Supply(b"text"), Kill(), Continue()]
)
def test_a_verdict_is_frozen(verdict):
    """What a rule returned cannot change on its way to the kernel."""
    with pytest.raises(AttributeError):
        verdict.kind = "other"
    with pytest.raises(AttributeError):
        verdict.anything = 1


def test_the_set_is_closed():
    """Every verdict is in the table, with a kind of its own."""
    assert {kind.kind for kind in VERDICTS} == {
        "allow", "ask", "deny", "return", "supply", "kill", "continue",
    }  # fmt: skip


@pytest.mark.parametrize("kind", VERDICTS)
def test_what_refuses_ends_the_asking(kind):
    """And each class says both by itself, as adding a verdict means to say how it adds up."""
    assert {"kind", "ends_asking", "refuses"} <= vars(kind).keys()
    assert kind.ends_asking or not kind.refuses


def test_equal_by_value():
    """So that a test can compare."""
    assert Deny(errno.EPERM) == Deny(1, None)
    assert Deny(1) != Deny(2)
    assert Deny(1) != Deny(1, reason="why")
    assert Allow() == Allow()
    assert Allow(flags=1) == Allow(flags=1)
    assert Allow(flags=1) != Allow(flags=2)
    assert Allow(grant="low-ports") != Allow()
    assert Allow() != Continue()
    assert Return(1, {5: b"x"}) == Return(1, {5: b"x"})


def test_allow_can_be_kept_in_a_set():
    """Equal ones are one."""
    assert len({Allow(), Allow(), Allow(flags=1), Allow(grant="low-ports")}) == 3


def test_allow_reads_as_it_is_written():
    """The grant and the changes."""
    assert repr(Allow()) == "Allow()"
    assert repr(Allow(grant="low-ports", flags=1)) == "Allow(grant='low-ports', flags=1)"


def test_changes_are_read_only():
    """Also from behind."""
    with pytest.raises(TypeError):
        Allow(flags=1).changes["flags"] = 2
