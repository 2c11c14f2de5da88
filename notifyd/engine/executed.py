"""What is told of a call that the kernel did: an execve that notifyd verified, and others."""

from __future__ import annotations

from collections.abc import Callable

from notifyd.engine.answer import GONE, Outcome
from notifyd.engine.decide import Decision
from notifyd.engine.workload import Workload
from notifyd.perform import Came, Fate
from notifyd.perform.expected import Expected
from notifyd.perform.led import Came as Led
from notifyd.policy.call import ID, Call
from notifyd.policy.fields import text
from notifyd.policy.verdicts import Allow
from notifyd.target.identity import Identity

__all__ = ["by_itself", "executed", "tell_mismatch"]


def executed(came: Came, reason: str | None) -> Outcome:
    """The outcome of a call whose answer is out."""
    if came.fate is Fate.RUNS:
        return Outcome("allow", "verified", reason=reason)
    if came.fate is Fate.FAILED:
        return Outcome("allow", "continued", came.errno, reason=came.reason or reason)
    if came.fate is Fate.GONE:
        return Outcome("allow", GONE, reason=reason)
    return Outcome("kill", "verified", reason=_why(came))


async def by_itself(
    workload: Workload, call: Call, decision: Decision, close: Callable[[Decision, Outcome], None]
) -> bool:
    """Let the target do a call, where others see who did it.

    Args:
        workload: its workload.
        call: what the rules saw.
        decision: what they said.
        close: told what became of it.

    Returns:
        False: it has to be performed.

    Raises:
        TargetGone.
    """
    assert isinstance(decision.verdict, Allow)
    # Once answered its id is not valid any more; who leads it sees by itself if it is gone.
    scope = workload.waiting.pop(call.note[ID])
    came = await workload.itself.attempt(call, decision.verdict, workload.listener)
    if came is None:
        workload.wait(call.note[ID], scope)
        return False
    close(decision, _led(came, decision.reason))
    return True


def _led(came: Led, reason: str | None) -> Outcome:
    """The outcome of a call that the target did itself, with what the rules saw."""
    if came.again:
        why = came.reason or "interrupted"
        return Outcome("allow", "continued", reason=f"{why}; the call comes again")
    if came.result is None:
        return Outcome("allow", GONE, reason=came.reason or reason)
    number = -came.result if -4096 < came.result < 0 else 0
    return Outcome("allow", "performed", number, None if number else came.result, reason)


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
