"""An execve that a rule allowed: the kernel executes, notifyd verifies and tells."""

from __future__ import annotations

from notifyd.engine.answer import GONE, Outcome
from notifyd.engine.decide import Decision
from notifyd.engine.workload import Workload
from notifyd.perform import Came, Done, Execution, Fate
from notifyd.perform.expected import Expected
from notifyd.policy.call import ID, Note
from notifyd.policy.fields import text
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow
from notifyd.target.identity import Identity

__all__ = ["execute"]


async def execute(
    workload: Workload,
    note: Note,
    identity: Identity | None,
    decision: Decision,
    call: Exec,
    verdict: Allow,
) -> Done | Outcome:
    """Let the kernel execute, and see that it is what the rule saw.

    Returns:
        What became of the call; or, where it comes to nothing, what it is still to be answered.

    Raises:
        Moved: the path means something else than the rule saw.
        CannotPerform, TargetFault, TargetGone, WouldBlock, OSError: the call is not answered.
    """
    killable = workload.killable
    with Execution(workload.files, workload.digests, call, verdict, killable=killable) as execution:
        expected = await execution.prepare()
        if isinstance(expected, Done):
            return expected
        if workload.watched:
            workload.heed(note, identity)  # the new program may call before the case is closed
        # Once answered its id is not valid any more; the tracer sees by itself if it is gone.
        workload.waiting.pop(note[ID], None)
        came = await execution.run(expected, workload.listener)
    if came.fate is Fate.KILLED:
        _tell_mismatch(workload, identity, decision, expected, came)
    return _executed(came, decision.reason)


def _executed(came: Came, reason: str | None) -> Outcome:
    """The outcome of a call whose answer is out."""
    if came.fate is Fate.RUNS:
        return Outcome("allow", "verified", reason=reason)
    if came.fate is Fate.FAILED:
        return Outcome("allow", "continued", came.errno, reason=came.reason or reason)
    if came.fate is Fate.GONE:
        return Outcome("allow", GONE, reason=reason)
    return Outcome("kill", "verified", reason=_why(came))


def _tell_mismatch(
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
