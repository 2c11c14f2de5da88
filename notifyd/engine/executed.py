"""Carrying out what rules allowed and what takes time: by the kernel, the target, or notifyd."""

from __future__ import annotations

from contextlib import suppress

from notifyd.engine.answer import HOW_GONE, Response
from notifyd.engine.decide import Decision
from notifyd.engine.listener import Listener
from notifyd.perform import (
    ByThread,
    ExecResult,
    Execution,
    Fate,
    PerformedCall,
    SyscallResult,
    perform,
)
from notifyd.perform.call_tracer import LedResult as Led
from notifyd.perform.expected import Expected
from notifyd.policy.call import ID, Call, Note
from notifyd.policy.fields import text
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow
from notifyd.target.identity import Identity

__all__ = ["carry_out"]


async def carry_out(
    listener: Listener,
    note: Note,
    identity: Identity | None,
    decision: Decision,
    call: Call,
) -> SyscallResult | Response | PerformedCall:
    """Do a call as the rules saw it.

    Returns:
        What became of the call; or what it is still to be answered; or what it is to be done with.

    Raises:
        Moved: the path means something else than the rule saw.
        CannotPerform, TargetFault, TargetGone, WouldBlock, OSError: the call is not answered.
    """
    verdict = decision.verdict
    assert isinstance(verdict, Allow)
    if isinstance(call, Exec):
        return await _execute(listener, note, identity, decision, call, verdict)
    by_itself = await _by_itself(listener, call, decision, verdict)
    if by_itself is not None:
        return by_itself
    if listener.files.takes(call):
        with suppress(ByThread):
            return listener.files.begin(call, verdict)
    return await perform(call, verdict, listener.files.closing)


async def _execute(
    listener: Listener,
    note: Note,
    identity: Identity | None,
    decision: Decision,
    call: Exec,
    verdict: Allow,
) -> SyscallResult | Response:
    """Let the kernel execute, and see that it is what the rule saw.

    Returns:
        What became of the call; or, where it comes to nothing, what it is still to be answered.

    Raises:
        Moved: the path means something else than the rule saw.
        CannotPerform, TargetFault, TargetGone, WouldBlock, OSError: the call is not answered.
    """
    killable = listener.killable
    with Execution(listener.files, listener.digests, call, verdict, killable=killable) as execution:
        expected = await execution.prepare()
        if isinstance(expected, SyscallResult):
            return expected
        if listener.watched:
            # the new program may call before the case is closed
            listener.note_change(note, identity)
        # Once answered its id is not valid any more; the tracer sees by itself if it is gone.
        listener.waiting.pop(note[ID], None)
        came = await execution.run(expected, listener.descriptor)
    if came.fate is Fate.KILLED:
        _tell_mismatch(listener, identity, decision, expected, came)
    return _executed(came, decision.reason)


def _executed(came: ExecResult, reason: str | None) -> Response:
    """The outcome of a call whose answer is out."""
    if came.fate is Fate.RUNS:
        return Response("allow", "verified", reason=reason)
    if came.fate is Fate.FAILED:
        return Response("allow", "continued", came.errno, reason=came.reason or reason)
    if came.fate is Fate.GONE:
        return Response("allow", HOW_GONE, reason=reason)
    return Response("kill", "verified", reason=_why(came))


async def _by_itself(
    listener: Listener, call: Call, decision: Decision, verdict: Allow
) -> Response | None:
    """Let the target do a call, where others see who did it; None if it has to be performed."""
    # Once answered its id is not valid any more; who leads it sees by itself if it is gone.
    scope = listener.waiting.pop(call.note[ID])
    came = await listener.itself.attempt(call, verdict, listener.descriptor)
    if came is None:
        listener.wait(call.note[ID], scope)
        return None
    return _led(came, decision.reason)


def _led(came: Led, reason: str | None) -> Response:
    """The outcome of a call that the target did itself, with what the rules saw."""
    if came.again:
        why = came.reason or "interrupted"
        return Response("allow", "continued", reason=f"{why}; the call comes again")
    if came.result is None:
        return Response("allow", HOW_GONE, reason=came.reason or reason)
    number = -came.result if -4096 < came.result < 0 else 0
    return Response("allow", "performed", number, None if number else came.result, reason)


def _tell_mismatch(
    listener: Listener,
    identity: Identity | None,
    decision: Decision,
    expected: Expected,
    came: ExecResult,
) -> None:
    """Write down that something else was about to run than the rule saw."""
    differs = came.difference
    # Not louder: a program can do this as often as it likes. Refused calls are shown with a limit.
    listener.reporter.event(
        "exec.mismatch",
        "info",
        workload=listener.name,
        pid=came.pid,
        process=identity.who[2] if identity is not None else None,
        rule=decision.rule,
        path=text(expected.name),
        about=differs.about if differs else None,
        expected=text(differs.expected) if differs else None,
        found=text(differs.found) if differs else None,
        reason=came.reason,
    )


def _why(came: ExecResult) -> str:
    if came.difference is None:
        return came.reason or "nobody waited for it any more"
    return f"what was about to run was not what the rule saw: {came.difference.about}"
