"""Deciding: asking the rules of a call in their order, and failing closed when one of them fails.

Plain rules are asked inline. The first async rule turns the rest of the decision into a coroutine,
which the supervisor runs in a task of its own.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple

import trio

from notifyd.errors import CannotPerform, StaleCall, TargetFault, TargetGone
from notifyd.policy.call import Call, Note, Origin
from notifyd.policy.load import line_in, one_line
from notifyd.policy.rule import Always, Declaration, Rule
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.verdicts import (
    VERDICTS,
    Allow,
    Ask,
    Continue,
    Deny,
    Kill,
    Return,
    Supply,
    Verdict,
)
from notifyd.target.paths import WouldBlock

_REMEMBER = frozenset({"process", "workload", "minutes", "always"})
MAX_TRACE = 4096  # characters of a traceback in an event


class Decision(NamedTuple):
    """What the rules want for a call.

    Attributes:
        verdict: from the closed set.
        call: the call as the rule that spoke saw it; None if no rule looked at the call at all.
        looked: whether any rule looked at the target's memory.
        rule: the name of the declaration that spoke; None if it was `otherwise`.
        reason: why, where there is a why.
        broken: whether a rule failed, and this is what its failure comes to.
    """

    verdict: Verdict
    call: Call | None
    looked: bool
    rule: str | None
    reason: str | None
    broken: bool = False


class Inquiry:
    """One call on its way through its rules.

    It can be asked again from the start after a slow look was done; what was seen stays seen.
    """

    __slots__ = ("_calls", "_note", "_origin", "_rules", "asked", "steps")

    def __init__(self, note: Note, steps: Sequence[Step], rules: RuleSet, origin: Origin) -> None:
        self._note = note
        self.steps = steps
        self._rules = rules
        self._origin = origin
        self._calls: dict[tuple[type[Call], int], Call] = {}
        self.asked: Declaration | None = None  # the last one that was asked

    @property
    def last_call(self) -> Call | None:
        """The call as it was last shown to a rule."""
        return next(reversed(self._calls.values()), None)

    def adopt(self, step: Step, call: Call) -> None:
        """Take a call that was shown to the rule of `step` already."""
        self._calls[step.operation, id(step.variant)] = call
        self.asked = step.declaration

    def restart(self) -> None:
        """Forget what rules saw: the call has to be looked at anew."""
        self.close()
        self._calls.clear()
        self.asked = None

    def close(self) -> None:
        """The call is answered: what rules kept of it is stale."""
        for call in self._calls.values():
            call.close()

    def ask(self) -> Decision | None:
        """Ask the rules in their order.

        Returns:
            The decision, or None where the next one to ask is async (`ask_async` then).

        Raises:
            WouldBlock: a rule wants to look where looking may wait.
            TargetGone: the target is gone.
        """
        for step in self.steps:
            declaration = self.asked = step.declaration
            try:
                if not step.applies(self._note):
                    continue
                if isinstance(declaration, Always):
                    decision = self._kernel_should_have(declaration, step)
                else:
                    call = self._call(step)
                    if step.hidden and not step.applies_hidden(call):
                        continue
                    if declaration.is_async:
                        return None
                    decision = self._judge(declaration, call, declaration.function(call))
            except (WouldBlock, TargetGone):
                raise
            except BaseException as error:  # a rule may raise anything, SystemExit included
                decision = self.failed(declaration, error)
            if decision is not None:
                return decision
        return self._otherwise()

    async def ask_async(self) -> Decision:
        """Ask the rules in their order and wait for those that are async; raises as `ask` does."""
        for step in self.steps:
            declaration = self.asked = step.declaration
            try:
                decision = await self._step(step)
            except (WouldBlock, TargetGone, trio.Cancelled):
                raise
            except BaseException as error:
                decision = self.failed(declaration, error)
            if decision is not None:
                return decision
        return self._otherwise()

    async def _step(self, step: Step) -> Decision | None:
        declaration = step.declaration
        if not step.applies(self._note):
            return None
        if isinstance(declaration, Always):
            return self._kernel_should_have(declaration, step)
        call = self._call(step)
        if step.hidden and not step.applies_hidden(call):
            return None
        if not declaration.is_async:
            return self._judge(declaration, call, declaration.function(call))
        return self._judge(declaration, call, await self._patiently(declaration, call))

    async def _patiently(self, rule: Rule, call: Call) -> object:
        waiting: Awaitable[object] = rule.function(call)
        if rule.patience is None:
            return await waiting
        with trio.move_on_after(rule.patience) as scope:
            return await waiting
        if scope.cancelled_caught:
            raise TimeoutError(f"no verdict within {rule.patience:g} seconds")
        return None  # the rule swallowed a cancellation that was not ours

    def _call(self, step: Step) -> Call:
        key = step.operation, id(step.variant)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = step.operation(self._note, step.variant, self._origin)
        return call

    def judge(self, step: Step, call: Call, verdict: object) -> Decision:
        """What the verdict of the only rule there is comes to, nonsense and no opinion included."""
        rule = step.declaration
        assert isinstance(rule, Rule)
        try:
            return self._judge(rule, call, verdict) or self._otherwise()
        except Exception as error:
            return self.failed(rule, error)

    def _judge(self, rule: Rule, call: Call, verdict: object) -> Decision | None:
        if verdict is None:
            return None
        if not isinstance(verdict, VERDICTS):
            raise TypeError(f"returned {shown(verdict)}, which is no verdict")
        if isinstance(verdict, Ask):
            check_ask(verdict)
        return self._decision(verdict, rule, call, getattr(verdict, "reason", None))

    def _kernel_should_have(self, always: Always, step: Step) -> Decision | None:
        # The filter was widened, or is not ours: the verdict is given here, by the same conditions.
        if step.hidden and isinstance(always.verdict, Allow):
            return None
        return self._decision(always.verdict, always, self._call(step), None)

    def _otherwise(self) -> Decision:
        return self._decision(self._rules.otherwise, None, self.last_call, None)

    def failed(self, declaration: Declaration | None, error: BaseException) -> Decision:
        """What it comes to that a rule raised."""
        # Invariant: a rule that fails never lets a call through by accident.
        call = self.last_call
        if isinstance(error, TargetFault):
            return self._decision(Deny(error.errno), declaration, call, str(error))
        verdict = declaration.on_error if isinstance(declaration, Rule) else Deny(errno.EPERM)
        decision = self._decision(verdict, declaration, call, explain(error, declaration))
        return decision._replace(broken=not isinstance(error, TargetGone))

    def _decision(
        self,
        verdict: Any,
        declaration: Declaration | None,
        call: Call | None,
        reason: str | None,
    ) -> Decision:
        lookers = [one for one in self._calls.values() if one.looked]
        if isinstance(verdict, Continue) and self._rules.strict and lookers:
            verdict, reason = Deny(errno.EPERM), "Continue() after a look at memory, in strict mode"
        if isinstance(verdict, Allow | Ask) and any(one is not call for one in lookers):
            verdict = Deny(errno.EPERM)
            reason = "two operations looked at this call; what each saw cannot be told apart"
        name = declaration.name if declaration is not None else None
        return Decision(verdict, call, bool(lookers), name, reason)


def check_ask(ask: Ask) -> None:
    """See that a question can be asked.

    Raises:
        TypeError, ValueError: it is nonsense; what its rule's failure comes to is refused.
    """
    if not isinstance(ask.question, str) or not isinstance(ask.key, str | None):
        raise TypeError("Ask: the question and its key are text")
    if ask.within is not None and not ask.within > 0:
        raise ValueError(f"Ask: within={ask.within!r} seconds are none to wait")
    if not isinstance(ask.otherwise, Deny | Return | Supply | Kill):
        raise TypeError(
            f"Ask: otherwise={shown(ask.otherwise)} would let a call through unanswered"
        )
    unknown = set(ask.remember) - _REMEMBER
    if unknown:
        raise ValueError(f"Ask: remember has {sorted(unknown)}; there are {sorted(_REMEMBER)}")


def shown(value: object) -> str:
    """What a rule returned, for its author; its `repr` may be anything, and may fail."""
    try:
        return repr(value)[:200]
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


def explain(error: BaseException, declaration: Declaration | None = None) -> str:
    """A rule's failure for the event: one line where that says enough, else below the traceback.

    The last line says what and where, since it is all that there is room for in a table.
    """
    text = f"{type(error).__name__}: {one_line(error)}"
    if isinstance(error, (CannotPerform, StaleCall, TargetGone, TimeoutError)):
        return text
    if declaration is not None:
        claim = declaration.claim
        line = line_in(error, claim.file) or claim.line
        text = f"{claim.file.rpartition('/')[2]}:{line}: {text}"
    trace = "".join(traceback.format_exception(error)).strip()
    trace = trace if len(trace) <= MAX_TRACE else "..." + trace[-MAX_TRACE:]
    return f"{trace}\n{text}"
