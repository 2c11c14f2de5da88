"""Which calls the supervisor asks to be told of, so that what it knows of targets stays true."""

from __future__ import annotations

from notifyd.perform import FILE_PERFORMERS
from notifyd.policy.operations import Exec
from notifyd.policy.rule import Rule
from notifyd.policy.ruleset import RuleSet
from notifyd.target.watch import CONTEXT, IDENTITY, LAZINESS, Change, Watched

__all__ = ["watched_for"]


def watched_for(rules: RuleSet, *, audited: bool) -> tuple[Watched, ...]:
    """What to put into a filter beside the rules: nothing, if no call leaves the kernel anyway.

    Args:
        rules: what decides the calls.
        audited: whether events tell who made them.
    """
    if not rules.rules:
        return ()
    about = {
        step.operation
        for steps in rules.plans.values()
        for step in steps
        if isinstance(step.declaration, Rule)
    }
    if any(operation in FILE_PERFORMERS for operation in about):
        return (*LAZINESS, *IDENTITY, *CONTEXT)
    if Exec in about:
        # Where a program is found is looked up for the target; what it forbids itself, the kernel
        # heeds when it executes.
        return (
            *LAZINESS,
            *IDENTITY,
            *(one for one in CONTEXT if one.change is not Change.CONFINED),
        )
    return (*LAZINESS, *IDENTITY) if audited else LAZINESS
