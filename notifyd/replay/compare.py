"""What was recorded against what would be: the same, a change, or nothing that can be told."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from notifyd.engine.answer import HOW_GONE
from notifyd.events.errnos import errno_name
from notifyd.kernel.limits import MAX_ERRNO
from notifyd.policy.verdicts import VERDICTS, Allow, Deny, Return
from notifyd.replay.event import Event

__all__ = ["VERDICT_KINDS", "ReplayStatus", "ReplayedCall", "compared", "recorded", "untold"]

VERDICT_KINDS = frozenset(one.kind for one in VERDICTS)
_VERDICT = frozenset({"how", "errno", "value"})  # without these nothing can be compared
OUTCOME = "what became of it"
UNDONE = "undone"  # the cause of a refusal of what a rule had allowed: see `engine.answer.CAUSES`


class ReplayStatus(enum.Enum):
    """What replaying a call comes to."""

    SAME = "same"
    CHANGE = "changes"
    UNTOLD = "cannot be told"
    UNDECIDED = "was not decided"


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """One call, replayed.

    Attributes:
        before: the recorded verdict in words, as `deny EACCES`.
        after: the new one; where it cannot be told, what was missing.
        rule: `file.py:function` that speaks now, if one does.
        reason: why, where there is a why.
        broken: whether that rule failed.
    """

    kind: ReplayStatus
    before: str
    after: str
    rule: str | None = None
    reason: str | None = None
    broken: bool = False


def recorded(event: Event) -> str | None:
    """The recorded verdict in words; None if no rule came to one.

    The target went away before, or the event has a cause other than a rule.
    """
    verdict = event.verdict
    if verdict == "deny" and (event.how == HOW_GONE or event.cause not in (None, UNDONE)):
        return None
    if verdict == "kill" and event.how == "verified":
        return "allow"  # and what was about to run was not what the rule had seen
    if verdict == "deny":
        return f"deny {event.errno}"
    if verdict == "return":
        return f"return {event.errno or event.value}"
    return verdict


def untold(event: Event, missing: str) -> ReplayedCall:
    """The finding for a call of which something is missing."""
    return ReplayedCall(ReplayStatus.UNTOLD, recorded(event) or "nothing", missing)


def compared(
    event: Event, verdict: Any, *, asked: bool = True, performs: bool = False
) -> ReplayedCall:
    """The finding for a call that got a verdict again.

    Args:
        event: the record.
        verdict: the new one, of any class in `VERDICTS`.
        asked: whether any rule is about the call; if none is, the kernel continues it.
        performs: whether notifyd has to do the call, or have it verified, for that verdict.
    """
    hidden = _VERDICT.intersection(event.redacted or ())
    if hidden:
        return untold(event, min(hidden))
    before, after = recorded(event), _words(verdict)
    if before is None:
        return ReplayedCall(ReplayStatus.UNDECIDED, "nothing", after)
    if not asked and before in ("continue", "allow"):
        return ReplayedCall(ReplayStatus.SAME, before, after)
    if before != after:
        if event.cause == UNDONE and isinstance(verdict, Allow) and (performs or _lends(verdict)):
            return untold(event, OUTCOME)  # a rule said so before, and it could not be done
        return ReplayedCall(ReplayStatus.CHANGE, before, after)
    unsaid = _not_in_events(verdict)
    return untold(event, unsaid) if unsaid else ReplayedCall(ReplayStatus.SAME, before, after)


def _words(verdict: Any) -> str:
    """A verdict as `recorded` has it. What cannot be answered is refused: see `engine.answer`."""
    if isinstance(verdict, Deny):
        good = isinstance(verdict.errno, int) and 0 < verdict.errno <= MAX_ERRNO
        return f"deny {errno_name(verdict.errno) if good else 'EPERM'}"
    if isinstance(verdict, Return):
        good = isinstance(verdict.value, int) and -(1 << 63) <= verdict.value < 1 << 63
        return f"return {int(verdict.value)}" if good else "deny EPERM"
    return str(verdict.kind)


def _not_in_events(verdict: Any) -> str | None:
    """What makes two verdicts of one kind differ, and is in no event."""
    if isinstance(verdict, Allow):
        return "what Allow() changed or lent" if _lends(verdict) else None
    if isinstance(verdict, Return):
        return "what Return() wrote to memory" if verdict.memory else None
    return {"supply": "what Supply() gave", "kill": "the signal of Kill()"}.get(verdict.kind)


def _lends(verdict: Allow) -> bool:
    return bool(verdict.changes or verdict.grant)
