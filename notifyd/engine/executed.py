"""What is told of a call that the kernel executed and notifyd verified."""

from __future__ import annotations

from notifyd.engine.answer import GONE, Outcome
from notifyd.engine.decide import Decision
from notifyd.engine.workload import Workload
from notifyd.perform import Came, Fate
from notifyd.perform.expected import Expected
from notifyd.policy.fields import text
from notifyd.target.identity import Identity

__all__ = ["executed", "tell_mismatch"]


def executed(came: Came, reason: str | None) -> Outcome:
    """The outcome of a call whose answer is out."""
    if came.fate is Fate.RUNS:
        return Outcome("allow", "verified", reason=reason)
    if came.fate is Fate.FAILED:
        return Outcome("allow", "continued", came.errno, reason=came.reason or reason)
    if came.fate is Fate.GONE:
        return Outcome("allow", GONE, reason=reason)
    return Outcome("kill", "verified", reason=_why(came))


def tell_mismatch(
    workload: Workload,
    identity: Identity | None,
    decision: Decision,
    expected: Expected,
    came: Came,
) -> None:
    """Write down that something else was about to run than the rule saw."""
    differs = came.difference
    # Not louder: a program can do this as often as it likes. Refused calls are shown with a limit.
    workload.reporter.event(
        "exec.mismatch",
        "info",
        workload=workload.name,
        pid=came.pid,
        process=identity.who[2] if identity is not None else None,
        rule=decision.rule,
        path=text(expected.name),
        about=differs.about if differs else None,
        expected=text(differs.expected) if differs else None,
        found=text(differs.found) if differs else None,
        reason=came.reason,
    )


def _why(came: Came) -> str:
    if came.difference is None:
        return came.reason or "nobody waited for it any more"
    return f"what was about to run was not what the rule saw: {came.difference.about}"
