"""Asking a rule, or the rules of a file, what they want for a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import trio

from notifyd.policy.call import ARCH, NR, Call
from notifyd.policy.load import load
from notifyd.policy.rule import Always, Rule
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.verdicts import VERDICTS, Allow, Verdict

__all__ = ["load_rules", "verdict_of", "wait_verdict"]

Rules: TypeAlias = Callable[[Any], Any] | Rule | RuleSet


def verdict_of(rule: Rules, call: Call, *, clock: trio.abc.Clock | None = None) -> Verdict | None:
    """What a rule wants for a call.

    Args:
        rule: a function, plain or async, decorated with `@on(...)` or not; it is asked whatever
            conditions it was declared with. Or a rule set from `load_rules`: then conditions count,
            `always(...)` speaks first, and `otherwise` speaks last, as in the kernel's filter and
            in the supervisor.
        call: from `make_call`.
        clock: for async rules that wait: `trio.testing.MockClock(autojump_threshold=0)` makes every
            `trio.sleep` immediate. Default: real time.

    Returns:
        The verdict; None if a function had no opinion.

    Raises:
        Exception: whatever the rule raises. A supervisor would give the rule's `on_error` then, or
            for a `TargetFault` its errno.
        TypeError: the rule returned what is no verdict.
    """
    return trio.run(wait_verdict, rule, call, clock=clock)


async def wait_verdict(rule: Rules, call: Call) -> Verdict | None:
    """The same as `verdict_of` where trio runs already."""
    if not isinstance(rule, RuleSet):
        return await _ask(rule, call)
    for step in rule.plans.get((call.note[ARCH], call.note[NR]), ()):
        verdict = await _step(step, call)
        if verdict is not None:
            return verdict
    return rule.otherwise


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
    return load(names, options=texts)


async def _step(step: Step, call: Call) -> Verdict | None:
    if not step.applies(call.note):
        return None
    declaration = step.declaration
    if isinstance(declaration, Always):
        # What the filter cannot see is refused and never allowed, as in the kernel.
        blind = bool(step.hidden) and isinstance(declaration.verdict, Allow)
        return None if blind else declaration.verdict
    asked = call
    if type(call) is not step.operation or call.variant is not step.variant:
        asked = step.operation(call.note, step.variant, call.origin)
    if step.hidden and not step.applies_hidden(asked):
        return None
    return await _ask(declaration, asked)


async def _ask(rule: Callable[[Any], Any], call: Call) -> Verdict | None:
    verdict = rule(call)
    if inspect.isawaitable(verdict):
        verdict = await verdict
    if verdict is not None and not isinstance(verdict, VERDICTS):
        raise TypeError(f"{rule!r} returned {verdict!r}, which is no verdict")
    return cast("Verdict | None", verdict)
