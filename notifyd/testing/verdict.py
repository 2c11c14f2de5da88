"""Asking a rule, or the rules of a file, what they want for a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import trio

from notifyd.engine.decide import ResumableEvaluation
from notifyd.policy.call import ARCH, NR, Call
from notifyd.policy.load import load
from notifyd.policy.rule import Rule
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.verdicts import VERDICTS, Verdict

__all__ = ["load_rules", "verdict_of", "wait_verdict"]

Rules: TypeAlias = Callable[[Any], Any] | Rule | RuleSet


def verdict_of(rule: Rules, call: Call, *, clock: trio.abc.Clock | None = None) -> Verdict | None:
    """What a rule wants for a call.

    Args:
        rule: a function, plain or async, decorated with `@on(...)` or not; it is asked whatever
            conditions it was declared with. Or a rule set from `load_rules`: then it is asked by
            the supervisor's own code. Conditions count, files add up, and a rule that fails gives
            its `on_error`.
        call: from `make_call`.
        clock: for async rules that wait: `trio.testing.MockClock(autojump_threshold=0)` makes every
            `trio.sleep` immediate. Default: real time.

    Returns:
        The verdict; None if a function had no opinion. Of a rule set, what all its files come to
        together: `Ask` if a question is put first, `Allow` with the changes and grants of all.

    Raises:
        Exception: whatever a function raises. A supervisor would give the rule's `on_error` then,
            or for a `TargetFault` its errno.
        TypeError: a function returned what is no verdict.
    """
    return trio.run(wait_verdict, rule, call, clock=clock)


async def wait_verdict(rule: Rules, call: Call) -> Verdict | None:
    """The same as `verdict_of` where trio runs already."""
    if not isinstance(rule, RuleSet):
        return await _ask(rule, call)
    evaluation = _GivenEvaluation(call, rule)
    decision = evaluation.ask() or await evaluation.ask_async()
    return decision.verdict


def load_rules(*names: str, **options: object) -> RuleSet:
    """The rules of files, as `notifyd run --rules NAME --option name=value` would load them.

    Args:
        names: a shipped rule's name or a path, each.
        options: by their names; a tuple or list gives one several times.

    Raises:
        UsageError: what a person would be told.
    """
    texts = {
        name: [str(one) for one in (value if isinstance(value, (tuple, list)) else (value,))]
        for name, value in options.items()
    }
    return load(names, options=texts, read=Path.read_bytes)  # tests run what they lie beside


class _GivenEvaluation(ResumableEvaluation):
    """An evaluation about a call that is there already."""

    __slots__ = ("_given",)

    def __init__(self, call: Call, rules: RuleSet) -> None:
        self._given = call
        steps = rules.plans.get((call.note[ARCH], call.note[NR]), ())
        super().__init__(call.note, steps, rules, call.origin)

    def _make(self, step: Step) -> Call:
        given = self._given
        same = type(given) is step.operation and given.variant is step.variant
        return given if same else super()._make(step)


async def _ask(rule: Callable[[Any], Any], call: Call) -> Verdict | None:
    verdict = rule(call)
    if inspect.isawaitable(verdict):
        verdict = await verdict
    if verdict is not None and not isinstance(verdict, VERDICTS):
        raise TypeError(f"{rule!r} returned {verdict!r}, which is no verdict")
    return verdict
