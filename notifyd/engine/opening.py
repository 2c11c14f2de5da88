"""The short way of an `Open` that is performed: the most frequent call that rules look at.

A plain open of a file, allowed by a plain rule that saw the path as text, needs neither a case nor
a draft. Whatever is not that plain goes the ordinary way, which is slower and knows everything.
"""

from __future__ import annotations

import os
from time import perf_counter_ns as clock
from typing import Any

from notifyd.engine.plans import Known
from notifyd.engine.workload import Workload
from notifyd.events.record import Record
from notifyd.kernel.files import KNOWN_OPEN_FLAGS
from notifyd.policy.call import ARG0, ID, PID
from notifyd.policy.operations import Open
from notifyd.policy.sources import Reg
from notifyd.policy.verdicts import Allow
from notifyd.policy.wording import words

__all__ = ["open_quickly"]


def open_quickly(workload: Workload, known: Known, call: Any, verdict: Any, begun: int) -> bool:
    """Perform and answer a call, if it is an open that is plain; return whether it was.

    Raises:
        TargetGone.
    """
    if call.__class__ is not Open or verdict.__class__ is not Allow or workload.lazy:
        return False
    if verdict.changes or verdict.grant:
        return False
    source = call.variant.sources["flags"]
    if source.__class__ is not Reg:  # creat makes files, and openat2 has more to it
        return False
    flags = call.note[ARG0 + source.index] & KNOWN_OPEN_FLAGS
    opened = workload.files.open_at_once(call, flags)
    if opened is None:
        return False
    descriptor, error = opened
    if workload.silent:
        _give(workload, call, flags, descriptor, error)
    else:
        _give_and_tell(workload, known, call, flags, opened, begun)
    call.close()
    return True


def _give(workload: Workload, call: Any, flags: int, descriptor: int, error: int) -> None:
    """Answer where nobody wants to know of it: by the shortest way."""
    if descriptor < 0:
        workload.answerer.performed(call.note, 0, error, None)
        return
    try:
        workload.notifier.give_fd(call.note[ID], descriptor, flags & os.O_CLOEXEC)
    except OSError as failure:
        workload.answerer.not_given(call.note, failure, None)


def _give_and_tell(
    workload: Workload, known: Known, call: Any, flags: int, opened: tuple[int, int], begun: int
) -> None:
    """Answer, count, and write down. May raise TargetGone; the descriptor is closed then."""
    descriptor, error = opened
    try:
        args = words(call, known.parts) if known.parts is not None else None
        identity = workload.identify(call.note[PID])
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        raise
    answerer, note = workload.answerer, call.note
    if descriptor < 0:
        outcome = answerer.performed(note, 0, error, None)
    else:
        outcome = answerer.injected(note, descriptor, flags & os.O_CLOEXEC, None)
    reporter = workload.reporter
    # fmt: off
    reporter.answered(Record(
        reporter.epoch + begun, workload.name, identity, call.note[PID], known.title,
        known.syscall, known.arch, args, "allow", outcome.how, outcome.errno,
        outcome.value, known.rule, None, False, clock() - begun,
    ))
    # fmt: on
