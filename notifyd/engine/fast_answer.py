"""Answering and telling the calls of fast plans, where somebody wants to know of them.

Every instruction here is paid for by every such call.
"""

from __future__ import annotations

from signal import pidfd_send_signal
from time import perf_counter_ns as clock
from typing import Any, TypeAlias

from notifyd.engine.answer import HOW_GONE, Response
from notifyd.engine.fast_plan import EventTemplate
from notifyd.engine.report import Reporter
from notifyd.events.errnos import errno_name
from notifyd.events.record import Line
from notifyd.events.stream import FLUSH_BATCH_SIZE
from notifyd.kernel.unotify import Notifier
from notifyd.policy.call import ID, PID, Call
from notifyd.policy.wording import registers, words
from notifyd.target.identity import Identities
from notifyd.target.paths import WouldBlock

__all__ = ["FastAnswerer", "PlainAnswer"]

PlainAnswer: TypeAlias = tuple[int, int, int]  # value, negative errno, response flags


class FastAnswerer:
    """Gives the answers of one listener to calls whose verdict needs no second thought.

    The methods take the plan's `known`, the call, the rule's verdict, the answer, and when the
    call was received (perf_counter_ns), and raise TargetGone.
    """

    __slots__ = ("_executing", "_identify", "_name", "_notifier", "_reporter", "_threads")

    def __init__(
        self, name: str, notifier: Notifier, identities: Identities, reporter: Reporter
    ) -> None:
        self._name = name
        self._notifier = notifier
        self._identify = identities.of
        self._threads = identities.entries
        self._executing = identities.executing
        self._reporter = reporter

    def counted(
        self,
        known: EventTemplate,
        call: Call,
        verdict: Any,
        answer: PlainAnswer,
        begun: int,
    ) -> None:
        """Answer a call and count it; a refusal that somebody watches is told."""
        value, error, flags = answer
        if error:
            self._refused(known, call, verdict, error, begun)
            return
        sent = self._notifier.respond(call.note[ID], value, 0, flags)
        how = ("continued" if flags else "answered") if sent else HOW_GONE
        self._reporter.counters.add(known.title, verdict.kind, how, 0, clock() - begun)
        call.close()

    def recorded(
        self,
        known: EventTemplate,
        call: Call,
        verdict: Any,
        answer: PlainAnswer,
        begun: int,
    ) -> None:
        """Answer a call, and write down who made it."""
        value, error, flags = answer
        note, reporter = call.note, self._reporter
        if error and reporter.refusals is not None:
            self._refused(known, call, verdict, error, begun)
            return
        _, title, syscall, arch, rule, parts = known
        tid = note[PID]
        try:  # what `identify` does for a thread that it knows, without the price of a call
            descriptor, identity = self._threads[-1 if self._executing else tid]
            pidfd_send_signal(descriptor, 0)
        except (KeyError, OSError):
            identity = self._identify(tid)
        try:
            args = registers(note) if parts is None else words(call, parts)
        except WouldBlock:
            args = None  # an event is not worth waiting for
        sent = self._notifier.respond(note[ID], value, error, flags)
        took = clock() - begun
        call.close()
        how = ("continued" if flags else "answered") if sent else HOW_GONE
        kind, result = verdict.kind, None if error or flags else value
        reason, number = (verdict.reason, errno_name(error)) if error else (None, None)
        exe, uid, process = identity.who
        taken = reporter.audit.taken  # type: ignore[union-attr]
        # fmt: off
        taken.append(Line(
            reporter.epoch + begun, self._name, identity.pid, tid, exe, uid, process, title,
            syscall, arch, args, kind, how, number, result, rule, reason, False,
            (took + 50) // 100 / 10,
        ))
        # fmt: on
        if len(taken) >= FLUSH_BATCH_SIZE:
            reporter.audit.flush()  # type: ignore[union-attr]
        reporter.counters.times[title, kind, how, -error].append(took)

    def _refused(
        self, known: EventTemplate, call: Call, verdict: Any, error: int, begun: int
    ) -> None:
        """Refuse a call and tell everybody."""
        note = call.note
        identity = self._identify(note[PID])
        try:
            args = call.describe()
        except WouldBlock:
            args = None  # an event is not worth waiting for
        sent = self._notifier.respond(note[ID], 0, error, 0)
        how = "answered" if sent else HOW_GONE
        response = Response(verdict.kind, how, -error, reason=verdict.reason)
        named = known.title, known.syscall
        self._reporter.call(
            self._name, note, begun, named, response, identity=identity, args=args, rule=known.rule
        )
        call.close()
