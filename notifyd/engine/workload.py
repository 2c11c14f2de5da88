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
from time import time_ns as wall_clock
from typing import NamedTuple

import trio

from notifyd.audit.record import Record
from notifyd.engine.answer import GONE, Answerer, Plain
from notifyd.engine.report import Reporter
from notifyd.kernel.arch import ARCHES
from notifyd.kernel.unotify import Notifier
from notifyd.policy.call import ARCH, ID, NR, PID, Call, Note
from notifyd.policy.rule import RuleFunction
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.sources import Variant
from notifyd.target.identity import EXEC_CALLS, WATCHED, Identities, Identity
from notifyd.target.thread import StoppedThread


class Quick(NamedTuple):
    """A plan of one plain rule without conditions: decided with no Inquiry at all."""

    operation: type[Call]
    variant: Variant
    function: RuleFunction
    step: Step
    title: str
    arch: str
    rule: str


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
        self.respond = self.notifier.respond
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
            key: quick
            for key, steps in rules.plans.items()
            if (quick := _quick(key[0], steps)) is not None
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

    def answer_plainly(self, quick: Quick, call: Call, answer: Plain, begun: int) -> bool:
        """Answer a call of a quick plan, and report it; False if it is worth more words.

        The hot path: what nobody asked for is not looked up, counted or timed.
        """
        value, error, flags, verdict, how, reason = answer
        note, reporter = call.note, self.reporter
        if error and reporter.refusals is not None:
            return False
        audit = reporter.audit
        if audit is not None:
            received = wall_clock()
            identity, args = self.identify(note), call.describe()
        sent = self.respond(note[ID], value, error, flags)
        took = clock() - begun
        call.close()
        if not sent:
            how = GONE
        reporter.tally.add(quick.title, verdict, how, -error, took)
        if audit is not None:
            result = None if error or flags else value
            # fmt: off
            audit.add(Record(
                received, self.name, identity, note[PID], quick.title, quick.variant.syscall,
                quick.arch, args, verdict, how, -error, result, quick.rule, reason, False, took,
            ))
            # fmt: on
        return True

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
    title, rule = step.operation.title, declaration.name
    return Quick(step.operation, step.variant, function, step, title, ARCHES[audit].name, rule)


def _watched() -> Mapping[tuple[int, int], bool]:
    """(AUDIT_ARCH, number) of the calls that change an identity; True for those that execute."""
    return {
        (arch.audit, arch.numbers[name]): name in EXEC_CALLS
        for arch in ARCHES.values()
        for name in WATCHED
        if name in arch.numbers
    }
