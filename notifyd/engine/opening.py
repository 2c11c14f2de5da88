"""The short way of an `Open` that is performed: the most frequent call that rules look at.

A plain open of a file, allowed by a plain rule that saw the path as text, needs neither a case nor
a draft. Whatever is not that plain goes the ordinary way, which is slower and knows everything.
"""

from __future__ import annotations

import os
from typing import Any

from notifyd.engine.fast_plan import EventTemplate
from notifyd.engine.listener import Listener
from notifyd.kernel.files import KNOWN_OPEN_FLAGS
from notifyd.policy.call import ARG0, ID, PID
from notifyd.policy.operations import Open
from notifyd.policy.sources import Reg
from notifyd.policy.verdicts import Allow
from notifyd.policy.wording import words

__all__ = ["open_quickly"]


def open_quickly(
    listener: Listener, known: EventTemplate, call: Any, verdict: Any, begun: int
) -> bool:
    """Perform and answer a call, if it is an open that is plain; return whether it was.

    Raises:
        TargetGone.
    """
    if call.__class__ is not Open or verdict.__class__ is not Allow or listener.may_block:
        return False
    if verdict.changes or verdict.grant:
        return False
    source = call.variant.sources["flags"]
    if source.__class__ is not Reg:  # creat makes files, and openat2 has more to it
        return False
    flags = call.note[ARG0 + source.index] & KNOWN_OPEN_FLAGS
    opened = listener.files.open_at_once(call, flags)
    if opened is None:
        return False
    descriptor, error = opened
    if listener.unobserved:
        _give(listener, call, flags, descriptor, error)
    else:
        _give_and_tell(listener, known, call, flags, opened, begun)
    call.close()
    return True


def _give(listener: Listener, call: Any, flags: int, descriptor: int, error: int) -> None:
    """Answer where nobody wants to know of it: by the shortest way."""
    if descriptor < 0:
        listener.answerer.gave(call.note, 0, error, None)
        return
    try:
        listener.notifier.give_fd(call.note[ID], descriptor, flags & os.O_CLOEXEC)
    except OSError as failure:
        listener.answerer.not_given(call.note, failure, None)


def _give_and_tell(
    listener: Listener,
    known: EventTemplate,
    call: Any,
    flags: int,
    opened: tuple[int, int],
    begun: int,
) -> None:
    """Answer, count, and write down. May raise TargetGone; the descriptor is closed then."""
    descriptor, error = opened
    try:
        args = words(call, known.parts) if known.parts is not None else None
        identity = listener.identify(call.note[PID])
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        raise
    answerer, note = listener.answerer, call.note
    if descriptor < 0:
        response = answerer.gave(note, 0, error, None)
    else:
        response = answerer.injected(note, descriptor, flags & os.O_CLOEXEC, None)
    named = known.title, known.syscall
    listener.reporter.call(
        listener.name, note, begun, named, response, identity=identity, args=args, rule=known.rule
    )
