"""Asking rules in their order: opinions, conditions, failures, and what was looked at."""

import errno

import pytest
import trio

from notifyd.engine.decide import MAX_TRACEBACK_CHARS, ResumableEvaluation, explain
from notifyd.errors import CannotPerform, StaleCall
from notifyd.kernel.arch import native
from notifyd.policy.load import MAX_ERROR_CHARS
from notifyd.policy.verdicts import Allow, Continue, Deny


class Nobody:
    """An origin whose target can be read: every byte is `x`."""

    name = "test"

    def target(self, note):
        return self

    def read(self, address, size):
        return b"x" * size


@pytest.fixture
def decide(rules_of):
    """Decide a native call: `decide(text, "kill", 1, 9)`; returns decision and evaluation."""

    def decider(text, syscall, *args, strict=False):
        from notifyd.policy.ruleset import RuleSet

        rules, _ = rules_of(text)
        rules = RuleSet.build(rules.declarations, strict=strict)
        arch = native()
        registers = (*args, *[0] * (6 - len(args)))
        note = (1, 1, 0, arch.numbers[syscall], arch.audit, 0, *registers)
        steps = rules.plans.get((arch.audit, note[3]), ())
        evaluation = ResumableEvaluation(note, steps, rules, Nobody())
        found = evaluation.ask()
        return trio.run(evaluation.ask_async) if found is None else found

    return decider


FIRST = "@on(Signal)\n{a} first(call):\n    return {one}\n"
SECOND = "@on(Signal)\n{b} second(call):\n    return {two}\n"
BOTH = FIRST + SECOND


@pytest.mark.parametrize("a", ["def", "async def"])
@pytest.mark.parametrize("b", ["def", "async def"])
def test_the_first_verdict_wins(a, b, decide):
    """In the order written; None is no opinion; plain and async rules alike."""
    text = BOTH.format(a=a, b=b, one="Deny(5)", two="Deny(6)")
    assert decide(text, "kill").verdict == Deny(5)
    text = BOTH.format(a=a, b=b, one="None", two="Deny(6)")
    assert (decide(text, "kill").verdict, decide(text, "kill").rule) == (Deny(6), "rules.py:second")
    text = BOTH.format(a=a, b=b, one="None", two="None")
    assert (decide(text, "kill").verdict, decide(text, "kill").rule) == (Allow(), None)


def test_a_condition_is_tested_before_a_rule_is_asked(decide):
    """A rule about another signal is not asked."""
    text = "@on(Signal, signal=9)\ndef only(call):\n    return Deny(5)\n"
    assert decide(text, "kill", 1, 9).verdict == Deny(5)
    assert decide(text, "kill", 1, 15).verdict == Allow()
    assert decide(text, "tgkill", 1, 1, 9).verdict == Deny(5)


def test_a_look_by_any_rule_counts(decide):
    """What the first rule looked at makes the second one's Allow more than registers."""
    text = "@on(Signal)\ndef first(call):\n    call.read(8, 1)\n" + SECOND.format(
        b="def", two="Allow()"
    )
    assert decide(text, "kill").looked
    assert not decide(SECOND.format(b="def", two="Allow()"), "kill").looked


def test_strict_refuses_to_look_and_continue(decide):
    """Continue() alone is fine; after a look it is refused with the reason."""
    text = "@on(Signal)\ndef first(call):\n    {look}\n    return Continue()\n"
    assert decide(text.format(look="pass"), "kill", strict=True).verdict == Continue()
    assert decide(text.format(look="call.read(8, 1)"), "kill").verdict == Continue()
    decision = decide(text.format(look="call.read(8, 1)"), "kill", strict=True)
    assert decision.verdict == Deny(errno.EPERM)
    assert "strict" in decision.reason


def test_two_operations_that_looked_cannot_be_performed(decide):
    """The same call seen as two operations has two copies; Allow would mean only one of them."""
    text = """
    @on(Raw("kill"))
    def raw(call):
        call.read(8, 1)

    @on(Signal)
    def modelled(call):
        return Allow()
    """
    decision = decide(text, "kill")
    assert decision.verdict == Deny(errno.EPERM)
    assert decision.reason


def test_an_explanation_is_one_line_where_that_is_enough():
    """Our own errors are a line; a rule's error comes with its traceback, cut where it is long."""
    assert explain(StaleCall("late")) == "StaleCall: late"
    assert explain(CannotPerform("no")) == "CannotPerform: no"
    try:
        raise ValueError("x" * 2 * MAX_TRACEBACK_CHARS)
    except ValueError as error:
        text = explain(error)
    assert len(text) <= MAX_TRACEBACK_CHARS + 3 + len("\nValueError: …") + MAX_ERROR_CHARS
    assert text.startswith("...")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "TypeError: returned 3, which is no verdict"),
        ("raise ValueError('x' * 10**6)", "ValueError: xxx"),
        ("return call.nothing", "AttributeError: 'Signal' object has no attribute 'nothing'"),
        ("class E(Exception):\n        def __str__(self): raise E\n    raise E",
         "E: its text cannot be shown"),
    ],
)  # fmt: skip
def test_the_last_line_of_an_explanation_says_what_and_where(decide, body, said):
    """Where a table or a terminal has room for one line, its author has to know from that."""
    text = f"@on(Signal)\ndef f(call):\n    {body}\n"
    reason = decide(text, "kill").reason
    place, _, rest = reason.rpartition("\n")[2].partition(": ")
    assert rest.startswith(said)
    file, _, line = place.rpartition(":")
    assert file.endswith(".py")
    assert int(line) > 0
