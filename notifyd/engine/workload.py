"""A workload: one listener with its rules, its counts, and the calls of it that wait.

Owns the listener. Knows nothing of the loop that drives it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import traceback
from collections.abc import Mapping
from time import perf_counter_ns as clock
from typing import Any, NamedTuple

import trio

from notifyd.audit.record import Record
from notifyd.engine.answer import GONE, Answerer
from notifyd.engine.report import Reporter
from notifyd.kernel.arch import ARCHES, native
from notifyd.kernel.unotify import Notifier
from notifyd.policy.call import ARCH, ID, NR, PID, Call, Note
from notifyd.policy.rule import RuleFunction
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.sources import Variant
from notifyd.target.identity import EXEC_CALLS, WATCHED, Identities, Identity
from notifyd.target.thread import StoppedThread


class Known(NamedTuple):
    """What is known beforehand of the calls that one plain rule decides.

    Attributes:
        step: the rule's step.
        title: the operation's name.
        syscall: the system call's name.
        arch: the architecture's name.
        rule: the rule's name.
        execs: whether the call executes a program, or changes ids (False); None: neither.
    """

    step: Step
    title: str
    syscall: str
    arch: str
    rule: str
    execs: bool | None


class Quick(NamedTuple):
    """A plan of one plain rule without conditions, of the native entry: it needs no Inquiry."""

    operation: type[Call]
    variant: Variant
    function: RuleFunction
    known: Known


class Workload:
    """Everything behind one listener.

    Args:
        name: its id, in events.
        listener: the notify descriptor; owned from here on.
        rules: what decides its calls.
        reporter: who is told what happened.
        watched: whether the filter notifies of every call in `target.identity.WATCHED`.
    """

    def __init__(
        self,
        name: str,
        listener: int,
        rules: RuleSet,
        reporter: Reporter,
        *,
        watched: bool = False,
    ) -> None:
        self.name = name
        self.listener = listener
        self.reporter = reporter
        self.notifier = Notifier(listener)
        self.receive, self.respond = self.notifier.receive, self.notifier.respond
        self.answerer = Answerer(self.notifier)
        self.identities = Identities(watched=watched)
        self.watched = _watched() if watched else {}
        self.silent = reporter.silent
        self.waiting: dict[int, trio.CancelScope] = {}
        self.ended = trio.Event()
        # One poll object for one descriptor: half the price of asking an epoll.
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self.poll = self._poll.poll
        self.sync_wake_up = self.notifier.set_sync_wake_up()
        self.use(rules)

    def use(self, rules: RuleSet) -> None:
        """Decide with `rules` from the next call on; calls under way finish with what they have."""
        self.rules = rules
        self.plans = rules.plans
        self.quick = {
            number: quick
            for (audit, number), steps in rules.plans.items()
            if audit == native().audit and (quick := _quick(audit, steps)) is not None
        }

    def target(self, note: Note) -> StoppedThread:
        """The stopped thread behind `note`."""
        return StoppedThread(note, self.notifier)

    def named(self, note: Note, call: Call | None) -> tuple[str, str]:
        """Operation and system call, for events."""
        if call is not None:
            return call.operation, call.syscall
        steps = self.plans.get((note[ARCH], note[NR]))
        if steps:
            return steps[0].operation.title, steps[0].variant.syscall
        arch = ARCHES.get(note[ARCH])
        return "Raw", (arch.name_of(note[NR]) if arch else None) or f"syscall {note[NR]}"

    def identify(self, note: Note) -> Identity:
        """Who makes a call; notes down that it may be about to change that.

        Raises:
            TargetGone: it is gone.
        """
        identity = self.identities.of(note[PID])
        execs = self.watched.get((note[ARCH], note[NR]))
        if execs is not None:
            self.identities.changing(identity, execs=execs)
        return identity

    def answer_plainly(
        self, known: Known, call: Call, verdict: Any, answer: tuple[int, int, int], begun: int
    ) -> None:
        """Answer a call of a quick plan, and report it to whoever wants to know.

        Raises:
            TargetGone: it is, and there is nothing to report.
        """
        value, error, flags = answer
        note, reporter = call.note, self.reporter
        audit = reporter.audit
        if audit is None and not (error and reporter.refusals is not None):
            sent = self.respond(note[ID], value, error, flags)
            how = "continued" if flags else "answered"
            took = clock() - begun
            reporter.tally.add(known.title, verdict.kind, how if sent else GONE, -error, took)
            call.close()
            return
        identity = self.identities.of(note[PID])
        if known.execs is not None and self.watched:
            self.identities.changing(identity, execs=known.execs)
        args = call.describe()
        sent = self.respond(note[ID], value, error, flags)
        took = clock() - begun
        call.close()
        how = ("continued" if flags else "answered") if sent else GONE
        # fmt: off
        record = Record(
            reporter.epoch + begun, self.name, identity, note[PID], known.title, known.syscall,
            known.arch, args, verdict.kind, how, -error, None if error or flags else value,
            known.rule, verdict.reason if error else None, False, took,
        )
        # fmt: on
        if audit is not None:
            audit.add(record)
        reporter.tally.add(known.title, verdict.kind, how, -error, took)
        if error and reporter.refusals is not None:
            reporter.refusals.add(record)

    def broke(self, note: Note, error: Exception) -> None:
        """An error of notifyd itself: it is told, and the call is refused."""
        trace = "".join(traceback.format_exception(error))
        self.reporter.event(
            "supervisor.error", "error", workload=self.name, error=repr(error), traceback=trace
        )
        with contextlib.suppress(OSError):  # it may have its answer already: EINPROGRESS
            self.notifier.respond(note[ID], 0, -errno.EPERM, 0)

    def close(self) -> None:
        """Let go of the listener: what calls from now on gets ENOSYS (seccomp_unotify(2))."""
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1
            self.identities.close()
            self.ended.set()


def _quick(audit: int, steps: tuple[Step, ...]) -> Quick | None:
    step = steps[0]
    declaration = step.declaration
    function: RuleFunction | None = getattr(declaration, "function", None)
    if len(steps) > 1 or not step.unconditional or function is None:
        return None
    if declaration.is_async:  # type: ignore[union-attr]
        return None
    arch, name = ARCHES[audit], step.variant.syscall
    execs = name in EXEC_CALLS if name in WATCHED else None
    known = Known(step, step.operation.title, name, arch.name, declaration.name, execs)
    return Quick(step.operation, step.variant, function, known)


def _watched() -> Mapping[tuple[int, int], bool]:
    """(AUDIT_ARCH, number) of the calls that change an identity; True for those that execute."""
    return {
        (arch.audit, arch.numbers[name]): name in EXEC_CALLS
        for arch in ARCHES.values()
        for name in WATCHED
        if name in arch.numbers
    }
