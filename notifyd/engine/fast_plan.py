"""Plans for the hot loop: what is known of a call before it comes, where one plain rule decides."""

from __future__ import annotations

from typing import Any, NamedTuple

from notifyd.kernel.arch import ARCHES
from notifyd.policy.bound import Variant
from notifyd.policy.call import Call, RawCall
from notifyd.policy.rule import RuleFunction
from notifyd.policy.ruleset import Step
from notifyd.policy.wording import Part, parts_of

__all__ = ["EventTemplate", "FastPlan", "fast_plan"]


class EventTemplate(NamedTuple):
    """What is known beforehand of the calls that one plain rule decides.

    Attributes:
        step: the rule's step.
        title: the operation's name.
        syscall: the system call's name.
        arch: the architecture's name.
        rule: the rule's name.
        parts: the arguments that an event tells; None for a raw call.
    """

    step: Step
    title: str
    syscall: str
    arch: str
    rule: str
    parts: tuple[Part, ...] | None


class FastPlan(NamedTuple):
    """A plan of one plain rule without conditions, of the native entry.

    It needs no `ResumableEvaluation`.
    """

    operation: type[Call]
    variant: Variant
    function: RuleFunction
    known: EventTemplate


def fast_plan(audit: int, steps: tuple[Step, ...]) -> FastPlan | None:
    """The quick plan for a call that these steps are asked about; None if it takes more."""
    step = steps[0]
    declaration = step.declaration
    function: RuleFunction | None = getattr(declaration, "function", None)
    if len(steps) > 1 or not step.unconditional or function is None:
        return None
    if declaration.is_async:  # type: ignore[union-attr]
        return None
    arch, name = ARCHES[audit], step.variant.syscall
    operation: Any = step.operation
    told = None if operation is RawCall else parts_of(operation, step.variant, audit)
    known = EventTemplate(step, step.operation.title, name, arch.name, declaration.name, told)
    return FastPlan(step.operation, step.variant, function, known)
