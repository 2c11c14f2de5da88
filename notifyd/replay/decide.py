"""Deciding a recorded call again, as the kernel's filter and the supervisor would together."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from notifyd.engine.decide import Decision, ResumableEvaluation
from notifyd.kernel.arch import Arch, entries, native
from notifyd.policy.call import Call, Note
from notifyd.policy.rule import Always
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.verdicts import Allow
from notifyd.replay.compare import ReplayedCall, compared, untold
from notifyd.replay.event import Event
from notifyd.replay.missing import NotRecorded
from notifyd.replay.record import RecordedCall

__all__ = ["Decider"]

# seconds of the replay's clock, which jumps: a rule that waits longer never ends
REPLAY_TIMEOUT_S = 86400.0
RULE_WAIT = "how long a rule waits"


class Decider:
    """Decides recorded calls by a rule set. Rules that keep something see the calls in their order.

    To be used within trio, best with a clock that jumps: a rule that sleeps then costs nothing.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._arches = {arch.name: arch for arch in entries(native())}

    async def decide(self, event: Event) -> ReplayedCall:
        """What the rules want for a recorded call, against what it got."""
        arch = self._arches.get(event.arch or "")
        if arch is None:
            return untold(event, "what this machine has no entry for: arch")
        number = arch.numbers.get(event.syscall or "")
        if number is None:
            return untold(event, "what this machine has no name for: syscall")
        steps = self._rules.plans.get((arch.audit, number), ())
        if not steps:
            return compared(event, Allow(), asked=False)
        return await self._ask(event, arch, number, steps)

    async def _ask(
        self, event: Event, arch: Arch, number: int, steps: Sequence[Step]
    ) -> ReplayedCall:
        record = RecordedCall(event, arch, number)
        missed = record.missing.names
        decision = None
        try:
            if not _concern(steps, record.note):
                return compared(event, Allow(), asked=False)
            evaluation = _RecordedEvaluation(record, steps, self._rules)
            decision = evaluation.ask()
            if decision is None:
                with trio.move_on_after(REPLAY_TIMEOUT_S):
                    decision = await evaluation.ask_async()
        except NotRecorded:
            pass
        if missed or decision is None:
            return untold(event, missed[0] if missed else RULE_WAIT)
        return _found(event, decision)


def _found(event: Event, decision: Decision) -> ReplayedCall:
    found = compared(event, decision.verdict, performs=decision.looked)
    return ReplayedCall(
        found.kind, found.before, found.after, decision.rule, decision.reason, decision.broken
    )


def _concern(steps: Sequence[Step], note: Note) -> bool:
    """Whether the filter of these rules does anything about a call but let it pass.

    Where it lets it pass, `otherwise` is not asked: nobody is.
    """
    return any(step.applies(note) for step in steps if not _allows_blindly(step))


def _allows_blindly(step: Step) -> bool:
    # Such an allowance is not in the filter, which cannot see what it depends on.
    declaration = step.declaration
    kernel = isinstance(declaration, Always) and isinstance(declaration.verdict, Allow)
    return kernel and bool(step.hidden)


class _RecordedEvaluation(ResumableEvaluation):
    """An evaluation whose calls are made of a record."""

    __slots__ = ("_record",)

    def __init__(self, record: RecordedCall, steps: Sequence[Step], rules: RuleSet) -> None:
        super().__init__(record.note, steps, rules, record)
        self._record = record

    def _make(self, step: Step) -> Call:
        return self._record.call(step.operation, step.variant)

    def failed(self, error: BaseException) -> None:
        """As ever; but that a rule was too slow here says nothing of the time of the record."""
        if isinstance(error, KeyboardInterrupt):
            raise error  # whoever waits for the replay has had enough: no fault of the rule
        if isinstance(error, TimeoutError):
            self._record.missing.names.append(RULE_WAIT)
        super().failed(error)
