"""Declaring rules: what `on`, `always` and `option` note down, and what they refuse."""

import errno
from pathlib import Path

import pytest

from notifyd import (
    Allow,
    Continue,
    Deny,
    Ioctl,
    Kill,
    Mknod,
    Mount,
    Open,
    Raw,
    Return,
    Socket,
    always,
    between,
    has,
    on,
    option,
)
from notifyd.errors import UsageError
from notifyd.policy.call import Call
from notifyd.policy.conditions import Bits, OneOf
from notifyd.policy.rule import DECLARED, OPTIONS, RULE_TIMEOUT_S, WANTED, Always, Rule, Setting


@pytest.fixture(autouse=True)
def declared():
    """What a test declares in this file; nothing is left of it."""
    names = (DECLARED, OPTIONS, WANTED)
    for name in names:
        globals().pop(name, None)
    yield lambda: globals().get(DECLARED, [])
    for name in names:
        globals().pop(name, None)


def test_on_notes_a_rule_and_returns_the_function(declared):
    """The function can be called and tested as if it were bare."""

    def rule(call):
        return Allow()

    assert on(Open, Mknod)(rule) is rule
    (found,) = declared()
    assert isinstance(found, Rule)
    assert found.function is rule
    assert found.claim.operations == (Open, Mknod)
    assert found.claim.file == __file__
    assert found.name == "test_rule.py:rule"
    assert (found.patience, found.on_error, found.is_async) == (
        RULE_TIMEOUT_S,
        Deny(errno.EPERM),
        False,
    )


def test_on_takes_its_settings(declared):
    """Patience, what an error gives, and async functions."""

    @on(Open, patience=None, on_error=Kill())
    async def rule(call):
        return Allow()

    (found,) = declared()
    assert (found.patience, found.on_error, found.is_async) == (None, Kill(), True)


def test_declarations_stand_in_the_order_written(declared):
    """First verdict wins, so order counts."""
    always(Deny(1), Socket)
    on(Open)(lambda call: None)
    always(Allow(), Mknod)
    assert [type(one) for one in declared()] == [Always, Rule, Always]
    assert declared()[0].name == "test_rule.py:always"


def test_conditions_are_cut_to_the_register(declared):
    """-1 means what it means in C."""
    always(Deny(1), Socket, family=-1, type={1, 2})
    conditions = declared()[0].claim.conditions
    assert conditions == {"family": OneOf((2**32 - 1,)), "type": OneOf((1, 2))}
    always(Deny(1), Open, flags=has(0o100))
    assert declared()[1].claim.conditions == {"flags": Bits(0o100, 0o100)}


@pytest.mark.parametrize(
    ("operations", "conditions", "text"),
    [
        ((), {}, "name at least one operation"),
        (("openat",), {}, "is no operation"),
        ((Call,), {}, "is no operation"),
        ((int,), {}, "is no operation"),
        ((Open,), {"flag": 1}, "Open has no field 'flag'; it has dirfd"),
        ((Open,), {"path": "/etc"}, "Open.path is not a register"),
        ((Mknod,), {"device": (1, 3)}, "Mknod.device is not a register"),
        ((Open,), {"flags": "O_RDONLY"}, "give a number"),
        ((Open,), {"flags": []}, "give a number"),
        ((Socket,), {"protocol": between(5, 1)}, "holds for nothing"),
        ((Socket,), {"protocol": range(-1, 5)}, "holds for nothing"),
        ((Mount, Open), {"flags": -1}, "different widths"),
        ((Raw("sysinfo"),), {"arg6": 1}, "has no field 'arg6'"),
    ],
)
def test_what_cannot_be_declared(operations, conditions, text):
    """Said when the file is loaded, not when a call comes."""
    with pytest.raises(TypeError, match=text):
        on(*operations, **conditions)
    with pytest.raises(TypeError, match=text):
        always(Deny(1), *operations, **conditions)


@pytest.mark.parametrize(
    "verdict",
    [
        Continue(), Return(0), None, Deny, Allow(flags=1), Allow(grant="low-ports"),
        Deny(0), Deny(-1), Deny(4096), Deny("EPERM"),
    ],
)  # fmt: skip
def test_what_the_kernel_cannot_give(verdict):
    """A filter allows, refuses with an errno, or kills. Errno 0 would be success."""
    with pytest.raises(TypeError):
        always(verdict, Ioctl)


def test_on_error_is_a_verdict():
    """Or nobody knows what a failing rule comes to."""
    with pytest.raises(TypeError, match="no verdict"):
        on(Open, on_error=errno.EPERM)


@pytest.mark.parametrize("patience", [0, -1, "30", float("nan")])
def test_patience_is_seconds(patience):
    """What watches over the rules compares it with a clock."""
    with pytest.raises(TypeError, match="give seconds"):
        on(Open, patience=patience)


def yields(call):
    """A generator."""
    yield Allow()


async def yields_late(call):
    """An async one."""
    yield Allow()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (yields, "yields"),
        (yields_late, "yields"),
        (lambda: Allow(), "is given the call and nothing else: too many"),
        (lambda call, more: Allow(), "is given the call and nothing else: missing"),
        (Call, "decorates a function, not <class"),
    ],
)
def test_what_can_never_give_a_verdict(what, why, declared):
    """Said when the file is loaded, not at every call."""
    with pytest.raises(TypeError, match=why):
        on(Open)(what)
    assert not declared()


def test_an_option_has_its_default():
    """And is noted, for help."""
    assert option("name", "x", summary="half a sentence") == "x"
    assert option("many", (1, 2), convert=int, needed=True) == (1, 2)
    assert globals()[WANTED] == {
        "name": Setting("x", "half a sentence", False),
        "many": Setting((1, 2), "", True),
    }


def test_an_option_that_was_given():
    """The last one counts; all of them where the default is a tuple."""
    globals()[OPTIONS] = {"one": ["1", "2"], "many": ["1", "2"], "text": [""]}
    assert option("one", 0, convert=int) == 2
    assert option("many", (), convert=int) == (1, 2)
    assert option("text", "default") == ""


def test_an_option_that_cannot_be_read():
    """The person is told which one, and why."""
    globals()[OPTIONS] = {"port": ["http"], "file": ["/nowhere"]}
    with pytest.raises(UsageError, match="--option port=http: "):
        option("port", 0, convert=int)
    with pytest.raises(UsageError, match="--option file=/nowhere: "):
        option("file", "", convert=lambda name: Path(name).read_text())
