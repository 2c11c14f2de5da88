"""A workload: one listener with its rules, its counts, and the calls of it that wait.

Owns the listener. Knows nothing of the loop that drives it.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from typing import NamedTuple

import trio

from notifyd.engine.answer import Answerer
from notifyd.engine.report import Reporter
from notifyd.kernel.arch import ARCHES
from notifyd.kernel.unotify import Notifier
from notifyd.policy.call import ARCH, NR, PID, Call, Note
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
        self.answerer = Answerer(self.notifier)
        self.identities = Identities(watched=watched)
        self.watched = _watched() if watched else {}
        self.bare = not reporter.attentive
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
        self.quick = {key: quick for key, steps in rules.plans.items() if (quick := _quick(steps))}

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

    def close(self) -> None:
        """Let go of the listener: what calls from now on gets ENOSYS (seccomp_unotify(2))."""
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1
            self.identities.close()
            self.ended.set()


def _quick(steps: tuple[Step, ...]) -> Quick | None:
    step = steps[0]
    declaration = step.declaration
    function: RuleFunction | None = getattr(declaration, "function", None)
    if len(steps) > 1 or not step.unconditional or function is None:
        return None
    if declaration.is_async:  # type: ignore[union-attr]
        return None
    return Quick(step.operation, step.variant, function, step)


def _watched() -> Mapping[tuple[int, int], bool]:
    """(AUDIT_ARCH, number) of the calls that change an identity; True for those that execute."""
    return {
        (arch.audit, arch.numbers[name]): name in EXEC_CALLS
        for arch in ARCHES.values()
        for name in WATCHED
        if name in arch.numbers
    }
