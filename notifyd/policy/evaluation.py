"""Asking the rules of one call: which comes next, and what their verdicts come to together.

The engine, replaying and testing ask by this code; they differ in how they wait for a rule. Knows
nothing of waiting and of answers.

Rule files add up. Each file that is about the call is asked, in the order given, and within a file
the first verdict counts. Verdicts that `ends_asking` are the end of it. All others are nothing
against the call, and the next file is asked about the call as it was changed. Questions are put
when no file refuses.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from notifyd.errors import CannotPerform, StaleCall, TargetFault, TargetGone
from notifyd.policy.call import Call, Note, Origin
from notifyd.policy.changed import changed
from notifyd.policy.checking import shown, wrong_with
from notifyd.policy.load import line_in, one_line
from notifyd.policy.rule import Always, Declaration, Rule
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.verdicts import NO_CHANGES, Allow, Ask, Continue, Deny, Verdict

__all__ = ["MAX_TRACEBACK_CHARS", "Decision", "Evaluation", "explain", "shown"]

MAX_TRACEBACK_CHARS = 4096  # characters of a traceback in an event


class Decision(NamedTuple):
    """What the rules want for a call.

    Attributes:
        verdict: from the closed set.
        call: the call as the rule that spoke saw it, with the changes that were made to it; None if
            no rule looked at the call at all.
        looked: whether any rule looked at the target's memory.
        rule: the name of the declaration that spoke; None if it was `otherwise`.
        reason: why, where there is a why.
        broken: whether a rule failed, and this is what its failure comes to.
        then: of a question, what follows if the answer is yes: the next question, or what is done.
        origin: of a question, the rule file that asks; see `Claim`.
        seen: of a question, the fields that rules had looked at when it was put.
    """

    verdict: Verdict
    call: Call | None
    looked: bool
    rule: str | None
    reason: str | None
    broken: bool = False
    then: Decision | None = None
    origin: str = ""
    seen: frozenset[str] = frozenset()

    @property
    def last(self) -> Decision:
        """What is done when every question was answered with yes."""
        return self if self.then is None else self.then.last

    @property
    def made_later(self) -> tuple[Mapping[str, Any], Any] | None:
        """Of a question, what later files make of the call if it is allowed: changes and grants."""
        last = self.last
        if last is self or not isinstance(last.verdict, Allow):
            return None
        changes = last.verdict.changes if last.call is not self.call else NO_CHANGES
        return changes, last.verdict.grant


class Evaluation:
    """One call on its way through its rules.

    It can be asked again from the start after a slow look was done; what was seen stays seen.

    Attributes:
        steps: of the call's plan.
        asked: the declaration that was asked last.
        failure: the first rule that failed, by name, and how; None if none did.
    """

    __slots__ = (
        "_at", "_broken", "_calls", "_changed", "_changes", "_ended", "_grants", "_note", "_origin",
        "_questions", "_rules", "_shown", "_spoken", "asked", "failure", "steps",
    )  # fmt: skip

    def __init__(self, note: Note, steps: Sequence[Step], rules: RuleSet, origin: Origin) -> None:
        self._note = note
        self.steps = steps
        self._rules = rules
        self._origin = origin
        self._calls: dict[Any, Call] = {}  # as they were shown to rules; by variant, and changes
        self._begin()

    def _begin(self) -> None:
        self._at, self._changed = 0, 0  # the latter: whose variant's call is changed; 0 for none
        self.asked: Declaration | None = None
        self._shown: Call | None = None  # to the rule that is asked
        self._ended: Decision | None = None  # what a file said that lets no other one be asked
        self._spoken: Decision | None = None  # what the last file said that had nothing against it
        self._questions: tuple[Decision, ...] = ()
        self._changes: Mapping[str, Any] = NO_CHANGES
        self._grants: tuple[str, ...] = ()
        self._broken = False
        self.failure: tuple[str, str] | None = None

    # -- the calls that rules are shown

    @property
    def last_call(self) -> Call | None:
        """The call as it was last shown to a rule."""
        return next(reversed(self._calls.values()), None)

    def as_made(self, call: Call) -> Call:
        """The call as the target made it, without what rules changed: events tell that one."""
        return self._calls.get(id(call.variant), call)

    def adopt(self, call: Call) -> None:
        """Take a call that was shown to the rule of the first step already."""
        self._calls[id(call.variant)] = self._shown = call
        self.asked = self.steps[0].declaration

    def restart(self) -> None:
        """Forget what rules saw: the call has to be looked at anew."""
        self.close()
        self._calls.clear()
        self._begin()

    def close(self) -> None:
        """The call is answered: what rules kept of it is stale."""
        for call in self._calls.values():
            call.close()

    def _call(self, step: Step) -> Call:
        call = self._calls.get(id(step.variant))
        if call is None:
            call = self._calls[id(step.variant)] = self._make(step)
        return self._altered(call) if self._changed == id(step.variant) else call

    def _make(self, step: Step) -> Call:
        return step.operation(self._note, step.variant, self._origin)

    def _altered(self, call: Call) -> Call:
        """The call with all changes so far: the same one for the same changes."""
        key = id(call.variant), *self._changes.items()
        if key not in self._calls:
            self._calls[key] = changed(self.as_made(call), self._changes)
        return self._calls[key]

    # -- asking

    def advance(self) -> tuple[Rule, Call] | None:
        """Go on to the next rule that has to be asked; give `accept` or `failed` what came of it.

        Asked again before that, it gives the same rule: one that could not look yet is asked anew.

        Returns:
            The rule and the call to show it; None if there is none left (`conclusion` then).

        Raises:
            TargetGone: the target is gone. And what a condition's look at memory raises.
        """
        while self._ended is None and self._at < len(self.steps):
            step = self.steps[self._at]
            declaration = self.asked = step.declaration
            if not step.applies(self._note):
                self._at += 1
            elif not isinstance(declaration, Always):
                call = self._shown = self._call(step)
                if not step.hidden or self._holds(step, call):
                    return declaration, call
                self._at += 1
            elif step.hidden and isinstance(declaration.verdict, Allow):
                self._at += 1  # what the filter cannot see is never allowed by it
            else:
                # The filter was widened, is not ours, or another file had to be asked before.
                self._take(declaration.verdict, declaration, self._call(step), None)
        return None

    def _holds(self, step: Step, call: Call) -> bool:
        try:
            return step.applies_hidden(call)
        except TargetFault as fault:
            self.failed(fault)
            return False

    def accept(self, verdict: object) -> None:
        """Take what the rule that was asked returned: nonsense and no opinion included."""
        rule = self.asked
        assert isinstance(rule, Rule)
        if verdict is None:
            self._at += 1
            return
        wrong = wrong_with(verdict, rule)
        if wrong is None:
            assert self._shown is not None
            self._take(verdict, rule, self._shown, getattr(verdict, "reason", None))
        else:
            self.failed(wrong)

    def failed(self, error: BaseException) -> None:
        """Take that the rule that was asked raised."""
        # Invariant: a rule that fails never lets a call through by accident.
        declaration = self.asked
        if declaration is None or self._at >= len(self.steps):
            self._ended = self._decision(Deny(errno.EPERM), None, None, explain(error))
            return
        call = self._call(self.steps[self._at])
        if isinstance(error, TargetFault):
            self._take(Deny(error.errno), declaration, call, str(error))
            return
        self._broken = self._broken or not isinstance(error, TargetGone)
        verdict: Any = Deny(errno.EPERM)
        if isinstance(declaration, Rule) and wrong_with(declaration.on_error, declaration) is None:
            verdict = declaration.on_error
        why = explain(error, declaration)
        if self._broken:
            self.failure = self.failure or (declaration.name, why)
        self._take(verdict, declaration, call, why)

    def _take(self, verdict: Any, speaker: Declaration, call: Call, reason: str | None) -> None:
        """One file has spoken: note it, and go on to the next file, or end."""
        said = self._decision(verdict, speaker, call, reason)
        if said.verdict.ends_asking:
            self._ended = said
            return
        if isinstance(verdict, Ask):
            self._questions += (said,)
        # Letting the kernel read the memory again never outweighs a file that judged what it saw.
        if not (isinstance(verdict, Continue) and self._spoken is not None):
            self._spoken = said
        self._skip_file()
        if isinstance(verdict, Allow):
            self._add(verdict, call)

    def _add(self, verdict: Allow, call: Call) -> None:
        """Add what one file allows to what those before it did."""
        given = verdict.grant if isinstance(verdict.grant, tuple) else (verdict.grant,)
        self._grants += tuple(name for name in given if name and name not in self._grants)
        if verdict.final:
            self._at = len(self.steps)
        if verdict.changes:
            self._changes = {**self._changes, **verdict.changes}
            self._changed = id(call.variant)
            try:
                self._altered(call)
            except CannotPerform:
                # It is refused for this when it is to be performed: nobody else need be asked.
                self._changed, self._at = 0, len(self.steps)

    def _skip_file(self) -> None:
        file = self.steps[self._at].file
        while self._at < len(self.steps) and self.steps[self._at].file == file:
            self._at += 1

    # -- what it comes to

    def conclusion(self) -> Decision:
        """What all verdicts come to together, the questions first."""
        decision = self._ended or self._passed()
        if not decision.verdict.refuses:
            for question in reversed(self._questions):
                decision = question._replace(then=decision)
        return decision

    def _passed(self) -> Decision:
        """What it comes to that no file has refused."""
        said = self._spoken
        if said is None:
            return self._decision(self._rules.otherwise, None, self.last_call, None)
        if isinstance(said.verdict, Continue):
            return said
        call = said.call
        assert call is not None
        if self._changed == id(call.variant):
            call = self._altered(call)
        grant = self._grants if len(self._grants) > 1 else next(iter(self._grants), None)
        found = self._decision(Allow(grant=grant, **self._changes), None, call, said.reason)
        return found._replace(rule=said.rule)

    def _decision(
        self, verdict: Any, speaker: Declaration | None, call: Call | None, reason: str | None
    ) -> Decision:
        looked = [one for one in self._calls.values() if one.looked]
        if looked or self._changed:
            verdict, reason = self._reconsidered(verdict, call, looked, reason)
        name = speaker.name if speaker is not None else None
        decision = Decision(verdict, call, bool(looked), name, reason, self._broken)
        if not isinstance(verdict, Ask) or speaker is None:
            return decision
        seen = frozenset(call.seen if call is not None else ()) - {""}  # "" keeps the target
        return decision._replace(origin=speaker.claim.origin, seen=seen)

    def _reconsidered(
        self, verdict: Any, call: Call | None, looked: Sequence[Call], reason: str | None
    ) -> tuple[Any, str | None]:
        """A verdict, unless what was looked at or changed does not let it mean what it says."""
        if isinstance(verdict, Continue) and self._rules.strict and looked:
            return Deny(errno.EPERM), "Continue() after a look at memory, in strict mode"
        if not isinstance(verdict, Allow | Ask):
            return verdict, reason
        mine = id(call.variant) if call is not None else 0
        if self._changed not in (0, mine):
            return Deny(errno.EPERM), (
                "a rule changed this call as one operation, and another judged it as another"
            )
        if any(id(one.variant) != mine for one in looked):
            return Deny(errno.EPERM), (
                "two operations looked at this call; what each saw cannot be told apart"
            )
        return verdict, reason


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
    trace = trace if len(trace) <= MAX_TRACEBACK_CHARS else "..." + trace[-MAX_TRACEBACK_CHARS:]
    return f"{trace}\n{text}"
